//! Writes the first corpus of each fuzz target into a folder of its name: the files of `fixtures`,
//! and the texts in them that are expanded.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::args_os().nth(1).ok_or("usage: seeds FOLDER")?);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../fixtures");
    let mut files = Vec::new();
    for group in ["corpus", "dockerfile", "dockerfile-bad"] {
        collect(&fixtures.join(group), &mut files)?;
    }
    let (parser, expansion) = (folder.join("parser"), folder.join("expansion"));
    fs::create_dir_all(&parser)?;
    fs::create_dir_all(&expansion)?;
    for (number, file) in files.iter().enumerate() {
        let text = fs::read(file)?;
        fs::write(parser.join(format!("{number}")), &text)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        for (line, words) in text.lines().enumerate().filter(|(_, line)| line.contains('$')) {
            fs::write(expansion.join(format!("{number}-{line}")), format!("a b/*c\n{words}"))?;
        }
    }
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.to_string_lossy().ends_with("Dockerfile") {
            files.push(path);
        }
    }
    Ok(())
}
