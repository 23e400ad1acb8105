//! Writes the first corpus of each fuzz target into a folder of its name.

mod caches;
mod dockerfiles;
mod images;
mod layers;

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

type Fallible = Result<(), Box<dyn Error>>;

/// The folder with a corpus for each target.
struct Folder(PathBuf);

impl Folder {
    fn put(&self, target: &str, name: &str, bytes: &[u8]) -> Fallible {
        let folder = self.0.join(target);
        fs::create_dir_all(&folder)?;
        Ok(fs::write(folder.join(format!("seed-{name}")), bytes)?)
    }
}

fn main() -> Fallible {
    let folder = Folder(env::args_os().nth(1).ok_or("usage: seeds FOLDER")?.into());
    caches::write(&folder)?;
    dockerfiles::write(&folder)?;
    images::write(&folder)?;
    layers::write(&folder)
}
