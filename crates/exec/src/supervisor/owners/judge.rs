//! The rights that each call needs.

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::book;
use super::call::{Creation, Motion, Times, Work};
use super::create::GROUP_PROGRAM;
use super::deny::{Gate, READ, SEARCH, WRITE, is_exempt};
use super::spot::{Named, Spot, read_text};
use super::thread::Thread;
use super::{create, memory, sockets};

/// The set-user-ID bit.
const SET_USER: u32 = 0o4000;

/// Makes sure that the caller, who is not root, may do a call. Errors that the kernel finds are its
/// own to tell.
pub(super) fn judge(
    gate: &mut Gate<'_>,
    thread: &Thread<'_>,
    (file, work): (&Named<'_>, &Work),
) -> Result<(), Errno> {
    let Ok(spot) = file.spot() else { return Ok(()) };
    match work {
        Work::Show(_) | Work::ListAttributes { .. } => {
            with(gate, spot, |gate, handle| gate.reach(spot, handle))
        }
        Work::Change { uid, gid } => with(gate, spot, |gate, handle| {
            let owner = gate.owns(spot, handle)?;
            let keeps_user = uid.is_none_or(|uid| uid == owner.uid);
            let may_group = gid.is_none_or(|gid| gid == owner.gid || gate.identity.is_in(gid));
            if keeps_user && may_group { Ok(()) } else { Err(Errno::PERM) }
        }),
        Work::Mode { .. } => with(gate, spot, |gate, handle| gate.owns(spot, handle).map(drop)),
        Work::Times(times) => {
            match with(gate, spot, |gate, handle| gate.owns(spot, handle).map(drop)) {
                Err(Errno::PERM) => match set(thread, *times)? {
                    Set::Now => right(gate, spot, WRITE),
                    Set::Nothing => Ok(()),
                    Set::Others => Err(Errno::PERM),
                },
                owns => owns,
            }
        }
        Work::Truncate => right(gate, spot, WRITE),
        Work::Bind { address, size } => match sockets::spot(thread, *address, *size)? {
            Some(spot) => gate.may_change_folder(&spot, false),
            None => Ok(()),
        },
        Work::Connect { address, size } => match sockets::spot(thread, *address, *size)? {
            Some(spot) => right(gate, &Spot { follow: true, ..spot }, WRITE),
            None => Ok(()),
        },
        Work::Attribute { name } => {
            match read_text(thread, *name) {
                Ok(name) if name.starts_with(b"system.posix_acl_") => {
                    with(gate, spot, |gate, handle| gate.owns(spot, handle).map(drop))
                }
                // Those of the kernel's are root's to change.
                Ok(name) if !name.starts_with(b"user.") && !name.starts_with(b"system.") => {
                    Err(Errno::PERM)
                }
                _ => right(gate, spot, WRITE),
            }
        }
        Work::Enter => right(gate, spot, SEARCH),
        Work::Access { mode, .. } => right(gate, spot, *mode & 7),
        Work::Remove => gate.may_change_folder(spot, true),
        Work::ChangeRoot => Err(Errno::PERM),
        Work::Nothing => Ok(()),
        Work::Execute => gate.may_execute(spot),
        Work::Move(motion) => moved(gate, thread, spot, motion),
        Work::Create(creation) => created(gate, thread, spot, creation),
    }
}

/// The times that a call sets.
enum Set {
    /// Both to now, which needs the right to write.
    Now,
    Nothing,
    Others,
}

fn set(thread: &Thread<'_>, times: Times) -> Result<Set, Errno> {
    let (at, word) = match times {
        Times::Now => return Ok(Set::Now),
        Times::Given => return Ok(Set::Others),
        Times::Read { at, word } => (at, word),
    };
    let mut bytes = vec![0; 4 * word];
    memory::read(thread, at, &mut bytes)?;
    let nanoseconds = [word, 3 * word]
        .map(|at| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
    let both = |value: libc::c_long| nanoseconds.iter().all(|one| i64::from(*one) == value);
    Ok(match () {
        () if both(libc::UTIME_NOW) => Set::Now,
        () if both(libc::UTIME_OMIT) => Set::Nothing,
        () => Set::Others,
    })
}

/// Does something with a file, unless it cannot be opened. Who may not go to where a file is missing is not
/// told so.
fn with<'a>(
    gate: &mut Gate<'a>,
    spot: &Spot,
    work: impl FnOnce(&mut Gate<'a>, &OwnedFd) -> Result<(), Errno>,
) -> Result<(), Errno> {
    match spot.handle() {
        Ok(handle) => work(gate, &handle),
        Err(Errno::NOENT) => gate.reach_missing(spot),
        Err(_) => Ok(()),
    }
}

fn right(gate: &mut Gate<'_>, spot: &Spot, wanted: u32) -> Result<(), Errno> {
    with(gate, spot, |gate, handle| {
        if is_exempt(handle)? {
            return Ok(());
        }
        let file = book::by_handle(handle)?;
        let kind = book::look(&file.path, true)?.kind;
        let is_named = spot.path.as_bytes().first() == Some(&b'/')
            || matches!(kind, FileType::RegularFile | FileType::Directory);
        // A pipe or terminal of the caller's own.
        if !is_named {
            return Ok(());
        }
        gate.reach(spot, handle)?;
        gate.check(&file, wanted)
    })
}

fn moved(
    gate: &mut Gate<'_>,
    thread: &Thread<'_>,
    spot: &Spot,
    motion: &Motion,
) -> Result<(), Errno> {
    let (Motion::Rename { to, .. } | Motion::Link { to, .. }) = motion;
    let Ok(to) = Spot::read(thread, to) else { return Ok(()) };
    if matches!(motion, Motion::Rename { .. }) {
        gate.may_change_folder(spot, true)?;
        may_leave(gate, spot, &to)?;
        let replaces = book::look(&to.path, false).is_ok();
        return gate.may_change_folder(&to, replaces);
    }
    may_link(gate, spot)?;
    gate.may_change_folder(&to, false)
}

/// Makes sure that the caller may move a folder into another one, which changes its name `..`.
///
/// **Source** — `rename(2)`, `EACCES`.
fn may_leave(gate: &Gate<'_>, spot: &Spot, to: &Spot) -> Result<(), Errno> {
    let Ok(found) = book::look(&spot.path, false) else { return Ok(()) };
    let folder = |spot: &Spot| book::look(&spot.parent()?.path, true).ok();
    let stays = match (folder(spot), folder(to)) {
        (Some(old), Some(new)) => old.is_same(&new),
        _ => true,
    };
    if found.kind != FileType::Directory || stays {
        return Ok(());
    }
    gate.check(&Spot { follow: false, ..spot.clone() }, WRITE)
}

/// Makes sure that the caller may give a file another name: one of its own, or one that it may read and
/// write and that brings nobody's rights.
///
/// **Source** — `proc_sys_fs(5)`, § `protected_hardlinks`.
fn may_link(gate: &mut Gate<'_>, spot: &Spot) -> Result<(), Errno> {
    // This process's own `/proc` is its working directory.
    if std::fs::read("sys/fs/protected_hardlinks").is_ok_and(|value| value.starts_with(b"0")) {
        return Ok(());
    }
    with(gate, spot, |gate, handle| {
        gate.reach(spot, handle)?;
        if gate.book.owner(handle)?.uid == gate.identity.uid.files {
            return Ok(());
        }
        let file = book::by_handle(handle)?;
        let found = book::look(&file.path, true)?;
        let is_plain = found.kind == FileType::RegularFile
            && found.mode & SET_USER == 0
            && found.mode & GROUP_PROGRAM != GROUP_PROGRAM;
        match is_plain && gate.check(&file, READ | WRITE).is_ok() {
            true => Ok(()),
            false => Err(Errno::PERM),
        }
    })
}

fn created(
    gate: &mut Gate<'_>,
    thread: &Thread<'_>,
    spot: &Spot,
    creation: &Creation,
) -> Result<(), Errno> {
    let flags = match *creation {
        Creation::Open { flags, .. } => flags,
        Creation::Open2 { how, size } => match create::flags_of(thread, how, size)? {
            Some(flags) => flags,
            None => return Ok(()),
        },
        _ => return gate.may_change_folder(spot, false),
    };
    let creation = Creation::Open { flags, mode: 0 };
    let flags = OFlags::from_bits_retain(flags);
    if create::is_unnamed(creation) {
        return right(gate, spot, WRITE | SEARCH);
    }
    if create::makes_file(creation)
        && let Some(new) = create::place(thread, spot, creation)?
    {
        return gate.may_change_folder(&new, false);
    }
    if flags.contains(OFlags::PATH) {
        return with(gate, spot, |gate, handle| gate.reach(spot, handle));
    }
    let access = match flags & OFlags::ACCMODE {
        OFlags::RDONLY => READ,
        OFlags::WRONLY => WRITE,
        _ => READ | WRITE,
    };
    let cuts = if flags.contains(OFlags::TRUNC) { WRITE } else { 0 };
    right(gate, spot, access | cuts)
}
