//! The root of this container, as the folder of one stage at a time.
//!
//! It holds the files of one stack, beside mounts and xbuild's own files, which are spared. A step
//! that cannot carry that stack forward empties the root first, and so does the end of the build. The
//! mark has text as long as there may be files: if xbuild is killed, the next build empties the root.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use xbuild_model::Chain;
use xbuild_model::own_root::{HOME, MARK, Spared};

use super::carried::Folder;
use crate::EngineError;

/// The most hidden files that a build names.
const NAMED: usize = 8;

/// How often the mark is tried to be locked, and the time between.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// The state of the root.
#[derive(Debug, Default)]
pub(super) struct OwnRoot {
    slot: Mutex<Slot>,
    freed: Condvar,
    hidden: Mutex<Vec<Vec<u8>>>,
    /// The folders that are in the place of other files of the stack.
    obstacles: Mutex<Vec<Vec<u8>>>,
}

#[derive(Debug, Default)]
struct Slot {
    is_used: bool,
    /// The stack that it holds, with the stamps; `None` if its files are unknown.
    folder: Option<Folder>,
    /// Locked, with text, from the first step on.
    mark: Option<File>,
}

impl OwnRoot {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no other step uses the root, and takes it. Returns what it holds, if a step on
    /// `chain` can go on with that. [`give_back`](Self::give_back) must follow. `spared` is not of a
    /// stage.
    ///
    /// **Errors** — if another process uses the root.
    pub(super) fn take(
        &self,
        chain: &Chain,
        spared: Option<&Spared>,
    ) -> Result<Option<Folder>, EngineError> {
        let mut slot = self.lock();
        while slot.is_used {
            slot = self.freed.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
        if slot.mark.is_none() {
            let marked = mark(&spared.cloned().unwrap_or_default());
            slot.mark = Some(marked.map_err(|source| EngineError::Io {
                action: "take the root of this container, which another build may use",
                source,
            })?);
        }
        slot.is_used = true;
        let is_part = |has: &Chain| !has.0.is_empty() && chain.0.starts_with(&has.0);
        let fits = |folder: &Folder| folder.chain.as_ref().is_some_and(is_part);
        Ok(slot.folder.take().filter(fits))
    }

    /// Frees the root. `folder` is what it holds, if that is known.
    pub(super) fn give_back(&self, folder: Option<Folder>) {
        let mut slot = self.lock();
        slot.folder = folder;
        slot.is_used = false;
        self.freed.notify_all();
    }

    /// Takes what the root holds, and the mark, at the end of a build.
    pub(super) fn end(&self) -> (Option<Folder>, Option<File>) {
        let mut slot = self.lock();
        (slot.folder.take(), slot.mark.take())
    }

    /// Takes note of a folder that is in the place of another file of the stack.
    pub(super) fn note_obstacle(&self, path: &[u8]) {
        self.obstacles().push(path.to_vec());
    }

    /// Returns these folders.
    pub(super) fn obstacles(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.obstacles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a file of an image that cannot be seen. Returns whether it is to be named.
    pub(super) fn note_hidden(&self, path: &[u8]) -> bool {
        // These are hidden on every rung.
        const USUAL: [&[u8]; 3] = [b"etc/hosts", b"etc/resolv.conf", b"etc/hostname"];
        let is_below = |folder: &[u8]| path.starts_with(folder);
        if USUAL.contains(&path) || [&b"dev/"[..], b"proc/", b"sys/"].into_iter().any(is_below) {
            return false;
        }
        let mut hidden = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        if hidden.len() >= NAMED || hidden.iter().any(|known| known == path) {
            return false;
        }
        hidden.push(path.to_vec());
        true
    }
}

/// Locks the mark and writes to it.
fn mark(spared: &Spared) -> io::Result<File> {
    match DirBuilder::new().mode(0o755).create(HOME) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(false).mode(0o644).open(MARK)?;
    // Another process may look at it this moment.
    let mut tries = 0;
    while let Err(errno) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        tries += 1;
        if errno != Errno::WOULDBLOCK || tries == TRIES {
            return Err(errno.into());
        }
        std::thread::sleep(PAUSE);
    }
    file.set_len(0)?;
    file.write_all(&spared.mark())?;
    file.sync_all()?;
    Ok(file)
}
