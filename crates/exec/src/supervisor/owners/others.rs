//! The other processes of a step, as a caller numbers them.

use rustix::fs::{CWD, Dir, Mode, OFlags};
use rustix::io::Errno;

use super::identity::{Identities, Identity};
use super::status;

/// A process of the caller's pid namespace.
pub(super) struct Process {
    /// Its number for this process.
    pub(super) outer: u32,
    pub(super) own_number: u32,
    pub(super) group: u32,
    pub(super) session: u32,
    pub(super) identity: Identity,
}

/// Returns the processes of the caller's pid namespace.
pub(super) fn all(identities: &Identities, caller: u32) -> Result<Vec<Process>, Errno> {
    let space = |number: u32| rustix::fs::readlinkat(CWD, format!("{number}/ns/pid"), Vec::new());
    let own = space(caller)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = Dir::new(rustix::fs::open(".", flags, Mode::empty())?)?;
    let mut found = Vec::new();
    for entry in folder {
        let number = entry?.file_name().to_str().ok().and_then(|name| name.parse().ok());
        // Most processes of the machine are nobody's business.
        let number = number.filter(|number| space(*number).is_ok_and(|space| space == own));
        found.extend(number.and_then(|number| process(identities, number)));
    }
    Ok(found)
}

/// Returns the process that has a thread, by the number that a caller has for the thread.
pub(super) fn of_thread(all: Vec<Process>, thread: u32) -> Option<Process> {
    all.into_iter().find(|process| has(process, thread))
}

/// Returns whether a process has a thread with this number in its own pid namespace.
pub(super) fn has(process: &Process, thread: u32) -> bool {
    if process.own_number == thread {
        return true;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let path = format!("{}/task", process.outer);
    let Ok(threads) = rustix::fs::open(path, flags, Mode::empty()).and_then(Dir::new) else {
        return false;
    };
    // The process may end meanwhile.
    threads.filter_map(Result::ok).any(|entry| {
        let outer = entry.file_name().to_str().ok().and_then(|name| name.parse().ok());
        let text = outer.and_then(|outer| status::read(outer).ok());
        text.is_some_and(|text| status::field(&text, "NSpid") == Some(thread))
    })
}

/// Looks at a process, by its number for this process.
pub(super) fn process(identities: &Identities, outer: u32) -> Option<Process> {
    let text = status::read(outer).ok()?;
    Some(Process {
        outer,
        own_number: status::own_number(&text)?,
        group: status::field(&text, "NSpgid")?,
        session: status::field(&text, "NSsid")?,
        identity: identities.of_process(outer)?,
    })
}
