//! Pins: what running builds use, so that making room beside them removes nothing of it.
//!
//! Each open store notes the digests that it uses, before it looks whether they are there, in the lock
//! file of its folder below `tmp`. That file is locked as long as the store is open, so pins end with
//! their process, however it ends. The file `gate` closes the window between a look and a removal: whoever
//! pins holds it shared for that moment, and whoever removes holds it exclusively from reading the pins of
//! all others to the last removal that these pins allow.
//!
//! A lock file that does not begin with [`HEADER`] pins everything: it is that of an older xbuild, or of a
//! store that had no room to write.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use xbuild_model::Digest;

use crate::gate::Gate;
use crate::temp::HEADER;
use crate::{StoreError, temp};

/// What others use.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pinned {
    /// All of it, as far as anybody knows.
    Everything,
    /// What these hexadecimal digests stand for.
    Keys(HashSet<String>),
}

impl Pinned {
    /// Returns whether one of these digests is pinned.
    pub(crate) fn has(&self, keys: &[String]) -> bool {
        match self {
            Self::Everything => true,
            Self::Keys(pinned) => keys.iter().any(|key| pinned.contains(key)),
        }
    }
}

/// The pins of an open store, and the gate.
#[derive(Debug)]
pub(crate) struct Pins {
    root: PathBuf,
    own: Mutex<Own>,
}

#[derive(Debug)]
struct Own {
    gate: Gate,
    /// The lock file of the session.
    file: File,
    /// The folder of the session.
    folder: PathBuf,
    /// `None` if everything is pinned.
    keys: Option<HashSet<Digest>>,
}

/// The lock file of a session, with no pin.
#[derive(Debug)]
pub(crate) struct Noted {
    file: File,
    /// `None` if everything is pinned.
    keys: Option<HashSet<Digest>>,
}

impl Noted {
    /// Notes that nothing is pinned yet. The session must have been made behind the gate.
    pub(crate) fn begin(session: &temp::Session) -> io::Result<Self> {
        let mut file = session.lock_file()?;
        // A lock file without a header pins everything.
        let keys = file.write_all(HEADER).is_ok().then(HashSet::new);
        if keys.is_none() {
            file.set_len(0)?;
        }
        Ok(Self { file, keys })
    }
}

impl Pins {
    pub(crate) fn new(root: &Path, gate: Gate, session: &temp::Session, noted: Noted) -> Self {
        let Noted { file, keys } = noted;
        let own = Own { gate, file, folder: session.path().to_owned(), keys };
        Self { root: root.to_owned(), own: Mutex::new(own) }
    }

    /// Pins digests until the store is closed. What is found after this stays.
    ///
    /// **Errors** — if neither the pins nor that everything is pinned can be noted.
    pub(crate) fn pin(&self, digests: &[&Digest]) -> Result<(), StoreError> {
        let mut own = self.lock();
        let Some(keys) = &own.keys else { return Ok(()) };
        let new: Vec<Digest> =
            digests.iter().filter(|key| !keys.contains(**key)).map(|key| (*key).clone()).collect();
        if new.is_empty() {
            return Ok(());
        }
        let text: String = new.iter().map(|key| key.hex() + "\n").collect();
        let failed = || StoreError::io("note what is used in", self.root.join("tmp"));
        let Own { gate, file, .. } = &mut *own;
        let written =
            gate.through(FlockOperation::LockShared, || match file.write_all(text.as_bytes()) {
                Ok(()) => Ok(true),
                // A full disk has room for an empty file.
                Err(_) => file.set_len(0).map(|()| false),
            });
        match written.and_then(|written| written).map_err(failed())? {
            true => own.keys.get_or_insert_default().extend(new),
            false => own.keys = None,
        }
        Ok(())
    }

    /// Gives up all pins. What is used afterwards is pinned anew.
    pub(crate) fn release(&self) {
        let mut own = self.lock();
        let released = match own.keys.is_some() {
            true => own.file.set_len(HEADER.len() as u64),
            false => own.file.write_all(HEADER),
        };
        // Pins that stay cost room until the store is closed.
        if released.is_ok() {
            own.keys = Some(HashSet::new());
        }
    }

    /// Returns what other open stores use now.
    pub(crate) fn of_others(&self) -> Pinned {
        let own = self.lock();
        let read = || read(&self.root, &own.folder);
        // Nobody begins a session meanwhile, which would have no pins yet.
        let read = own.gate.through(FlockOperation::LockExclusive, read);
        read.unwrap_or(Pinned::Everything)
    }

    /// Does work while nobody pins anything; it is told what others use.
    pub(crate) fn alone<T>(&self, work: impl FnOnce(&Pinned) -> T) -> Result<T, StoreError> {
        let own = self.lock();
        let done = own
            .gate
            .through(FlockOperation::LockExclusive, || work(&read(&self.root, &own.folder)));
        done.map_err(StoreError::io("lock", self.root.join(crate::home::GATE)))
    }

    fn lock(&self) -> MutexGuard<'_, Own> {
        // Nobody panics while holding it.
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the pins of all open stores but that of the session `own`.
fn read(root: &Path, own: &Path) -> Pinned {
    let mut keys = HashSet::new();
    let Ok(sessions) = temp::sessions(&root.join("tmp")) else { return Pinned::Everything };
    for folder in sessions.into_iter().filter(|folder| folder != own) {
        let mut file = match lock_file(&folder) {
            Some(Ok(file)) => file,
            Some(Err(_)) => return Pinned::Everything,
            None => continue,
        };
        // The lock of a session that has ended is free.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => {}
            _ => continue,
        }
        let mut text = Vec::new();
        if file.read_to_end(&mut text).is_err() {
            return Pinned::Everything;
        }
        let Some(pins) = text.strip_prefix(HEADER) else { return Pinned::Everything };
        keys.extend(String::from_utf8_lossy(pins).lines().map(str::to_owned));
    }
    Pinned::Keys(keys)
}

/// Opens the lock file of a session; `None` if the session has ended.
fn lock_file(folder: &Path) -> Option<io::Result<File>> {
    /// A session that ends removes the file and then the folder.
    const LOOKS: u32 = 20;
    for _ in 0..LOOKS {
        match temp::open_lock(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return Some(opened),
        }
        if !folder.exists() || temp::is_nobodys(folder) {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    // An older xbuild is about to make it, or was killed before; the next build removes the folder then.
    Some(Err(io::ErrorKind::NotFound.into()))
}

#[cfg(test)]
mod tests;
