//! Giving files the metadata of a layer.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{Gid, OFlags, Uid};
use rustix::io::Errno;
use xbuild_layer::Meta;
use xbuild_model::ids::{GuestGid, GuestUid};
use xbuild_model::owner::Owner;
use xbuild_model::records::Owners;

use crate::owners::mark;
use crate::root::{Root, set_mode, timestamps};

/// The work that gives a file to its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gift {
    /// None.
    Nothing,
    /// A change of the owner on disk.
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
                let ids = (Uid::from_raw(uid.raw()), Gid::from_raw(gid.raw()));
                rustix::fs::fchown(file, Some(ids.0), Some(ids.1))
                    .map_err(|errno| owner_fault(errno.into(), (uid, gid)))
            }
        }
    }
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

/// The owner of a file does not exist here.
#[derive(Debug, thiserror::Error)]
#[error("owner {uid}:{gid} does not exist in the user namespace: more subordinate ids are needed")]
struct NoSuchOwner {
    uid: GuestUid,
    gid: GuestGid,
}

/// Explains the error if the kernel refused an owner that the user namespace does not have.
pub(super) fn owner_fault(error: io::Error, (uid, gid): (GuestUid, GuestGid)) -> io::Error {
    if Errno::from_io_error(&error) == Some(Errno::INVAL) {
        return io::Error::new(io::ErrorKind::InvalidInput, NoSuchOwner { uid, gid });
    }
    error
}
