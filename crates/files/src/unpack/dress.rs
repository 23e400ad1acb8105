//! Giving files the metadata of a layer.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{Gid, OFlags, Uid};
use rustix::io::Errno;
use xbuild_layer::Meta;
use xbuild_model::ids::{GuestGid, GuestUid};
use xbuild_model::owner::{Owner, STAND_IN};
use xbuild_model::records::Owners;

use crate::owners::mark;
use crate::root::{Root, set_mode, timestamps};

/// The work that gives a file to its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gift {
    /// None.
    Nothing,
    /// A change of the owner on disk, and an attribute if it does not exist there.
    Disk(GuestUid, GuestGid),
    /// An attribute; none for root.
    Attribute(Owner),
}

impl Gift {
    /// Returns the work for a file that this process, with `own_ids`, makes.
    pub(crate) fn new(owners: Owners, own_ids: (GuestUid, GuestGid), meta: &Meta) -> Self {
        let ids = (GuestUid::new(meta.uid), GuestGid::new(meta.gid));
        match owners {
            Owners::Real if ids == own_ids => Self::Nothing,
            Owners::Real => Self::Disk(ids.0, ids.1),
            Owners::Recorded => Self::Attribute(Owner { uid: meta.uid, gid: meta.gid }),
        }
    }

    /// Does it for a regular file or folder.
    pub(crate) fn give(self, file: BorrowedFd<'_>) -> io::Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Attribute(owner) => mark(file, owner),
            Self::Disk(uid, gid) => {
                let change = |uid: Option<u32>, gid: Option<u32>| {
                    let ids = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
                    Ok(rustix::fs::fchown(file, ids.0, ids.1)?)
                };
                if give_on_disk(change, (uid, gid))? {
                    mark(file, Owner { uid: uid.raw(), gid: gid.raw() })?;
                }
                Ok(())
            }
        }
    }
}

/// Gives a file to its owner with `change`. An id that does not exist here is replaced. Returns whether
/// one was.
pub(super) fn give_on_disk(
    change: impl Fn(Option<u32>, Option<u32>) -> io::Result<()>,
    (uid, gid): (GuestUid, GuestGid),
) -> io::Result<bool> {
    let (uid, gid) = (uid.raw(), gid.raw());
    let is_unknown = |result: &io::Result<()>| {
        result.as_ref().is_err_and(|error| Errno::from_io_error(error) == Some(Errno::INVAL))
    };
    let given = change(Some(uid), Some(gid));
    if !is_unknown(&given) {
        return given.map(|()| false);
    }
    let set = |id: u32, change: &dyn Fn(u32) -> io::Result<()>| {
        [id, STAND_IN, 0].into_iter().map(change).find(|given| !is_unknown(given)).unwrap_or(Ok(()))
    };
    set(uid, &|uid| change(Some(uid), None))?;
    set(gid, &|gid| change(None, Some(gid)))?;
    Ok(true)
}

/// Gives a folder its metadata. `ids` are those of this process.
pub fn dress_folder(
    root: &Root,
    path: &[u8],
    meta: &Meta,
    owners: Owners,
    ids: (GuestUid, GuestGid),
) -> io::Result<()> {
    let folder = root.openat(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    Gift::new(owners, ids, meta).give(folder.as_fd())?;
    set_mode(folder.as_fd(), meta)?;
    Ok(rustix::fs::futimens(&folder, &timestamps(meta.mtime))?)
}
