//! The identities of processes: the users and groups that they believe to be.
//!
//! To the kernel all processes of a step are one user. Their identities are rows of a table, and the
//! number of a process's row is its soft limit of `RLIMIT_LOCKS`, a resource that the kernel has not
//! limited since Linux 2.4.25. New processes and programs inherit it in one step with everything
//! else, where a table by process numbers would be late. Only this process sets it: the filter keeps
//! the step from that limit. All threads of a process have one identity, as C libraries see to it.
//!
//! **Source** — `credentials(7)`, `setresuid(2)`, `setreuid(2)`, `setfsuid(2)`; `kernel/sys.c`.

use std::collections::HashMap;
use std::ffi::CString;

use rustix::io::Errno;
use xbuild_model::owner::Owner;

use super::sys;
use super::thread::Thread;

/// The number of the first row. Other values of the limit are those of processes that never changed
/// their identity.
const FIRST: u64 = 0x7862_0000_0000_0000;

/// The most identities: those of a step are few.
const LIMIT: usize = 1 << 16;

/// The number of the first attempt.
const FIRST_ATTEMPT: u64 = 0x7862_8000_0000_0000;

/// The most attempts whose programs are remembered. Older ones are taken for successes.
const ATTEMPTS: u64 = 1 << 12;

/// One kind of ids of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Ids {
    pub(super) real: u32,
    pub(super) effective: u32,
    pub(super) saved: u32,
    /// For reaching files.
    pub(super) files: u32,
}

impl Ids {
    /// Returns whether a process may take an id without privileges.
    fn has(&self, id: u32) -> bool {
        [self.real, self.effective, self.saved].contains(&id)
    }
}

/// A change of ids. An id of `None` stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// `setuid`.
    One(Option<u32>),
    /// `setreuid`.
    Two(Option<u32>, Option<u32>),
    /// `setresuid`.
    Three(Option<u32>, Option<u32>, Option<u32>),
}

impl Change {
    /// Returns the ids after the change.
    pub(super) fn apply(self, old: Ids, is_privileged: bool) -> Result<Ids, Errno> {
        let allowed = |id: Option<u32>, known: bool| match id {
            Some(_) if !is_privileged && !known => Err(Errno::PERM),
            _ => Ok(()),
        };
        let is_known = |id: Option<u32>| id.is_some_and(|id| old.has(id));
        let mut new = old;
        match self {
            Self::One(id) => {
                let id = id.ok_or(Errno::INVAL)?;
                if is_privileged {
                    (new.real, new.saved) = (id, id);
                } else if id != old.real && id != old.saved {
                    return Err(Errno::PERM);
                }
                new.effective = id;
            }
            Self::Two(real, effective) => {
                allowed(real, real.is_some_and(|id| id == old.real || id == old.effective))?;
                allowed(effective, is_known(effective))?;
                new.real = real.unwrap_or(old.real);
                new.effective = effective.unwrap_or(old.effective);
                if real.is_some() || effective.is_some_and(|id| id != old.real) {
                    new.saved = new.effective;
                }
            }
            Self::Three(real, effective, saved) => {
                for id in [real, effective, saved] {
                    allowed(id, is_known(id))?;
                }
                new.real = real.unwrap_or(old.real);
                new.effective = effective.unwrap_or(old.effective);
                new.saved = saved.unwrap_or(old.saved);
            }
        }
        new.files = new.effective;
        Ok(new)
    }
}

/// A row of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) uid: Ids,
    pub(super) gid: Ids,
    pub(super) groups: Vec<u32>,
    /// Whether it keeps root's rights when it becomes another user (`PR_SET_KEEPCAPS`).
    pub(super) keeps: bool,
    /// Whether it has kept them. They let it change ids, not reach files.
    pub(super) kept: bool,
}

impl Identity {
    /// Returns whether it may take any id.
    pub(super) fn is_privileged(&self) -> bool {
        self.uid.effective == 0 || self.kept
    }

    /// Returns whether it reaches all files.
    pub(super) fn reaches_all(&self) -> bool {
        self.uid.effective == 0 && self.uid.files == 0
    }

