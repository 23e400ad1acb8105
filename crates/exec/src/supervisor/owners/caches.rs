//! Owners of links and pipes in cache mounts: such a mount outlives the step, so a log beside its
//! folder has them, by the numbers of the files.
//!
//! Steps that share the folder append to one log, and read on what others have appended.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use xbuild_model::owner::{FileNumber, Owner};
use xbuild_model::run::{FIRST_OWNERS, OWNERS, ReadyMount, ReadySource};

use crate::error::{RunError, errno_of};

/// The most bytes of a log: some hundred thousand changes.
const LIMIT: u64 = 64 << 20;

/// A cache mount of the step.
#[derive(Debug)]
pub(super) struct Cache {
    /// Its path in the step, without a slash at the end.
    target: Vec<u8>,
    log: File,
    /// How much of the log is known.
    read: u64,
    /// The owners that the folder was filled with: paths in it.
    first: Vec<(Vec<u8>, Owner)>,
    folder: rustix::fd::OwnedFd,
}

impl Cache {
    /// Opens the logs of a step's cache mounts.
    pub(super) fn open_all(mounts: &[ReadyMount]) -> Result<Vec<Self>, RunError> {
        let mut folders: Vec<(&Path, &str)> = Vec::new();
        for mount in mounts {
            if let ReadySource::Folder { path, .. } = &mount.source {
                folders.push((path, &mount.target));
            }
        }
        // In one order, since two steps could otherwise wait for each other.
        folders.sort_unstable();
        let mut caches = Vec::new();
        let mut last = None;
        for (path, target) in folders {
            let is_again = last.replace(path) == Some(path);
            let cache = Self::open(target.as_bytes(), path, is_again);
            caches.push(cache.map_err(RunError::setup("open the owners of a cache mount"))?);
        }
        Ok(caches)
    }

    /// Opens the log of the folder at `path`. The caller may have it already.
    fn open(target: &[u8], path: &Path, is_again: bool) -> io::Result<Self> {
        let home = path.parent().unwrap_or(path);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(home, flags, Mode::empty())?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
        let log = rustix::fs::openat(&folder, OWNERS, flags, Mode::from_raw_mode(0o600))?;
        if is_again {
            let (target, log) = (target.to_vec(), log.into());
            return Ok(Self { target, log, read: 0, first: Vec::new(), folder });
        }
        retry_on_intr(|| rustix::fs::flock(&log, FlockOperation::LockExclusive))?;
        // The lock ends with this step: by then the first owners are in the log.
        let first = match std::fs::read(home.join(FIRST_OWNERS)) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        if first.is_empty() {
            rustix::fs::flock(&log, FlockOperation::Unlock)?;
        }
        Ok(Self { target: target.to_vec(), log: log.into(), read: 0, first, folder })
    }

    /// Takes the owners that the folder was filled with: paths in the step. [`settle`](Self::settle)
    /// must follow.
    pub(super) fn first(&mut self) -> Vec<(Vec<u8>, Owner)> {
        let first = std::mem::take(&mut self.first);
        let at =
            |(path, owner): (Vec<u8>, Owner)| ([&self.target[..], b"/", &path].concat(), owner);
        first.into_iter().map(at).collect()
    }

    /// Makes the log the only place of the first owners, and lets others have it.
    pub(super) fn settle(&self) -> Result<(), Errno> {
        match rustix::fs::unlinkat(&self.folder, FIRST_OWNERS, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => rustix::fs::flock(&self.log, FlockOperation::Unlock),
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn target(&self) -> &[u8] {
        &self.target
    }

    /// Returns whether a path of the step is in this mount.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        path.strip_prefix(&self.target[..]).is_some_and(|rest| rest.first() == Some(&b'/'))
    }

    /// Returns the lines of the log that are not known yet.
    pub(super) fn news(&mut self) -> Result<Vec<(FileNumber, Owner)>, Errno> {
        let length = self.log.metadata().map_err(errno_of)?.len();
        if length <= self.read {
            return Ok(Vec::new());
        }
        let mut text = Vec::new();
        let mut log = &self.log;
        io::Seek::seek(&mut log, io::SeekFrom::Start(self.read)).map_err(errno_of)?;
        log.take(LIMIT).read_to_end(&mut text).map_err(errno_of)?;
        // Another step, or one that was killed, may not have finished the last line.
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.read += end as u64;
        let lines = text[..end].split(|byte| *byte == b'\n');
        Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }

    /// Appends the owner of a file.
    pub(super) fn keep(&mut self, file: FileNumber, owner: Owner) -> Result<(), Errno> {
        let mut line = serde_json::to_vec(&(file, owner)).map_err(|_| Errno::IO)?;
        // After half a line of a step that was killed, this one must not be lost.
        line.insert(0, b'\n');
        line.push(b'\n');
        let length = self.log.metadata().map_or(0, |meta| meta.len());
        if length > LIMIT {
            return Err(Errno::NOSPC);
        }
        self.log.write_all(&line).map_err(errno_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_shared_and_survive_a_cut_line() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("fs");
        let first = vec![(b"l".to_vec(), Owner { uid: 9, gid: 9 })];
        let text = serde_json::to_vec(&first).unwrap();
        std::fs::write(home.path().join(FIRST_OWNERS), text).unwrap();
        let file = |inode| FileNumber { inode, birth: Some((1, 2)) };
        let owner = |uid| Owner { uid, gid: 0 };
        let mut one = Cache::open(b"/c", &path, false).unwrap();
        assert_eq!(one.first(), [(b"/c/l".to_vec(), Owner { uid: 9, gid: 9 })]);
        one.settle().unwrap();
        one.keep(file(1), owner(1)).unwrap();
        let mut other = Cache::open(b"/c", &path, false).unwrap();
        assert!(other.first().is_empty());
        assert_eq!(other.news().unwrap(), [(file(1), owner(1))]);
        one.log.write_all(b"[{\"inode\"").unwrap();
        assert!(other.news().unwrap().is_empty());
        other.keep(file(2), owner(2)).unwrap();
        assert_eq!(other.news().unwrap(), [(file(2), owner(2))]);
        assert_eq!(one.news().unwrap().len(), 2);
        assert!(one.has(b"/c/x") && !one.has(b"/c") && !one.has(b"/cx"));
    }
}
