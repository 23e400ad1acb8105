//! New files: they belong to whoever makes them, or to the group of their folder.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use xbuild_model::owner::Owner;

use super::book::{self, Book};
use super::call::{Creation, Name};
use super::identity::Identity;
use super::memory;
use super::spot::{Named, Spot, read_text};
use super::thread::Thread;
use crate::supervisor::reply::Reply;

/// The flags of `open` without which no file is made.
const MAKING: OFlags = OFlags::CREATE.union(OFlags::TMPFILE.difference(OFlags::DIRECTORY));

/// The set-group-ID bit.
pub(super) const SET_GROUP: u32 = 0o2000;

/// The set-group-ID bit of a program.
pub(super) const GROUP_PROGRAM: u32 = 0o2010;

/// Makes a file of the caller's, or of the group of its folder, if that is not root; the kernel makes all
/// others.
pub(super) fn answer(
    book: &mut Book,
    thread: &Thread<'_>,
    file: &Named<'_>,
    asked: &Creation,
    own: &Identity,
) -> Result<Reply, Errno> {
    let creation = match *asked {
        Creation::Open2 { how, size } => match flags_of(thread, how, size)? {
            Some(flags) => Creation::Open { flags, mode: 0 },
            None => return Ok(Reply::Continue),
        },
        creation => creation,
    };
    if !makes_file(creation) {
        return Ok(Reply::Continue);
    }
    let Ok(spot) = file.spot() else { return Ok(Reply::Continue) };
    let Some(spot) = place(thread, spot, creation)? else { return Ok(Reply::Continue) };
    let is_unnamed = is_unnamed(creation);
    let folder = if is_unnamed { Some(spot.clone()) } else { spot.parent() };
    let Some(folder) = folder else { return Ok(Reply::Continue) };
    let owner = match owner_in(book, &folder, own.makes()) {
        Ok(owner) => owner,
        Err(errno) if errno != Errno::IO => return Ok(Reply::Continue),
        Err(errno) => return Err(errno),
    };
    let is_special = matches!(creation, Creation::Link { .. } | Creation::Node { .. });
    // A file in place of one of the layers below must not be taken for that one.
    if owner == Owner::ROOT && !(is_special && book.has_below()) {
        return Ok(Reply::Continue);
    }
    // A library that is told so does without.
    if owner != Owner::ROOT && !book.may_keep(&folder)? {
        return Err(Errno::PERM);
    }
    if matches!(asked, Creation::Open2 { .. }) {
        return Err(Errno::NOSYS);
    }
    let is_own_group = own.reaches_all() || own.is_in(owner.gid);
    let creation = if is_own_group { creation } else { creation.without_group_program() };
    make(book, thread, &spot, creation, owner)
}

/// Returns the flags of an `openat2`; `None` if the kernel will refuse its arguments.
pub(super) fn flags_of(thread: &Thread<'_>, how: u64, size: u64) -> Result<Option<u32>, Errno> {
    let mut flags = [0; 8];
    if size < 24 {
        return Ok(None);
    }
    memory::read(thread, how, &mut flags)?;
    Ok(u32::try_from(u64::from_ne_bytes(flags)).ok())
}

impl Creation {
    /// Returns it without the set-group-ID bit of a program, which the kernel takes from what a user
    /// makes in a folder that gives another group.
    ///
    /// **Source** — `mode_strip_sgid` of the kernel; `inode(7)`, `S_ISGID`.
    fn without_group_program(self) -> Self {
        let strip = |mode: u32| match mode & GROUP_PROGRAM {
            GROUP_PROGRAM => mode & !SET_GROUP,
            _ => mode,
        };
        match self {
            Self::Open { flags, mode } => Self::Open { flags, mode: strip(mode) },
            Self::Node { mode, device } => Self::Node { mode: strip(mode), device },
            other => other,
        }
    }
}

pub(super) fn makes_file(creation: Creation) -> bool {
    match creation {
        Creation::Open { flags, .. } => OFlags::from_bits_retain(flags).intersects(MAKING),
        // overlayfs's mark of a removed file is the kernel's.
        Creation::Node { mode, device } => mode & libc::S_IFMT != libc::S_IFCHR || device != 0,
        _ => true,
    }
}

pub(super) fn is_unnamed(creation: Creation) -> bool {
    matches!(creation, Creation::Open { flags, .. }
        if OFlags::from_bits_retain(flags).contains(OFlags::TMPFILE))
}