    /// Returns whether all its ids are root's.
    fn is_roots(&self) -> bool {
        (self.uid, self.gid) == (Ids::default(), Ids::default())
    }

    /// Returns whether it has the kernel's effective capabilities, and the permitted ones.
    pub(super) fn keeps(&self) -> (bool, bool) {
        let ids = [self.uid.real, self.uid.effective, self.uid.saved];
        (self.is_privileged(), ids.contains(&0) || self.kept)
    }

    /// Returns the owner of the files that it makes.
    pub(super) fn makes(&self) -> Owner {
        Owner { uid: self.uid.files, gid: self.gid.files }
    }

    pub(super) fn is_in(&self, group: u32) -> bool {
        self.gid.files == group || self.groups.contains(&group)
    }
}

/// The table.
pub(super) struct Identities {
    rows: Vec<Identity>,
    numbers: HashMap<Identity, usize>,
    attempts: HashMap<u64, Attempt>,
    next_attempt: u64,
    /// Whether a row or an attempt is of another user or group than root.
    has_others: bool,
}

/// The execution of a program that brings another identity. The kernel may still refuse it, and tells
/// nobody. So the process has the number of the attempt, and its next call, or that of a process that it
/// has started meanwhile, shows whether it is still the old program.
struct Attempt {
    before: Identity,
    after: Identity,
    program: Program,
}

/// The mark of a program that is executed: the addresses that the kernel gave it, and its file.
#[derive(Default, PartialEq, Eq)]
struct Program(Vec<u8>, CString);

impl Program {
    fn of(thread: &Thread<'_>) -> Result<Self, Errno> {
        let path = |name: &str| format!("{}/{name}", thread.number);
        let addresses = std::fs::read(path("auxv")).map_err(|_| Errno::SRCH)?;
        Ok(Self(addresses, rustix::fs::readlink(path("exe"), Vec::new())?))
    }
}

impl Identities {
    /// Returns a table with the identity that a step begins with, root's.
    pub(super) fn new() -> Self {
        let root = Identity::default();
        let numbers = HashMap::from([(root.clone(), 0)]);
        Self {
            rows: vec![root],
            numbers,
            attempts: HashMap::new(),
            next_attempt: 0,
            has_others: false,
        }
    }

    /// Returns the identity of a caller.
    pub(super) fn of(&mut self, thread: &Thread<'_>) -> Result<&Identity, Errno> {
        let (mut soft, _) = sys::locks_limit(thread.number).map_err(|_| Errno::PERM)?;
        if let Some(attempt) = self.attempts.get(&soft) {
            let is_old = Program::of(thread).is_ok_and(|program| program == attempt.program);
            let identity = if is_old { &attempt.before } else { &attempt.after }.clone();
            soft = FIRST + self.number(identity)? as u64;
            put(thread, soft)?;
        }
        Ok(self.row(soft))
    }

    /// Returns an identity with the users and groups of a caller; its other groups are only right if it is
    /// not root.
    pub(super) fn of_ids(&mut self, thread: &Thread<'_>) -> Result<&Identity, Errno> {
        // While all are root nobody needs to be asked.
        if self.vary() { self.of(thread) } else { Ok(&self.rows[0]) }
    }

    /// Returns whether any process may have become another user than root.
    pub(super) fn vary(&self) -> bool {
        self.has_others
    }

    /// Returns the identity of a process of the step, by its number for this process. `None` if the
    /// process is gone, or nobody's business.
    pub(super) fn of_process(&self, process: u32) -> Option<Identity> {
        Some(self.of_limit(sys::locks_limit(process).ok()?.0))
    }

    /// Returns the identity of a process with this soft limit.
    pub(super) fn of_limit(&self, soft: u64) -> Identity {
        match self.attempts.get(&soft) {
            Some(attempt) => attempt.after.clone(),
            None => self.row(soft).clone(),
        }
    }

    fn row(&self, soft: u64) -> &Identity {
        let number = soft.checked_sub(FIRST).and_then(|number| usize::try_from(number).ok());
        number.and_then(|number| self.rows.get(number)).unwrap_or(&self.rows[0])
    }

