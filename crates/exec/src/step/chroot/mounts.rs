//! The mounts of one step (RUN `--mount`), where nothing can be mounted: files are moved or copied to
//! their place, and away again.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType};
use rustix::io::Errno;
use xbuild_model::run::{ReadyMount, ReadySource};

use super::copy;
use super::cover::Covers;
use super::lend::{self, Lent, path_of};
use super::secret;
use crate::error::RunError;
use crate::idmap::Ids;
use crate::protocol::StepRequest;
use crate::step::userns::mounts::open_trusted;
use crate::step::userns::run_mounts::{
    KERNELS, TMPFS_MODE, dress_socket, find_source, owner_error,
};
use crate::step::walk::{Missing, Place};
use crate::supervisor::{Scene, Shown};

/// Puts all of them in their places, outer targets first.
pub(super) fn place_all(
    covers: &mut Covers,
    scene: &mut Scene,
    request: &StepRequest,
    ids: Ids,
    tell: &mut dyn FnMut(String),
) -> Result<(), RunError> {
    let mut all: Vec<&ReadyMount> = request.mounts.iter().collect();
    // A path sorts after the folders around it. The last of equal paths covers the others.
    all.sort_by(|a, b| a.target.cmp(&b.target));
    let mut lent = borrow_folders(covers, &all)?;
    let mut result = Ok(());
    for (number, mount) in all.into_iter().enumerate() {
        let folder = lent.iter_mut().find(|(at, ..)| *at == number);
        let folder = folder.and_then(|(_, name, lent)| Some((name.clone(), lent.take()?)));
        result = match (result, folder) {
            (Ok(()), folder) => place(covers, scene, mount, folder, ids, tell),
            (Err(error), Some((name, lent))) => lent
                .give_back(&covers.room, Some(&name))
                .map_err(RunError::setup("give a cache folder back"))
                .and(Err(error)),
            (error, None) => error,
        };
    }
    result
}

/// A cache folder in the room: the number of its mount, its name, and the way back.
type Borrowed = (usize, String, Option<Lent>);

/// Moves the cache folders into the room, in the order in which all steps do.
fn borrow_folders(covers: &mut Covers, all: &[&ReadyMount]) -> Result<Vec<Borrowed>, RunError> {
    let mut paths: Vec<(usize, PathBuf)> = Vec::new();
    for (number, mount) in all.iter().enumerate() {
        let ReadySource::Folder { path, .. } = &mount.source else { continue };
        if paths.iter().any(|(_, known)| known == path) {
            return Err(RunError::NotHere {
                what: format!("a second mount of the same cache, at {},", mount.target),
                why: "its folder can be in one place only where nothing can be mounted".to_owned(),
            });
        }
        paths.push((number, path.clone()));
    }
    lend::order(&mut paths);
    let mut borrowed = Vec::new();
    for (number, path) in paths {
        let name = covers.fresh();
        match Lent::take(&path, &covers.room, &name) {
            Ok(lent) => borrowed.push((number, name, Some(lent))),
            Err(errno) => {
                for (_, name, lent) in borrowed {
                    if let Some(lent) = lent {
                        lent.give_back(&covers.room, Some(&name))
                            .map_err(RunError::setup("give a cache folder back"))?;
                    }
                }
                return Err(cannot_lend(&path, errno));
            }
        }
    }
    Ok(borrowed)
}

/// Returns the error for a cache folder that cannot be moved.
fn cannot_lend(path: &Path, errno: Errno) -> RunError {
    if errno == Errno::XDEV {
        return RunError::NotHere {
            what: format!("the cache mount {}", path.display()),
            why: "it is on another file system than the step, so that it cannot be moved there"
                .to_owned(),
        };
    }
    RunError::setup(&format!("move the cache folder {}", path.display()))(errno)
}

/// Puts one mount in its place. `folder` is its cache folder.
fn place(
    covers: &mut Covers,
    scene: &mut Scene,
    mount: &ReadyMount,
    folder: Option<(String, Lent)>,
    ids: Ids,
    tell: &mut dyn FnMut(String),
) -> Result<(), RunError> {
    let target = &*mount.target;
    let what = format!("put files at {target}");
    let failed = || RunError::setup(&what);
    if let Some((name, lent)) = folder {
        return match find_target(covers, target, true) {
            Ok((place, _)) => covers.cover(place, &name, Some(lent)).map_err(failed()),
            Err(error) => {
                lent.give_back(&covers.room, Some(&name)).map_err(failed())?;
                Err(error)
            }
        };
    }
    let name = match &mount.source {
        ReadySource::Tmpfs { size } => {
            if size.is_some() {
                tell(format!("the size of the tmpfs at {target} is not limited: it is a folder"));
            }
            return memory(covers, target);
        }
        ReadySource::Tree { folder, path, writable } => {
            tree(covers, folder, path, *writable, target)?
        }
        ReadySource::Socket { path, mode, uid, gid } => {
            let owner = owner(ids, (*uid, *gid));
            dress_socket(path, *mode, owner).map_err(owner_error(target, owner))?;
            let name = covers.fresh();
            rustix::fs::renameat(CWD, path, &covers.room, &*name).map_err(failed())?;
            name
        }
        ReadySource::Secret { contents, mode, uid, gid } => {
            let owner = owner(ids, (*uid, *gid));
            let holder =
                secret::hold(covers, contents, *mode, owner).map_err(owner_error(target, owner))?;
            let file = secret::in_memory(contents, tell).map_err(failed())?;
            let path = target.as_bytes().to_vec();
            scene.shown.push(Shown { path, holder: holder.id, file });
            holder.name
        }
        ReadySource::Layers { .. } | ReadySource::Folder { .. } | ReadySource::Volume { .. } => {
            return Err(RunError::Invalid { what: "mount".to_owned(), value: target.to_owned() });
        }
    };
    let stat =
        rustix::fs::statat(&covers.room, &*name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed())?;
    let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let (place, _) = find_target(covers, target, is_folder)?;
    covers.cover(place, &name, None).map_err(failed())
}

