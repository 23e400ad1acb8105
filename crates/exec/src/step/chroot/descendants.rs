//! Ending the processes that a command left running, without a pid namespace.
//!
//! A process whose parent ended becomes a child of the nearest process above it that asked for that
//! (`PR_SET_CHILD_SUBREAPER`). So whatever a command started, however it detached itself, stays below
//! this process and is found by its parents.

use std::fs;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use crate::error::RunError;

/// Processes that wait for a disk cannot be ended at once.
const PATIENCE: Duration = Duration::from_secs(20);

const PAUSE: Duration = Duration::from_millis(2);

/// Makes orphans below this process its children.
pub(in crate::step) fn adopt() -> Result<(), RunError> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(RunError::setup("become the parent of orphans"))
}

/// Ends all processes below this one and reaps them. `group` is the process group of the command,
/// for machines without a readable `/proc`.
pub(in crate::step) fn end_all(group: Option<Pid>) -> Result<(), RunError> {
    let end = Instant::now() + PATIENCE;
    loop {
        freeze(end);
        for process in below() {
            process.signal(Signal::KILL);
        }
        if let Some(group) = group {
            // It may be gone, and most often is.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        if !reap() {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(RunError::LeftRunning);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Stops all processes, so that none can start another one while they are killed.
fn freeze(end: Instant) {
    let mut frozen = Vec::new();
    loop {
        let new: Vec<Process> = below().into_iter().filter(|p| !frozen.contains(p)).collect();
        if new.is_empty() || Instant::now() > end {
            return;
        }
        new.iter().for_each(|process| process.signal(Signal::STOP));
        frozen.extend(new);
    }
}

/// Reaps all children that have ended. Returns whether there are others.
fn reap() -> bool {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// A process as it was when it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: Pid,
    parent: i32,
    /// When it started, in clock ticks since the machine did.
    started: u64,
    is_dead: bool,
}

impl Process {
    /// Reads the process with that number.
    ///
    /// **Source** — `proc_pid_stat(5)`.
    fn read(pid: i32) -> Option<Self> {
        let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold any character.
        let name_end = text.iter().rposition(|byte| *byte == b')')?;
        let rest = String::from_utf8_lossy(&text[name_end + 1..]).into_owned();
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        Some(Self {
            pid: Pid::from_raw(pid)?,
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
            is_dead: matches!(*fields.first()?, "Z" | "X"),
        })
    }

    /// Sends a signal, unless the number is by now another process's.
    fn signal(&self, signal: Signal) {
        let same = || {
            Self::read(self.pid.as_raw_nonzero().get())
                .is_some_and(|now| now.started == self.started)
        };
        // A process that is gone needs no signal.
        let _ = match rustix::process::pidfd_open(self.pid, PidfdFlags::empty()) {
            Ok(fd) if same() => rustix::process::pidfd_send_signal(&fd, signal),
            Err(Errno::NOSYS | Errno::PERM) if same() => {
                rustix::process::kill_process(self.pid, signal)
            }
            Ok(_) | Err(_) => Ok(()),
        };
    }
}

/// Returns the living processes below this one, as far as `/proc` shows them.
fn below() -> Vec<Process> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all: Vec<Process> = numbers.filter_map(Process::read).collect();
    let mut found = vec![rustix::process::getpid().as_raw_nonzero().get()];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let children = all.iter().filter(|process| process.parent == parent);
        found.extend(children.map(|process| process.pid.as_raw_nonzero().get()));
        next += 1;
    }
    let is_below = |process: &Process| found[1..].contains(&process.pid.as_raw_nonzero().get());
    all.into_iter().filter(|process| is_below(process) && !process.is_dead).collect()
}
