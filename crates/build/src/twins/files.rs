//! The folder of a set in the store.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use xbuild_exec::twins::{SetFile, Source, StepTwins, TwinSet};
use xbuild_model::{Digest, FailureKind, StepFailure};
use xbuild_store::Store;

/// Programs and folders of a set: every user of a step may use them, whatever the umask.
const MODE: u32 = 0o755;

/// The file that has the set.
const SET: &str = "set.json";

/// Returns the set that the store has under a key, or keeps the one that `make` returns, if there is any.
/// `make` may write to an empty folder.
pub(super) fn kept(
    store: &Store,
    key: &Digest,
    make: impl FnOnce(&Path) -> Result<Option<(TwinSet, Vec<SetFile>)>, StepFailure>,
) -> Result<Option<StepTwins>, StepFailure> {
    let internal = |error: io::Error| StepFailure::new(FailureKind::Internal, error);
    if let Some(folder) = store.source_folder(key) {
        let set = read(&folder).map_err(internal)?;
        return Ok(Some(StepTwins { folder, set }));
    }
    let temp = store.temp_dir("twins")?;
    let (work, content) = (temp.path().join("work"), temp.path().join("content"));
    fs::create_dir(&work).map_err(internal)?;
    let Some((set, files)) = make(&work)? else { return Ok(None) };
    write(&content, &set, files).map_err(internal)?;
    let folder = store.publish_source(&content, key)?;
    Ok(Some(StepTwins { folder, set }))
}

fn write(folder: &Path, set: &TwinSet, files: Vec<SetFile>) -> io::Result<()> {
    write_files(folder, files)?;
    fs::write(folder.join(SET), serde_json::to_vec(set)?)
}

fn read(folder: &Path) -> io::Result<TwinSet> {
    Ok(serde_json::from_slice(&fs::read(folder.join(SET))?)?)
}

fn write_files(folder: &Path, files: Vec<SetFile>) -> io::Result<()> {
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
