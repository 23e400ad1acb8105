//! Child processes that a signal to this process must end, too.
//!
//! A signal ends this process at once, without the code that would end its children in an orderly
//! way. The handler ends the processes that are known here, and so leaves nobody an orphan. The list
//! is of fixed size and has no lock, so that a signal handler can read it.

use std::sync::atomic::{AtomicI32, Ordering};

/// As many processes as one build can have at once, by far: a helper, agents, a git and a credential
/// helper for each thread. One more is not known here.
const MOST: usize = 256;

/// A process id, the negative of the id of a process group, or 0.
static WARDS: [AtomicI32; MOST] = [const { AtomicI32::new(0) }; MOST];

/// A child process that is known here until this is dropped, which must come before the process is
/// waited for or right after: its id may be another process's later.
#[derive(Debug)]
pub struct Ward(Option<&'static AtomicI32>);

impl Ward {
    /// Makes a process known.
    pub fn of_process(id: u32) -> Self {
        Self::new(i32::try_from(id).unwrap_or(0))
    }

    /// Makes all processes of a group known.
    pub fn of_group(id: u32) -> Self {
        Self::new(i32::try_from(id).map_or(0, |id| -id))
    }

    fn new(id: i32) -> Self {
        // To a signal, 1 and -1 mean others than a child.
        if id.abs() <= 1 {
            return Self(None);
        }
        let take = |slot: &&AtomicI32| {
            slot.compare_exchange(0, id, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        Self(WARDS.iter().find(take))
    }
}

impl Drop for Ward {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            slot.store(0, Ordering::Release);
        }
    }
}

/// Calls `end` for each: a process id, or the negative of the id of a process group. Neither
/// allocates nor locks.
pub fn for_each_ward(end: impl Fn(i32)) {
    for slot in &WARDS {
        match slot.load(Ordering::Acquire) {
            0 => {}
            id => end(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn known() -> Vec<i32> {
        let list = RefCell::new(Vec::new());
        for_each_ward(|id| list.borrow_mut().push(id));
        list.into_inner()
    }

    #[test]
    fn children_are_known_while_they_are_wards() {
        let (process, group) = (Ward::of_process(100), Ward::of_group(200));
        let nobody = [Ward::of_process(0), Ward::of_process(1), Ward::of_group(u32::MAX)];
        assert_eq!(known(), [100, -200]);
        drop(process);
        assert_eq!(known(), [-200]);
        let many: Vec<Ward> = (300..300 + MOST as u32).map(Ward::of_process).collect();
        assert_eq!(known().len(), MOST);
        drop((group, many, nobody));
        assert_eq!(known(), [0; 0]);
    }
}