/// Puts an empty folder in a place, with the mode of what it covers.
fn memory(covers: &mut Covers, target: &str) -> Result<(), RunError> {
    let make = |covers: &mut Covers, place: Place, is_new: bool| -> Result<(), Errno> {
        let mode = if is_new { TMPFS_MODE } else { rustix::fs::fstat(&place.fd)?.st_mode };
        let (name, _) = covers.fresh_folder(mode)?;
        covers.cover(place, &name, None)
    };
    let (place, is_new) = find_target(covers, target, true)?;
    make(covers, place, is_new).map_err(RunError::setup(&format!("put files at {target}")))
}

/// Puts the files of a stage or context into the room: moves them if they are the step's own, else
/// copies them. Returns their name there.
fn tree(
    covers: &mut Covers,
    folder: &Path,
    path: &str,
    writable: bool,
    target: &str,
) -> Result<String, RunError> {
    let what = format!("copy files for {target}");
    let failed = || RunError::setup(&what);
    let source = find_source(&open_trusted(folder)?, path, target)?;
    let name = covers.fresh();
    if writable {
        let now = path_of(&source).map_err(failed())?;
        match rustix::fs::renameat(CWD, now, &covers.room, &*name) {
            Ok(()) => return Ok(name),
            Err(Errno::XDEV) => {}
            Err(errno) => return Err(failed()(errno)),
        }
    }
    copy::copy(&source, &covers.room, &name).map_err(failed())?;
    Ok(name)
}

/// Returns the place of a target, and whether it was made.
fn find_target(covers: &mut Covers, target: &str, folder: bool) -> Result<(Place, bool), RunError> {
    let refused = |reason: &str| RunError::MountTarget {
        target: target.to_owned(),
        reason: reason.to_owned(),
    };
    let missing = if folder { Missing::MakeFolder } else { Missing::MakeFile };
    let (place, is_new) = covers.find(target, missing).map_err(|errno| match errno {
        Errno::NOTDIR => refused("something on the way to it is not a folder"),
        Errno::LOOP => refused("too many symbolic links"),
        errno => RunError::setup(&format!("find {target}"))(errno),
    })?;
    if place.around.is_none() {
        return Err(refused("it is the root folder"));
    }
    let path = |file| path_of(file).map_err(RunError::setup("look at a mount point"));
    let (top, path) = (path(&covers.root)?, path(&place.fd)?);
    let below = path.strip_prefix(&top[..]).unwrap_or(&path);
    for folder in ["/proc", "/sys"] {
        let rest = below.strip_prefix(folder.as_bytes());
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")) {
            return Err(refused(KERNELS));
        }
    }
    let stat = rustix::fs::fstat(&place.fd).map_err(RunError::setup("look at a mount point"))?;
    match (FileType::from_raw_mode(stat.st_mode) == FileType::Directory, folder) {
        (true, false) => Err(refused("it is a folder, but a file is to be mounted")),
        (false, true) => Err(refused("it is a file, but a folder is to be mounted")),
        _ => Ok((place, is_new)),
    }
}

/// Returns the owner that a file gets on disk; see the mounts of other rungs.
fn owner(ids: Ids, owner: (u32, u32)) -> (u32, u32) {
    if ids == Ids::Range { owner } else { (0, 0) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::error::in_words;

    #[test]
    fn a_cache_on_another_file_system_is_named() {
        // Temporary files may be in memory, too.
        let program = std::env::current_exe().unwrap();
        let store = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
        let room = tempfile::tempdir_in("/dev/shm").unwrap();
        let cache = store.path().join("cache");
        std::fs::create_dir(&cache).unwrap();
        std::fs::write(cache.join("kept"), "").unwrap();
        let opened: OwnedFd = std::fs::File::open(room.path()).unwrap().into();
        let error = Lent::take(&cache, &opened, "1").map(drop).unwrap_err();
        assert_eq!(error, Errno::XDEV);
        let words = in_words(&cannot_lend(&cache, error));
        assert!(words.contains("another file system") && words.contains("cache"), "{words}");
        // It is where it was, and nothing says otherwise.
        assert!(cache.join("kept").exists());
        assert_eq!(std::fs::read_dir(store.path()).unwrap().count(), 1);
    }
}
