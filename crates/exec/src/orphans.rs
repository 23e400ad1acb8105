//! Leaving no process behind: neither one that runs nor one that has ended and is waited for by
//! nobody.
//!
//! A process whose parent has ended becomes a child of this one, a *subreaper*, instead of a child of
//! the first process of the container, which may be one that never waits (`sleep infinity`).
//!
//! **Source** — `PR_SET_CHILD_SUBREAPER(2const)`, `signal-safety(7)`.

use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use xbuild_model::ward;

/// The time that processes which were killed have to end. They take some milliseconds; a process in
/// a file system that does not answer takes for ever.
const PATIENCE: Duration = Duration::from_secs(1);

/// The time that orphans have to end when all work is done. Most have ended by then; one that runs
/// on is a service that a program of the user started, such as gpg-agent, and goes on.
const GRACE: Duration = Duration::from_millis(20);

/// The time between two looks at processes that have not ended yet.
const PAUSE: Duration = Duration::from_millis(1);

/// Makes this process the parent of every orphan among its descendants.
pub fn adopt_orphans() {
    // Every kernel since 3.4 can do that. Without it, orphans go to the first process as before.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// Waits for the orphans that have ended. To be called at the end: nothing else may wait for a child
/// any more.
pub fn wait_for_orphans() {
    wait_until(Instant::now() + GRACE);
}

/// Ends the children that this process must not leave behind, and waits for them and for their
/// children. For signal handlers: it makes system calls only.
pub(crate) fn end_wards() {
    let deadline = Instant::now() + PATIENCE;
    ward::for_each_ward(|id| {
        // They may have ended meanwhile.
        let _ = match Pid::from_raw(id.abs()) {
            Some(pid) if id > 0 => rustix::process::kill_process(pid, Signal::KILL),
            Some(group) => rustix::process::kill_process_group(group, Signal::KILL),
            None => Ok(()),
        };
    });
    wait_until(deadline);
}

/// Waits until there are no children any more, or until a point in time. Makes system calls only.
fn wait_until(deadline: Instant) {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Ok(None) | Err(_) => return,
        }
    }
}

/// Waits until no child of this process is in the process group with that id any more.
pub(crate) fn wait_for_group(id: u32) {
    let Some(group) = i32::try_from(id).ok().and_then(Pid::from_raw) else { return };
    let next = || -> Result<Option<(Pid, WaitStatus)>, Errno> {
        rustix::process::waitpgid(group, WaitOptions::empty())
    };
    while rustix::io::retry_on_intr(next).is_ok() {}
}
