//! Writing the files of a set.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use xbuild_exec::twins::{SetFile, Source};

/// Programs and folders of a set: every user of a step may use them, whatever the umask.
const MODE: u32 = 0o755;

/// Writes the files into a new folder.
pub(super) fn write(folder: &Path, files: Vec<SetFile>) -> io::Result<()> {
    make(folder)?;
    for SetFile { path, source } in files {
        let target = inside(folder, &path)?;
        let around = target.strip_prefix(folder).ok().and_then(Path::parent);
        let mut at = folder.to_owned();
        for part in around.into_iter().flat_map(Path::components) {
            at.push(part);
            make(&at)?;
        }
        match source {
            Source::Link(other) => fs::hard_link(inside(folder, &other)?, &target)?,
            Source::Bytes(bytes) => {
                fs::write(&target, bytes)?;
                fs::set_permissions(&target, Permissions::from_mode(MODE))?;
            }
        }
    }
    Ok(())
}

/// Makes a folder unless it is there.
fn make(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made?,
    }
    fs::set_permissions(folder, Permissions::from_mode(MODE))
}

/// Returns the path of a file in a folder. Names come from images.
fn inside(folder: &Path, path: &str) -> io::Result<PathBuf> {
    let path = Path::new(path);
    if path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(folder.join(path));
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "a path that leads out of its folder"))
}
