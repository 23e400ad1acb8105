//! Signals: a process may send them to those of its own user. To the kernel all processes of a step are
//! one user.
//!
//! **Source** — `kill(2)`, `tgkill(2)`, `pidfd_send_signal(2)`.

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::identity::Identities;
use super::others::{self, Process, process};
use super::thread::Thread;
use crate::supervisor::reply::Reply;

/// The processes that a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Targets {
    /// As the first argument of `kill` names them.
    Named(i32),
    /// The process of a descriptor.
    Descriptor(i32),
    /// A thread, and the process that must have it.
    Thread { process: Option<u32>, thread: u32 },
}

/// Refuses a signal that the caller, who is not root, may not send. The kernel sends it if it may go to
/// all targets, this process if to some.
pub(super) fn answer(
    identities: &Identities,
    thread: &Thread<'_>,
    targets: Targets,
    signal: u32,
) -> Result<Reply, Errno> {
    let Some(own) = process(identities, thread.number) else { return Ok(Reply::Continue) };
    let Some(found) = find(identities, thread, &own, targets)? else { return Ok(Reply::Continue) };
    thread.check()?;
    let all = found.len();
    let allowed: Vec<&Process> = found.iter().filter(|to| may(&own, to, signal)).collect();
    if allowed.len() == all {
        return Ok(Reply::Continue);
    }
    // A signal to all that reaches nobody is no error.
    if allowed.is_empty() && targets != Targets::Named(-1) {
        return Err(Errno::PERM);
    }
    if signal > 0 {
        let signal = i32::try_from(signal).ok().and_then(Signal::from_named_raw);
        let signal = signal.ok_or(Errno::PERM)?;
        for to in allowed {
            if let Some(number) = Pid::from_raw(to.outer.cast_signed()) {
                // It may be gone meanwhile.
                let _ = rustix::process::kill_process(number, signal);
            }
        }
    }
    Ok(Reply::Returns(0))
}

/// Returns the processes that a signal is for; `None` if it is the kernel's to send.
fn find(
    identities: &Identities,
    thread: &Thread<'_>,
    own: &Process,
    targets: Targets,
) -> Result<Option<Vec<Process>>, Errno> {
    Ok(match targets {
        // Root's, and closed to this process.
        Targets::Named(1) | Targets::Thread { process: Some(1), .. } if own.own_number != 1 => {
            return Err(Errno::PERM);
        }
        Targets::Named(number) if number > 0 && number.unsigned_abs() == own.own_number => {
            return Ok(None);
        }
        Targets::Named(number) => {
            Some(select(others::all(identities, thread.number)?, number, own))
        }
        // Nearly all such signals are for threads of the caller's own process.
        Targets::Thread { process: Some(process), .. } if process == own.own_number => {
            return Ok(None);
        }
        Targets::Thread { process: None, thread } if others::has(own, thread) => {
            return Ok(None);
        }
        Targets::Thread { process, thread: target } => {
            let all = others::all(identities, thread.number)?;
            let found = match process {
                Some(number) => all.into_iter().find(|found| found.own_number == number),
                None => others::of_thread(all, target),
            };
            Some(found.into_iter().collect())
        }
        Targets::Descriptor(number) => {
            let path = format!("{}/fdinfo/{number}", thread.number);
            let Ok(text) = std::fs::read_to_string(path) else { return Ok(None) };
            // By this process's own `/proc`.
            let outer = text.lines().find_map(|line| line.strip_prefix("Pid:\t")?.parse().ok());
            Some(outer.and_then(|outer| process(identities, outer)).into_iter().collect())
        }
    })
}

/// Returns the processes that `kill` names by a number.
fn select(all: Vec<Process>, number: i32, own: &Process) -> Vec<Process> {
    let is_meant = |process: &Process| match number {
        // Neither pid 1 nor the caller itself.
        -1 => process.own_number > 1 && process.own_number != own.own_number,
        0 => process.group == own.group,
        ..-1 => process.group == number.unsigned_abs(),
        1.. => process.own_number == number.unsigned_abs(),
    };
    all.into_iter().filter(is_meant).collect()
}

fn may(own: &Process, to: &Process, signal: u32) -> bool {
    let mine = [own.identity.uid.real, own.identity.uid.effective];
    let theirs = [to.identity.uid.real, to.identity.uid.saved];
    let continues = signal == libc::SIGCONT.cast_unsigned() && own.session == to.session;
    continues || own.own_number == to.own_number || mine.iter().any(|id| theirs.contains(id))
}

#[cfg(test)]
mod tests {
    use super::super::identity::{Identity, Ids};
    use super::*;

    fn process(own_number: u32, group: u32, user: u32) -> Process {
        let uid = Ids { real: user, effective: user, saved: user, files: user };
        let identity = Identity { uid, ..Identity::default() };
        Process { outer: 100 + own_number, own_number, group, session: 1, identity }
    }

    #[test]
    fn processes_are_named_as_kill_names_them() {
        let own = process(7, 5, 3);
        for (number, expected) in
            [(5, vec![5]), (0, vec![5, 7]), (-9, vec![8]), (-1, vec![5, 8]), (6, vec![])]
        {
            let all = vec![process(1, 1, 0), process(5, 5, 0), process(7, 5, 3), process(8, 9, 3)];
            let found = select(all, number, &own);
            let numbers: Vec<u32> = found.iter().map(|process| process.own_number).collect();
            assert_eq!(numbers, expected, "{number}");
        }
    }

    #[test]
    fn signals_go_to_processes_of_the_same_user() {
        let own = process(7, 5, 3);
        let (term, cont) = (libc::SIGTERM.cast_unsigned(), libc::SIGCONT.cast_unsigned());
        for (to, signal, expected) in
            [(3, term, true), (0, term, false), (0, cont, true), (4, 0, false)]
        {
            assert_eq!(may(&own, &process(8, 8, to), signal), expected, "{to} {signal}");
        }
        let mut set = process(8, 8, 0);
        set.identity.uid.real = 3;
        assert!(may(&own, &set, term));
    }
}