/// Returns the place of the new file; `None` if there is a file already.
pub(super) fn place(
    thread: &Thread<'_>,
    spot: &Spot,
    creation: Creation,
) -> Result<Option<Spot>, Errno> {
    let Creation::Open { flags, .. } = creation else { return Ok(Some(spot.clone())) };
    let flags = OFlags::from_bits_retain(flags);
    if is_unnamed(creation) {
        return Ok(Some(spot.clone()));
    }
    let Ok(found) = book::look(&spot.path, false) else { return Ok(Some(spot.clone())) };
    let leads_on = found.kind == FileType::Symlink && !flags.contains(OFlags::NOFOLLOW);
    if leads_on && book::look(&spot.path, true).is_err() {
        return spot.settled(thread).map(Some);
    }
    Ok(None)
}

/// Returns the owner of a new file in a folder.
pub(super) fn owner_in(book: &Book, folder: &Spot, own: Owner) -> Result<Owner, Errno> {
    let Owner { gid, .. } = book.owner_at(folder)?;
    if gid == own.gid || book::look(&folder.path, true)?.mode & SET_GROUP == 0 {
        return Ok(own);
    }
    Ok(Owner { gid, ..own })
}

/// Gives a new file to the owner that it has by its folder.
pub(super) fn adopt(book: &mut Book, thread: &Thread<'_>, name: &Name) -> Result<(), Errno> {
    let spot = Spot::read(thread, name)?;
    let owner = owner_in(book, &spot.parent().ok_or(Errno::NOENT)?, Owner::ROOT)?;
    if owner == Owner::ROOT { Ok(()) } else { book.set(&spot.handle()?, owner) }
}

/// Makes the file as the caller would, with its owner.
fn make(
    book: &mut Book,
    thread: &Thread<'_>,
    spot: &Spot,
    creation: Creation,
    owner: Owner,
) -> Result<Reply, Errno> {
    let umask = thread.umask()?;
    let target = match creation {
        Creation::Link { target } => Some(read_text(thread, target)?),
        _ => None,
    };
    thread.check()?;
    rustix::process::umask(umask);
    let made = make_bare(spot, creation, target.as_deref());
    rustix::process::umask(Mode::empty());
    match made? {
        Made::Open(file) => {
            book.set(&file, owner)?;
            let Creation::Open { flags, .. } = creation else { return Err(Errno::IO) };
            let close_on_exec = OFlags::from_bits_retain(flags).contains(OFlags::CLOEXEC);
            Ok(Reply::Gives { file, close_on_exec })
        }
        Made::Named => {
            book.set(&Spot { follow: false, ..spot.clone() }.handle()?, owner)?;
            Ok(Reply::Returns(0))
        }
        // The kernel says what is wrong, or opens the file that has come meanwhile.
        Made::Nothing => Ok(Reply::Continue),
    }
}

enum Made {
    Open(OwnedFd),
    Named,
    Nothing,
}

fn make_bare(spot: &Spot, creation: Creation, target: Option<&[u8]>) -> Result<Made, Errno> {
    let path = &*spot.path;
    let bits = |mode: u32| Mode::from_raw_mode(mode & 0o7777);
    let made = match creation {
        Creation::Open { flags, mode } => {
            let flags = OFlags::from_bits_retain(flags) | OFlags::CLOEXEC;
            let flags = match is_unnamed(creation) {
                true => flags,
                false => flags | OFlags::EXCL | OFlags::NOFOLLOW,
            };
            match rustix::fs::open(path, flags, bits(mode)) {
                Ok(file) => return Ok(Made::Open(file)),
                Err(errno) => Err(errno),
            }
        }
        Creation::Folder { mode } => rustix::fs::mkdir(path, bits(mode)),
        Creation::Node { mode, device } => {
            let kind = FileType::from_raw_mode(mode);
            // Without a kind it is a regular file.
            let kind = if mode & libc::S_IFMT == 0 { FileType::RegularFile } else { kind };
            rustix::fs::mknodat(CWD, path, kind, bits(mode), device.into())
        }
        Creation::Link { .. } => rustix::fs::symlink(target.unwrap_or_default(), path),
        Creation::Open2 { .. } => Err(Errno::NOSYS),
    };
    Ok(if made.is_ok() { Made::Named } else { Made::Nothing })
}
