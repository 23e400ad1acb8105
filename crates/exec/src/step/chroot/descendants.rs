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

/// Between two looks. The longer a process takes, the rarer the looks: each one reads `/proc`.
const PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Makes orphans below this process its children.
pub(in crate::step) fn adopt() -> Result<(), RunError> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(RunError::setup("become the parent of orphans"))
}

/// Ends all processes below this one and reaps them. `group` is the process group of the command,
/// for machines without a readable `/proc`.
pub(in crate::step) fn end_all(group: Option<Pid>) -> Result<(), RunError> {
    let end = Instant::now() + PATIENCE;
    let mut pause = PAUSE;
    // Whatever is left is below a child, so most steps need no look at all.
    while reap() {
        freeze(end);
        for process in below() {
            process.signal(Signal::KILL);
        }
        if let Some(group) = group {
            // It may be gone, and most often is.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        if Instant::now() > end {
            return Err(RunError::LeftRunning);
        }
        std::thread::sleep(pause);
        pause = LONGEST_PAUSE.min(pause * 2);
    }
    Ok(())
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
    let own = rustix::process::getpid().as_raw_nonzero().get();
    by_children(own).unwrap_or_else(|| by_parents(own))
}

/// Follows the kernel's lists of children, which may lack some while others end; `None` where the
/// kernel has none (`CONFIG_PROC_CHILDREN`).
///
/// **Source** — `proc_tid_children(5)`.
fn by_children(top: i32) -> Option<Vec<Process>> {
    let mut found = Vec::new();
    let mut todo = children(top)?;
    while let Some(pid) = todo.pop() {
        // A process that is gone has left its children to this one.
        todo.extend(children(pid).unwrap_or_default());
        found.extend(Process::read(pid).filter(|process| !process.is_dead));
    }
    Some(found)
}

/// Returns the children of all threads of a process.
fn children(pid: i32) -> Option<Vec<i32>> {
    let mut found = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let text = fs::read_to_string(thread.path().join("children")).ok()?;
        found.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    Some(found)
}

/// Looks at all processes.
fn by_parents(top: i32) -> Vec<Process> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all: Vec<Process> = numbers.filter_map(Process::read).collect();
    let mut found = vec![top];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let children = all.iter().filter(|process| process.parent == parent);
        found.extend(children.map(|process| process.pid.as_raw_nonzero().get()));
        next += 1;
    }
    let is_below = |process: &Process| found[1..].contains(&process.pid.as_raw_nonzero().get());
    all.into_iter().filter(|process| is_below(process) && !process.is_dead).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn both_ways_find_all_below() {
        let script = "sleep 1000 & sh -c 'sleep 1000 & wait' & wait";
        let mut child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let top = i32::try_from(child.id()).unwrap();
        let numbers = |found: Vec<Process>| {
            let mut list: Vec<i32> = found.iter().map(|p| p.pid.as_raw_nonzero().get()).collect();
            list.sort_unstable();
            list
        };
        let end = Instant::now() + PATIENCE;
        while by_parents(top).len() < 3 && Instant::now() < end {
            std::thread::sleep(PAUSE);
        }
        let all = by_parents(top);
        let listed = by_children(top);
        all.iter().for_each(|process| process.signal(Signal::KILL));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(all.len(), 3);
        // Some kernels have no such lists.
        if let Some(listed) = listed {
            assert_eq!(numbers(listed), numbers(all));
        }
    }
}