    /// Gives the caller's process an identity.
    pub(super) fn set(&mut self, thread: &Thread<'_>, identity: Identity) -> Result<(), Errno> {
        let number = self.number(identity)?;
        put(thread, FIRST + number as u64)
    }

    /// Gives the caller's process the identity `after` if it becomes another program by the call that
    /// it makes.
    pub(super) fn attempt(
        &mut self,
        thread: &Thread<'_>,
        before: Identity,
        after: Identity,
    ) -> Result<(), Errno> {
        let program = Program::of(thread)?;
        let number = FIRST_ATTEMPT + self.next_attempt;
        // A process that has made no call since is the new program.
        if let Some(old) = self.attempts.get_mut(&number.wrapping_sub(ATTEMPTS)) {
            old.program = Program::default();
        }
        self.next_attempt += 1;
        self.has_others |= !after.is_roots();
        self.attempts.insert(number, Attempt { before, after, program });
        put(thread, number)
    }

    /// Returns the number of the row of an identity.
    fn number(&mut self, identity: Identity) -> Result<usize, Errno> {
        match self.numbers.get(&identity) {
            Some(number) => Ok(*number),
            None if self.rows.len() >= LIMIT => Err(Errno::AGAIN),
            None => {
                self.has_others |= !identity.is_roots();
                self.rows.push(identity.clone());
                self.numbers.insert(identity, self.rows.len() - 1);
                Ok(self.rows.len() - 1)
            }
        }
    }
}

/// Gives the caller's process a number.
fn put(thread: &Thread<'_>, number: u64) -> Result<(), Errno> {
    thread.check()?;
    let (_, hard) = sys::locks_limit(thread.number).map_err(|_| Errno::PERM)?;
    sys::set_locks_limit(thread.number, (number, hard)).map_err(|_| Errno::PERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(real: u32, effective: u32, saved: u32) -> Ids {
        Ids { real, effective, saved, files: effective }
    }

    #[test]
    fn ids_change_by_the_kernels_rules() {
        let (root, user) = (ids(0, 0, 0), ids(1, 2, 3));
        for (old, change, expected) in [
            (root, Change::One(Some(5)), Ok(ids(5, 5, 5))),
            (root, Change::One(None), Err(Errno::INVAL)),
            (user, Change::One(Some(1)), Ok(ids(1, 1, 3))),
            (user, Change::One(Some(3)), Ok(ids(1, 3, 3))),
            (user, Change::One(Some(2)), Err(Errno::PERM)),
            (user, Change::One(Some(0)), Err(Errno::PERM)),
            (root, Change::Two(Some(7), Some(8)), Ok(ids(7, 8, 8))),
            (root, Change::Two(None, Some(8)), Ok(ids(0, 8, 8))),
            (user, Change::Two(None, Some(1)), Ok(ids(1, 1, 3))),
            (user, Change::Two(None, Some(3)), Ok(ids(1, 3, 3))),
            (user, Change::Two(Some(2), Some(1)), Ok(ids(2, 1, 1))),
            (user, Change::Two(Some(3), None), Err(Errno::PERM)),
            (root, Change::Three(Some(1), Some(2), None), Ok(ids(1, 2, 0))),
            (user, Change::Three(Some(3), Some(1), Some(2)), Ok(ids(3, 1, 2))),
            (user, Change::Three(None, None, None), Ok(user)),
            (user, Change::Three(None, Some(0), None), Err(Errno::PERM)),
        ] {
            assert_eq!(change.apply(old, old == root), expected, "{old:?} {change:?}");
        }
    }

    #[test]
    fn rights_are_those_of_root() {
        let mut identity = Identity::default();
        assert!(identity.is_privileged() && identity.reaches_all());
        identity.uid.files = 1;
        assert!(identity.is_privileged() && !identity.reaches_all());
        identity.uid = ids(0, 1, 0);
        assert!(!identity.is_privileged());
        identity.kept = true;
        assert!(identity.is_privileged() && !identity.reaches_all());
        assert_eq!(identity.keeps(), (true, true));
        identity.kept = false;
        assert_eq!(identity.keeps(), (false, true));
        identity.groups = vec![4];
        assert!(identity.is_in(4) && identity.is_in(0) && !identity.is_in(5));
    }
}
