//! Changes of owners.

use rustix::fs::{AtFlags, Gid, Mode, Uid};
use rustix::io::Errno;
use xbuild_model::owner::Owner;

use super::book::{self, Book};
use super::call::Name;
use super::create::SET_GROUP;
use super::identity::Identity;
use super::spot::Spot;
use super::thread::Thread;
use crate::supervisor::reply::Reply;

/// Gives a file to an owner. The kernel does what needs no record.
pub(super) fn answer(
    book: &mut Book,
    thread: &Thread<'_>,
    (name, spot): (&Name, &Spot),
    (uid, gid): (Option<u32>, Option<u32>),
) -> Result<Reply, Errno> {
    if (uid, gid) == (None, None) {
        return Ok(Reply::Continue);
    }
    let is_descriptor = name.path.is_none();
    let after = match (uid, gid) {
        (Some(uid), Some(gid)) if uid != 0 || gid != 0 => Owner { uid, gid },
        _ => {
            let before = match book.owner_at(spot) {
                Err(Errno::NOENT) if is_descriptor => return Ok(Reply::Continue),
                before => before?,
            };
            let after = Owner { uid: uid.unwrap_or(before.uid), gid: gid.unwrap_or(before.gid) };
            if (before, after) == (Owner::ROOT, Owner::ROOT) && !book.has_below() {
                return Ok(Reply::Continue);
            }
            after
        }
    };
    if is_descriptor && !is_open(spot) {
        return Ok(Reply::Continue);
    }
    let handle = spot.handle()?;
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

/// Changes the mode of a file as the kernel would for a user: without the right to set the
/// set-group-ID bit for a group that the user is not in. The kernel does all other changes.
///
/// **Source** — `chmod(2)`, § Description.
pub(super) fn mode(
    book: &Book,
    (thread, identity): (&Thread<'_>, &Identity),
    (name, spot): (&Name, &Spot),
    mode: u32,
) -> Result<Reply, Errno> {
    if mode & SET_GROUP == 0 || identity.reaches_all() || name.path.is_none() && !is_open(spot) {
        return Ok(Reply::Continue);
    }
    let Ok(handle) = spot.handle() else { return Ok(Reply::Continue) };
    let file = book::by_handle(&handle)?;
    // A link has no mode, and a user has no file of `/proc`.
    let is_plain = book::may_have_attribute(book::look(&file.path, true)?.kind);
    if !is_plain || identity.is_in(book.owner(&handle)?.gid) {
        return Ok(Reply::Continue);
    }
    thread.check()?;
    rustix::fs::chmod(&*file.path, Mode::from_raw_mode(mode & 0o7777 & !SET_GROUP))?;
    Ok(Reply::Returns(0))
}

/// Returns whether a descriptor of a caller is there and opened for more than its path: the kernel refuses
/// all others. The link in `/proc` has the rights that the file was opened with.
fn is_open(spot: &Spot) -> bool {
    book::look(&spot.path, false).is_ok_and(|link| link.mode & 0o600 != 0)
}
