//! Other names for files that can have no attribute: overlayfs gives a file of the layers below
//! another number when it gets another name.

use rustix::fs::{AtFlags, CWD, RenameFlags};
use rustix::io::Errno;
use xbuild_model::owner::Owner;

use super::book::{self, Book};
use super::call::Motion;
use super::spot::{Named, Spot};
use super::thread::Thread;
use crate::supervisor::reply::Reply;

/// Renames or links a file, and keeps its owner. The kernel does it for files with attributes.
pub(super) fn answer(
    book: &mut Book,
    thread: &Thread<'_>,
    file: &Named<'_>,
    motion: &Motion,
) -> Result<Reply, Errno> {
    if book.has_no_table() {
        return Ok(Reply::Continue);
    }
    let from = file.spot()?;
    let (Motion::Rename { to, flags } | Motion::Link { to, flags }) = *motion;
    let to = Spot::read(thread, &to)?;
    let is_exchange = matches!(motion, Motion::Rename { .. })
        && RenameFlags::from_bits_retain(flags).contains(RenameFlags::EXCHANGE);
    let Some(first) = special(book, from)? else {
        // The other file of an exchange may be one of these.
        if !is_exchange || special(book, &to)?.is_none() {
            return Ok(Reply::Continue);
        }
        return exchange(book, thread, (from, &to), flags);
    };
    if is_exchange {
        return exchange(book, thread, (from, &to), flags);
    }
    thread.check()?;
    match motion {
        Motion::Rename { .. } => {
            let flags = RenameFlags::from_bits_retain(flags);
            rustix::fs::renameat_with(CWD, &*from.path, CWD, &*to.path, flags)?;
        }
        Motion::Link { .. } => {
            let flags = if from.follow { AtFlags::SYMLINK_FOLLOW } else { AtFlags::empty() };
            rustix::fs::linkat(CWD, &*from.path, CWD, &*to.path, flags)?;
        }
    }
    keep(book, &to, first)?;
    Ok(Reply::Returns(0))
}

fn exchange(
    book: &mut Book,
    thread: &Thread<'_>,
    (one, two): (&Spot, &Spot),
    flags: u32,
) -> Result<Reply, Errno> {
    let (first, second) = (special(book, one)?, special(book, two)?);
    thread.check()?;
    let flags = RenameFlags::from_bits_retain(flags);
    rustix::fs::renameat_with(CWD, &*one.path, CWD, &*two.path, flags)?;
    for (spot, owner) in [(two, first), (one, second)] {
        if let Some(owner) = owner {
            keep(book, spot, owner)?;
        }
    }
    Ok(Reply::Returns(0))
}

/// Returns the owner of a file that can have no attribute; `None` for any other file, and if there is
/// none.
fn special(book: &Book, spot: &Spot) -> Result<Option<Owner>, Errno> {
    let Ok(found) = book::look(&spot.path, spot.follow) else { return Ok(None) };
    if book::may_have_attribute(found.kind) {
        return Ok(None);
    }
    let owner = book.owner(&spot.handle()?)?;
    Ok((!book.is_partial() || owner != Owner::ROOT).then_some(owner))
}

fn keep(book: &mut Book, spot: &Spot, owner: Owner) -> Result<(), Errno> {
    book.set(&Spot { follow: false, ..spot.clone() }.handle()?, owner)
}
