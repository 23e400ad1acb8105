//! Owners beyond a range of ids: the kernel knows all others, and does what it can.
//!
//! Only calls that ask for owners, change them, or give such files other names come here. On disk the
//! file belongs to a stand-in, so the kernel has the rights of users, who are never the owner.

use caps::Capability;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use xbuild_model::owner::{IdCounts, Owner};

use super::book::{self, Book};
use super::call::{OwnerCall, Work};
use super::mount_point::is_kernels;
use super::spot::{Named, Spot};
use super::thread::Thread;
use super::{attributes, moves, show};
use crate::supervisor::caller;
use crate::supervisor::reply::Reply;

/// Answers a call, if it is about a file of such an owner.
pub(super) fn answer(
    book: &mut Book,
    thread: &Thread<'_>,
    call: &OwnerCall,
    counts: IdCounts,
) -> Result<Reply, Errno> {
    let file = &Named::new(thread, &call.name);
    match &call.work {
        Work::Change { .. } | Work::Mode { .. } | Work::Times(_)
            if file.spot().is_ok_and(is_kernels) && may(thread, Capability::CAP_CHOWN)? =>
        {
            Ok(Reply::Returns(0))
        }
        Work::Show(shape) => show::answer(book, None, thread, (file, *shape)),
        Work::Change { uid, gid } => change(book, thread, file, (*uid, *gid), counts),
        Work::Move(motion) if may(thread, Capability::CAP_DAC_OVERRIDE)? => {
            moves::answer(book, thread, file, motion)
        }
        Work::Attribute { name } => attributes::guard(thread, *name),
        Work::ListAttributes { buffer, size } => attributes::list(thread, file, (*buffer, *size)),
        _ => Ok(Reply::Continue),
    }
}

/// Gives a file from or to an owner whom the kernel does not know.
fn change(
    book: &mut Book,
    thread: &Thread<'_>,
    file: &Named<'_>,
    (uid, gid): (Option<u32>, Option<u32>),
    counts: IdCounts,
) -> Result<Reply, Errno> {
    let Ok(handle) = file.spot().and_then(Spot::handle) else {
        return Ok(Reply::Continue);
    };
    let known = book.owner(&handle)?;
    let is_known = Owner { uid: uid.unwrap_or(0), gid: gid.unwrap_or(0) };
    if known == Owner::ROOT && counts.have(is_known) || !may(thread, Capability::CAP_CHOWN)? {
        return Ok(Reply::Continue);
    }
    let spot = book::by_handle(&handle)?;
    let stat = rustix::fs::stat(&*spot.path)?;
    let before =
        if known == Owner::ROOT { Owner { uid: stat.st_uid, gid: stat.st_gid } } else { known };
    let after = Owner { uid: uid.unwrap_or(before.uid), gid: gid.unwrap_or(before.gid) };
    if !counts.have(after) && !book.may_keep(&spot)? {
        return Err(Errno::PERM);
    }
    thread.check()?;
    let disk = counts.on_disk(after);
    let ids = (Uid::from_raw(disk.uid), Gid::from_raw(disk.gid));
    rustix::fs::chownat(&handle, "", Some(ids.0), Some(ids.1), AtFlags::EMPTY_PATH)?;
    // A file without attributes keeps its row, which tells nothing new.
    let is_plain = book::may_have_attribute(book::look(&spot.path, true)?.kind);
    let kept = if is_plain && counts.have(after) { Owner::ROOT } else { after };
    book.set(&handle, kept)?;
    Ok(Reply::Returns(0))
}

/// Returns whether the caller has a capability.
fn may(thread: &Thread<'_>, capability: Capability) -> Result<bool, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(thread.number.to_string(), flags, Mode::empty())?;
    let status = caller::status(&folder)?;
    thread.check()?;
    Ok(status.capabilities.contains(&capability))
}
