//! Staying on the processor of the callers: an answer from another one takes several times as long,
//! since that processor has to be woken.
//!
//! **Source** — `seccomp_unotify(2)`, `proc_pid_stat(5)`, `sched_setaffinity(2)`.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::thread::CpuSet;

use super::caller;
use crate::sys;

/// The calls of one thread after which it is looked for again.
const PATIENCE: u32 = 64;

/// The place of the processor in `/proc/PID/stat`, after the name of the program.
const PROCESSOR: usize = 36;

/// The way to stay near.
#[derive(Debug)]
pub(super) enum Nearness {
    /// The kernel makes caller and supervisor take turns, since Linux 6.6.
    Kernel,
    /// This process goes where the caller was last seen.
    Follow { thread: u32, calls: u32, processor: Option<usize> },
}

impl Nearness {
    pub(super) fn new(listener: &OwnedFd) -> Self {
        match sys::take_turns(listener) {
            Ok(()) => Self::Kernel,
            Err(_) => Self::Follow { thread: 0, calls: 0, processor: None },
        }
    }

    /// Goes to the processor of a thread that has made a call. Nothing but time depends on it, so a
    /// thread that is gone and a refusal of the kernel do not matter.
    pub(super) fn approach(&mut self, proc: BorrowedFd<'_>, caller: u32) {
        let Self::Follow { thread, calls, processor } = self else { return };
        *calls += 1;
        if *thread == caller && *calls < PATIENCE {
            return;
        }
        (*thread, *calls) = (caller, 0);
        let found = of_thread(proc, caller);
        if found.is_some() && found != *processor && found.is_some_and(move_to) {
            *processor = found;
        }
    }
}

/// Returns the processor that a thread last ran on.
fn of_thread(proc: BorrowedFd<'_>, thread: u32) -> Option<usize> {
    let folder = caller::open_thread(proc, thread).ok()?;
    processor(&caller::read(&folder, "stat").ok()?)
}

fn processor(stat: &str) -> Option<usize> {
    // The name may hold anything.
    let (_, facts) = stat.rsplit_once(')')?;
    facts.split_ascii_whitespace().nth(PROCESSOR)?.parse().ok()
}

/// Makes a processor the only one of this process; returns whether it is.
fn move_to(processor: usize) -> bool {
    let mut set = CpuSet::new();
    if processor >= CpuSet::MAX_CPU {
        return false;
    }
    set.set(processor);
    rustix::thread::sched_setaffinity(None, &set).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn the_processor_comes_after_any_name() {
        let facts = (3..=52).map(|field| (field * 10).to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(processor(&format!("1 (a) b) {facts}\n")), Some(390));
        assert_eq!(processor("1 (a) S 1 2"), None);
        assert_eq!(processor(""), None);
    }

    #[test]
    fn it_goes_where_the_caller_is() {
        let proc = std::fs::File::open("/proc").unwrap();
        let here = std::process::id();
        let found = of_thread(proc.as_fd(), here).unwrap();
        // In a thread of its own, so that only that one stays there.
        let allowed = std::thread::spawn(move || {
            let mut near = Nearness::Follow { thread: 0, calls: 0, processor: None };
            near.approach(proc.as_fd(), u32::MAX);
            let before = rustix::thread::sched_getaffinity(None).unwrap().count();
            assert!(move_to(found), "{found}");
            near.approach(proc.as_fd(), here);
            assert!(
                matches!(near, Nearness::Follow { thread, calls: 0, processor: Some(_) } if thread == here)
            );
            (before, rustix::thread::sched_getaffinity(None).unwrap().count())
        });
        let (before, after) = allowed.join().unwrap();
        assert!(before >= 1);
        assert_eq!(after, 1);
        assert!(!move_to(usize::MAX));
    }
}
