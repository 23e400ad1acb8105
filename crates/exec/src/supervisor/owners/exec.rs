//! Programs with the set-user-ID or set-group-ID bit, which give a process another identity.

use std::fs::File;
use std::io::Read as _;

use rustix::fs::{FileType, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

use super::book::{self, Book};
use super::identity::{Identities, Identity};
use super::spot::Spot;
use super::status;
use super::thread::Thread;

const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2000;
/// Without it the set-group-ID bit means something else.
const GROUP_EXECUTES: u32 = 0o010;

/// When the bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    /// The whole step has `no_new_privs`, which says nothing about its processes.
    Always,
    /// Not in a process that has given up such rights (`PR_SET_NO_NEW_PRIVS`).
    Unless,
}

impl Gives {
    /// Returns when they count in a step whose first thread has this number.
    pub(super) fn of(thread: u32) -> Self {
        if has_given_up(thread) { Self::Always } else { Self::Unless }
    }
}

fn has_given_up(thread: u32) -> bool {
    status::read(thread).is_ok_and(|text| status::field(&text, "NoNewPrivs") == Some(1))
}

/// A program that is to be executed.
pub(super) struct Program<'a> {
    pub(super) spot: &'a Spot,
    pub(super) gives: Gives,
}

/// Gives the caller the identity that a program brings, before the kernel executes it.
pub(super) fn prepare(
    book: &Book,
    identities: &mut Identities,
    thread: &Thread<'_>,
    program: &Program<'_>,
) -> Result<(), Errno> {
    let before = identities.of(thread)?.clone();
    let counts = || program.gives == Gives::Always || !has_given_up(thread.number);
    let after = identity_in(book, before.clone(), program.spot, counts)?;
    if after == before { Ok(()) } else { identities.attempt(thread, before, after) }
}

/// Returns the identity that a process of `before` has in a program, in which the bits may count.
fn identity_in(
    book: &Book,
    before: Identity,
    spot: &Spot,
    counts: impl FnOnce() -> bool,
) -> Result<Identity, Errno> {
    let mut new = before;
    let found = book::look(&spot.path, spot.follow)?;
    let (sets_user, sets_group) =
        (found.mode & SET_USER != 0, found.mode & (SET_GROUP | GROUP_EXECUTES) == 0o2010);
    let is_set = found.kind == FileType::RegularFile && (sets_user || sets_group);
    if is_set && is_honoured(spot)? && counts() {
        let owner = book.owner_at(spot)?;
        if sets_user {
            new.uid.effective = owner.uid;
        }
        if sets_group {
            new.gid.effective = owner.gid;
        }
    }
    (new.keeps, new.kept) = (false, false);
    // A new program has what it executes as for good.
    for ids in [&mut new.uid, &mut new.gid] {
        (ids.saved, ids.files) = (ids.effective, ids.effective);
    }
    Ok(new)
}

/// Returns whether the bits count: not on a mount that takes them away, and not for scripts.
fn is_honoured(spot: &Spot) -> Result<bool, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(&*spot.path, flags, Mode::empty())?;
    if rustix::fs::fstatvfs(&file)?.f_flag.contains(StatVfsMountFlags::NOSUID) {
        return Ok(false);
    }
    let mut start = [0; 2];
    let read = File::from(file).read_exact(&mut start);
    Ok(read.is_ok() && &start != b"#!")
}
