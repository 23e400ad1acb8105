//! Taking back cache folders that were lent to a step when xbuild was killed.
//!
//! Where nothing can be mounted, a step has the cache folder itself, and the link [`LENT`] beside the
//! folder's place leads to it. After a kill it is in the folder of a session that is about to be
//! removed, or in the root of the container.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use xbuild_model::run::LENT;

use crate::entries::{CACHE_CONTENT, CACHE_MOUNTS, children};

/// Takes back all cache folders of the store `root` that are below a folder, such as that of an ended
/// session, unless a step still has them.
///
/// One that this user cannot move stays, and is lost with the session: a cache may be empty.
pub(crate) fn take_back(root: &Path, session: &Path) {
    // The link has no links on its way.
    let Ok(session) = &fs::canonicalize(session) else { return };
    for home in children(&root.join(CACHE_MOUNTS)).iter().flat_map(|map| children(map)) {
        let Ok(place) = fs::read_link(home.join(LENT)) else { continue };
        let Ok(below) = place.strip_prefix(session) else { continue };
        // A step that still has the folder holds the lock.
        let Some(_lock) = lock(&home) else { continue };
        if exchange(&home, session, below).is_ok() {
            // If it stays, it leads to the placeholder, which is removed with the session.
            let _ = fs::remove_file(home.join(LENT));
        }
    }
}

fn lock(home: &Path) -> Option<File> {
    let file = File::open(home).ok()?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(file)
}

/// Exchanges the placeholder with the folder at `below` in the session. The step may have put links
/// on the way there, which are not followed.
fn exchange(home: &Path, session: &Path, below: &Path) -> Result<(), Errno> {
    let (around, name) = below.parent().zip(below.file_name()).ok_or(Errno::INVAL)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let session = rustix::fs::open(session, flags | OFlags::NOFOLLOW, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let around = rustix::fs::openat2(&session, around, flags, Mode::empty(), resolve)?;
    let home = rustix::fs::open(home, flags | OFlags::NOFOLLOW, Mode::empty())?;
    let stat = rustix::fs::statat(&around, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(Errno::NOTDIR);
    }
    let name = name.as_bytes();
    rustix::fs::renameat_with(&home, CACHE_CONTENT, &around, name, RenameFlags::EXCHANGE)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    /// Makes a store whose cache folder is lent to `at` below a session. Returns the home of the
    /// cache folder and the session.
    fn lend(root: &Path, at: &str) -> (PathBuf, PathBuf) {
        let (home, session) = (root.join(CACHE_MOUNTS).join("map/key-0"), root.join("tmp/1-0"));
        fs::create_dir_all(home.join(CACHE_CONTENT)).unwrap();
        fs::create_dir_all(session.join(at)).unwrap();
        fs::write(session.join(at).join("kept"), "").unwrap();
        symlink(session.join(at), home.join(LENT)).unwrap();
        (home, session)
    }

    #[test]
    fn a_lent_folder_comes_back() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("tmp/1-1")).unwrap();
        let (home, session) = lend(root.path(), "folder/fs/root/.cache");
        take_back(root.path(), &root.path().join("tmp/1-1"));
        assert!(home.join(LENT).is_symlink());
        take_back(root.path(), &session);
        assert!(home.join(CACHE_CONTENT).join("kept").exists() && !home.join(LENT).is_symlink());
    }

    #[test]
    fn links_that_a_step_left_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let (home, session) = lend(root.path(), "folder/fs/root/.cache");
        let outside = root.path().join("outside");
        fs::create_dir_all(outside.join(".cache")).unwrap();
        fs::write(outside.join(".cache/other"), "").unwrap();
        fs::remove_dir_all(session.join("folder/fs/root")).unwrap();
        symlink(&outside, session.join("folder/fs/root")).unwrap();
        take_back(root.path(), &session);
        assert!(outside.join(".cache/other").exists());
        assert!(children(&home.join(CACHE_CONTENT)).is_empty());
    }
}
