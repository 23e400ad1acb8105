//! Changes of owners.

use rustix::fs::{AtFlags, Gid, Uid};
use rustix::io::Errno;
use xbuild_model::owner::Owner;

use super::book::{self, Book};
use super::call::OwnerCall;
use super::spot::Spot;
use super::thread::Thread;
use crate::supervisor::reply::Reply;

/// Gives a file to an owner. The kernel does what needs no record.
pub(super) fn answer(
    book: &mut Book,
    thread: &Thread<'_>,
    call: &OwnerCall,
    (uid, gid): (Option<u32>, Option<u32>),
) -> Result<Reply, Errno> {
    if (uid, gid) == (None, None) {
        return Ok(Reply::Continue);
    }
    let spot = Spot::read(thread, &call.name)?;
    let handle = spot.handle()?;
    let before = book.owner(&handle)?;
    let after = Owner { uid: uid.unwrap_or(before.uid), gid: gid.unwrap_or(before.gid) };
    if (before, after) == (Owner::ROOT, Owner::ROOT) && !book.has_below() {
        return Ok(Reply::Continue);
    }
    if after != Owner::ROOT && !book.may_keep(&book::by_handle(&handle)?)? {
        return Err(Errno::PERM);
    }
    thread.check()?;
    // The kernel's own owner stays, while it does everything else: it refuses what cannot be
    // changed, takes set-id bits and capabilities away, and sets the time of the change.
    let (own_uid, own_gid) = (uid.map(|_| Uid::ROOT), gid.map(|_| Gid::ROOT));
    rustix::fs::chownat(&handle, "", own_uid, own_gid, AtFlags::EMPTY_PATH)?;
    book.set(&handle, after)?;
    Ok(Reply::Returns(0))
}
