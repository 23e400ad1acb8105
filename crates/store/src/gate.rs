//! Locks of the store that other processes may hold for long: whoever waits gets a word about it.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock, major, minor};
use rustix::io::{Errno, retry_on_intr};
use xbuild_model::thread;

/// The time after which a wait is told: locks are held for moments, unless much is removed.
const PATIENCE: Duration = Duration::from_secs(3);

/// Takes the word about a wait, on a thread of its own.
pub type OnWait = Arc<dyn Fn(&Waiting) + Send + Sync>;

/// A wait for another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The lock file.
    pub path: PathBuf,
    /// The id of a process that holds the lock, if it is known.
    pub holder: Option<u32>,
    /// The name of its program, if it is known.
    pub program: Option<String>,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.holder, &self.program) {
            (Some(pid), Some(program)) => write!(f, "waiting for process {pid} ({program})")?,
            (Some(pid), None) => write!(f, "waiting for process {pid}")?,
            (None, _) => f.write_str("waiting for another process")?,
        }
        write!(f, ", which holds the lock {} of the store", self.path.display())
    }
}

/// A lock file of the store.
pub(crate) struct Gate {
    file: File,
    path: PathBuf,
    on_wait: OnWait,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Gate {
    pub(crate) fn new(file: File, path: PathBuf, on_wait: &OnWait) -> Self {
        Self { file, path, on_wait: Arc::clone(on_wait) }
    }

    /// Returns another lock file of the store, of which others than this process are told.
    pub(crate) fn of_others(&self, file: File, path: PathBuf) -> Self {
        let on_wait = Arc::clone(&self.on_wait);
        let own = Some(std::process::id());
        let of_others = move |waiting: &Waiting| {
            if waiting.holder != own {
                on_wait(waiting);
            }
        };
        Self { file, path, on_wait: Arc::new(of_others) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Does work while the lock is held.
    pub(crate) fn through<T>(
        &self,
        operation: FlockOperation,
        work: impl FnOnce() -> T,
    ) -> io::Result<T> {
        self.lock(operation)?;
        let done = work();
        retry_on_intr(|| flock(&self.file, FlockOperation::Unlock))?;
        Ok(done)
    }

    /// Takes the lock, and waits for others.
    pub(crate) fn lock(&self, operation: FlockOperation) -> io::Result<()> {
        self.lock_patiently(operation, PATIENCE)
    }

    fn lock_patiently(&self, operation: FlockOperation, patience: Duration) -> io::Result<()> {
        let at_once = match operation {
            FlockOperation::LockShared => FlockOperation::NonBlockingLockShared,
            FlockOperation::LockExclusive => FlockOperation::NonBlockingLockExclusive,
            other => other,
        };
        match retry_on_intr(|| flock(&self.file, at_once)) {
            Err(Errno::WOULDBLOCK) if at_once != operation => {}
            done => return Ok(done?),
        }
        // The kernel wakes whoever waits in turn; a loop could lose to others for ever.
        let (done, ended) = mpsc::channel::<()>();
        let (path, on_wait) = (self.path.clone(), Arc::clone(&self.on_wait));
        let identity = self.file.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
        let watch = thread::start("lock-watch", move || {
            if ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                let holder = identity.and_then(holder);
                let program = holder.and_then(program);
                on_wait(&Waiting { path, holder, program });
            }
        });
        let locked = retry_on_intr(|| flock(&self.file, operation));
        drop(done);
        // Without the thread nothing is told.
        if let Ok(watch) = watch {
            let _ = watch.join();
        }
        Ok(locked?)
    }
}

/// Returns a process that holds a lock of the file.
fn holder((device, inode): (u64, u64)) -> Option<u32> {
    let locks = fs::read_to_string("/proc/locks").ok()?;
    find_holder(&locks, &format!("{:02x}:{:02x}:{inode}", major(device), minor(device)))
}

/// Returns the process that the list of the kernel's locks has for a file. Lines with an arrow are
/// those of processes that wait.
///
/// **Source** — `proc_locks(5)`.
fn find_holder(locks: &str, file: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        match fields[..] {
            [_, "FLOCK", _, _, pid, at, ..] if at == file => pid.parse().ok(),
            _ => None,
        }
    })
}

fn program(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;

    use super::*;

    fn gate(path: &Path) -> (Gate, Receiver<Waiting>) {
        let file = File::options().create(true).append(true).open(path).unwrap();
        let (tell, told) = mpsc::channel();
        let on_wait: OnWait = Arc::new(move |waiting| drop(tell.send(waiting.clone())));
        (Gate::new(file, path.to_owned(), &on_wait), told)
    }

    #[test]
    fn a_long_wait_is_told_and_a_short_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate");
        let (held, _) = gate(&path);
        let (waits, told) = gate(&path);
        let short = Duration::from_millis(1);
        std::thread::scope(|scope| {
            held.lock(FlockOperation::LockExclusive).unwrap();
            let wait = || waits.lock_patiently(FlockOperation::LockShared, short).unwrap();
            let waiter = scope.spawn(wait);
            let waiting = told.recv().unwrap();
            held.lock(FlockOperation::Unlock).unwrap();
            waiter.join().unwrap();
            assert_eq!(waiting.path, path);
            // Some file systems have other numbers there than `stat` says.
            if let Some(holder) = waiting.holder {
                assert_eq!(holder, std::process::id());
                assert!(waiting.to_string().contains(&format!("process {holder} (")), "{waiting}");
            }
        });
        waits.lock(FlockOperation::LockExclusive).unwrap();
        assert!(told.try_recv().is_err());
    }

    #[test]
    fn the_kernel_names_who_holds_a_lock() {
        let locks = "1: POSIX  ADVISORY  READ  5 fd:01:7 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 41 fd:01:7 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 42 fd:01:7 0 EOF\n\
                     3: FLOCK  ADVISORY  READ 43 00:1a:8 0 EOF\n";
        for (file, holder) in [("fd:01:7", Some(41)), ("00:1a:8", Some(43)), ("fd:01:8", None)] {
            assert_eq!(find_holder(locks, file), holder, "{file}");
        }
    }
}
