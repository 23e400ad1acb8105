//! Work in progress: a folder for each open store, swept up when its owner is gone.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{self, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::measured::Total;
use crate::{StoreError, lent};

/// The folder of one open store, which holds its lock as long as it is open.
#[derive(Debug)]
pub(crate) struct Session {
    path: PathBuf,
    lock: File,
}

const LOCK: &str = "lock";
/// The first line of a lock file with pins; hexadecimal digests follow, one a line.
pub(crate) const HEADER: &[u8] = b"xbuild pins 1\n";
static SESSIONS: AtomicU64 = AtomicU64::new(0);

impl Session {
    pub(crate) fn start(tmp: &Path) -> Result<Self, StoreError> {
        loop {
            let number = SESSIONS.fetch_add(1, Ordering::Relaxed);
            let path = tmp.join(format!("{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                // A dead process with our id left it, with files that only a namespace can remove.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(StoreError::io("make folder", &path))?,
            }
            match lock_of(&path, true) {
                Ok(lock) => return Ok(Self { path, lock }),
                // A sweeper came between the two calls.
                Err(Errno::NOENT | Errno::WOULDBLOCK) => {}
                Err(errno) => {
                    // The error of the lock matters more.
                    let _ = std::fs::remove_dir(&path);
                    return Err(StoreError::io("lock", &path)(errno.into()));
                }
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns its lock file, to append to. It stays locked until the last handle is dropped.
    pub(crate) fn lock_file(&self) -> io::Result<File> {
        self.lock.try_clone()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Takes the lock of a session's folder. Returns `None` if another process has it or the folder is
/// gone.
fn try_lock(folder: &Path) -> Option<File> {
    lock_of(folder, false).ok()
}

/// Does the same; an error says why there is no lock. The lock file is made only if the session is `new`.
fn lock_of(path: &Path, new: bool) -> rustix::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = fs::open(path, flags, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = if new { flags | OFlags::CREATE | OFlags::EXCL } else { flags };
    let mode = Mode::from_raw_mode(0o600);
    let file = fs::openat(&folder, LOCK, flags | OFlags::CLOEXEC, mode)?;
    fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    // The folder may have been swept or moved away between opening and locking.
    let (found, locked) = (fs::lstat(path.join(LOCK))?, fs::fstat(&file)?);
    match (found.st_dev, found.st_ino) == (locked.st_dev, locked.st_ino) {
        true => Ok(File::from(file)),
        false => Err(Errno::NOENT),
    }
}

/// Opens the lock file of a session's folder to read it.
pub(crate) fn open_lock(folder: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(fs::open(folder.join(LOCK), flags, Mode::empty())?))
}

/// Returns the folders of sessions: those whose names are `PID-N`.
pub(crate) fn sessions(tmp: &Path) -> io::Result<Vec<PathBuf>> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_session = |name: &OsStr| {
        let parts = name.to_str().and_then(|name| name.split_once('-'));
        parts.is_some_and(|(pid, number)| is_number(pid) && is_number(number))
    };
    let mut sessions = Vec::new();
    for entry in std::fs::read_dir(tmp)? {
        let entry = entry?;
        // Nobody here makes a file or a link of such a name.
        if is_session(&entry.file_name()) && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sessions.push(entry.path());
        }
    }
    Ok(sessions)
}

/// Returns whether a folder without a lock is no session's that is just starting.
pub(crate) fn is_nobodys(folder: &Path) -> bool {
    /// A session makes its lock at once.
    const AT_MOST: Duration = Duration::from_secs(60);
    let modified = std::fs::symlink_metadata(folder).and_then(|meta| meta.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > AT_MOST))
        && std::fs::symlink_metadata(folder.join(LOCK))
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Removes the folders of sessions of the store `root` that ended without removing them. Files of other owners, which
/// only a user namespace can remove, stay for [`crate::Store::leftovers`].
pub(crate) fn sweep(root: &Path) {
    for path in sessions(&root.join("tmp")).unwrap_or_default() {
        match try_lock(&path) {
            Some(lock) => {
                forget_total_of(root, &lock);
                lent::take_back(root, &path);
                remove(&path);
            }
            None if is_nobodys(&path) => remove(&path),
            // Removes an empty folder only: its session was killed before it had a lock, or is
            // about to make the lock and will then make another folder.
            None => drop(std::fs::remove_dir(&path)),
        }
    }
}

/// Makes the total of the store unknown if the session of this lock file, which has ended, was killed after
/// it had used something: it has added nothing to the total.
fn forget_total_of(root: &Path, lock: &File) {
    if lock.metadata().is_ok_and(|meta| meta.len() <= HEADER.len() as u64) {
        return;
    }
    /// Whoever has the total for longer is looking at all files.
    const AT_MOST: Duration = Duration::from_secs(1);
    // The next session that is killed comes here again, and a total counts for a day only.
    if let Ok(Some(mut total)) =
        Total::lock(root, FlockOperation::NonBlockingLockExclusive, AT_MOST)
    {
        total.forget();
    }
    // Once is enough, even if the folder has files that stay.
    let _ = lock.set_len(0);
}

/// Removes a folder as far as the plain user can, the lock file last.
fn remove(path: &Path) {
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        let inner = entry.path();
        if entry.file_name() != LOCK {
            let _ = std::fs::remove_dir_all(&inner).or_else(|_| std::fs::remove_file(&inner));
        }
    }
    let only_lock = std::fs::read_dir(path).is_ok_and(|entries| entries.count() <= 1);
    if only_lock {
        let _ = std::fs::remove_dir_all(path);
    }
}

/// A folder that no open store owns. Its lock is held: a store that is being opened has its folder
/// for a moment before the lock, and must not lock a folder that is moved away.
#[derive(Debug)]
pub(crate) struct Abandoned {
    pub(crate) path: PathBuf,
    _lock: File,
}

/// Returns the folders below `tmp` of the store `root` that no open store owns.
pub(crate) fn abandoned(root: &Path) -> Vec<Abandoned> {
    let lock = |path: PathBuf| {
        let lock = try_lock(&path)?;
        forget_total_of(root, &lock);
        Some(Abandoned { path, _lock: lock })
    };
    sessions(&root.join("tmp")).unwrap_or_default().into_iter().filter_map(lock).collect()
}

/// A folder for work in progress. Dropping it removes it, as far as the plain user can.
#[derive(Debug)]
pub struct TempFolder {
    path: PathBuf,
}

impl TempFolder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn a_folder_that_is_moved_away_while_it_is_locked_is_no_session() {
        const SESSIONS: usize = 4000;
        let root = tempfile::tempdir().unwrap();
        let [tmp, away] = ["tmp", "away"].map(|name| root.path().join(name));
        for folder in [&tmp, &away] {
            std::fs::create_dir(folder).unwrap();
        }
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    for found in abandoned(root.path()) {
                        std::fs::rename(&found.path, away.join(found.path.file_name().unwrap()))
                            .unwrap();
                    }
                }
            });
            let is_there = |session: Session| session.path().exists();
            let there = (0..SESSIONS).filter(|_| Session::start(&tmp).is_ok_and(is_there)).count();
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(there, SESSIONS);
        });
    }
}
