//! The running total: the bytes that could be pruned, so that a build need not look at all files.
//!
//! It is in the file `measured`, whose lock is held from a look at the total to the end of what follows
//! from it. A store that is closed adds what it has made. After a kill the total is unknown, because the
//! session of the killed process has pins and is swept up; so it is after the machine has started anew.
//! Then all files are looked at.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::home::MEASURED;

/// How long a measure of the store counts: people may have removed files by hand, or restored some.
const COUNTS_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// The time between two looks at a lock that another process has.
const TICK: Duration = Duration::from_millis(5);

/// How long a removal waits for another one to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The bytes of all items.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) bytes: u64,
    /// When all files were looked at.
    at: SystemTime,
    /// The boot of the machine.
    boot: String,
}

impl Measured {
    pub(crate) fn new(bytes: u64, boot: &str) -> Self {
        Self { bytes, at: SystemTime::now(), boot: boot.to_owned() }
    }

    /// Returns whether it was measured not too long ago.
    pub(crate) fn is_recent(&self) -> bool {
        self.at.elapsed().is_ok_and(|age| age < COUNTS_FOR)
    }
}

/// The total, which nobody else changes as long as this is there.
#[derive(Debug)]
pub(crate) struct Total(File);

impl Total {
    /// Locks the total of the store `root`. Waits `at_most` while another process has it; `None` then.
    pub(crate) fn lock(
        root: &Path,
        operation: FlockOperation,
        at_most: Duration,
    ) -> Result<Option<Self>, StoreError> {
        let path = root.join(MEASURED);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(StoreError::io("open", &path))?;
        let begin = Instant::now();
        loop {
            match flock(&file, operation) {
                Ok(()) => return Ok(Some(Self(file))),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if begin.elapsed() < at_most => std::thread::sleep(TICK),
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(StoreError::io("lock", path)(errno.into())),
            }
        }
    }

    /// Returns the total in this boot of the machine, if it is known.
    pub(crate) fn read(&mut self, boot: &str) -> Option<Measured> {
        let mut bytes = Vec::new();
        self.0.rewind().and_then(|()| self.0.read_to_end(&mut bytes)).ok()?;
        serde_json::from_slice::<Measured>(&bytes).ok().filter(|measured| measured.boot == boot)
    }

    /// Replaces the total. If that fails it is unknown.
    pub(crate) fn write(&mut self, measured: &Measured) {
        let write = |bytes: Vec<u8>| {
            self.0.rewind()?;
            self.0.write_all(&bytes)?;
            self.0.set_len(bytes.len() as u64)
        };
        if serde_json::to_vec(measured).map_err(io::Error::from).and_then(write).is_err() {
            self.forget();
        }
    }

    /// Makes the total unknown.
    pub(crate) fn forget(&mut self) {
        // On a disk that takes not even this, nothing has been written before.
        let _ = self.0.set_len(0);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use xbuild_model::Digest;

    use crate::Store;
    use crate::temp::HEADER;

    const LARGE: usize = 2 << 20;

    /// Puts a large blob into the store behind its back.
    fn smuggle(store: &Store, byte: u8) -> std::path::PathBuf {
        let bytes = vec![byte; LARGE];
        let path = store.blob_path(&Digest::of(&bytes));
        fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn all_files_are_looked_at_only_if_the_total_is_too_large_or_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let max = LARGE as u64 / 2;
        let keep = |bytes: &[u8]| {
            let store = Store::open(folder.path()).unwrap();
            if !bytes.is_empty() {
                store.put_blob(bytes).unwrap();
            }
            store.keep_within(max).unwrap().0.len()
        };
        assert_eq!(keep(b"one"), 0);
        let path = smuggle(&Store::open(folder.path()).unwrap(), 1);
        // The total is known, and nobody has added much.
        assert_eq!((keep(b""), keep(b"two")), (0, 0));
        assert!(path.exists());
        // A store that ends without looking after the bound adds to it.
        Store::open(folder.path()).unwrap().put_blob(&vec![2; LARGE]).unwrap();
        assert_eq!(keep(b""), 2);
        assert!(!path.exists());

        // A killed build has a session with pins.
        let path = smuggle(&Store::open(folder.path()).unwrap(), 3);
        assert_eq!(keep(b"three"), 0);
        let dead = folder.path().join("tmp/1-1");
        fs::create_dir(&dead).unwrap();
        let pin = Digest::of(b"x").hex() + "\n";
        fs::write(dead.join("lock"), [HEADER, pin.as_bytes()].concat()).unwrap();
        assert_eq!(keep(b""), 1);
        assert!(!path.exists() && !dead.exists());

        // So it is in another boot of the machine, and if the file is damaged.
        for text in ["{\"bytes\":0,\"boot\":\"other\",\"at\":0}", "damaged", ""] {
            let path = smuggle(&Store::open(folder.path()).unwrap(), 4);
            assert_eq!(keep(b""), 0);
            fs::write(folder.path().join("measured"), text).unwrap();
            assert_eq!(keep(b""), 1, "{text}");
            assert!(!path.exists());
        }
    }
}
