//! Dockerfiles of `fixtures`, and the texts in them that are expanded.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Fallible, Folder};

/// Writes the seeds of the targets that read Dockerfiles.
pub(super) fn write(folder: &Folder) -> Fallible {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    let mut files = Vec::new();
    for group in ["corpus", "dockerfile", "dockerfile-bad"] {
        collect(&fixtures.join(group), &mut files)?;
    }
    for (number, file) in files.iter().enumerate() {
        let bytes = fs::read(file)?;
        folder.put("parser", &number.to_string(), &bytes)?;
        folder.put("planner", &number.to_string(), &bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        for (line, words) in text.lines().enumerate() {
            let name = format!("{number}-{line}");
            if words.contains('$') {
                folder.put("expansion", &name, format!("a b/*c\n{words}").as_bytes())?;
            }
            let mounts = words.split_whitespace().filter_map(|word| word.strip_prefix("--mount="));
            for options in mounts {
                folder.put("mounts", &name, options.as_bytes())?;
            }
        }
    }
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Fallible {
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
