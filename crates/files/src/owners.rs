//! Owners of files that are recorded; see [`xbuild_model::owner`].

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{AtFlags, FileType, OFlags, StatxFlags, XattrFlags};
use rustix::io::Errno;
use xbuild_model::owner::{ATTRIBUTE, FileNumber, IdCounts, Owner, OwnersBelow};

use crate::root::{Root, Stat, xattr};

/// Where the owners of files are found.
#[derive(Debug)]
pub enum OwnerSource<'a> {
    /// The kernel tells them.
    Disk,
    /// Attributes and lists tell them.
    Recorded {
        /// Those of the files without attributes that a command made.
        made: &'a BTreeMap<FileNumber, Owner>,
        /// Those of the files without attributes in the layers below.
        below: HashMap<Vec<u8>, Owner>,
        /// The ids that the kernel knows; `None` if all owners but root are recorded.
        counts: Option<IdCounts>,
    },
}

/// The folders that a file is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Those that the command changed.
    Changed,
    /// Those of the layers below.
    Below,
}

impl<'a> OwnerSource<'a> {
    /// Returns the source of a command's changes; `below` is `None` where all owners are on disk.
    pub fn new(made: &'a BTreeMap<FileNumber, Owner>, below: Option<OwnersBelow>) -> Self {
        match below {
            None => Self::Disk,
            Some(OwnersBelow { special, counts, .. }) => {
                Self::Recorded { made, below: special.into_iter().collect(), counts }
            }
        }
    }

    /// Returns whether the kernel does not know all owners.
    pub(crate) fn is_recorded(&self) -> bool {
        matches!(self, Self::Recorded { .. })
    }

    /// Puts the owner of the file `name` of a folder into its facts. `path` is its path in the image.
    pub(crate) fn complete(
        &self,
        (folder, name): (&Root, &[u8]),
        path: &[u8],
        side: Side,
        stat: &mut Stat,
    ) -> io::Result<()> {
        let Self::Recorded { made, below, counts } = self else { return Ok(()) };
        let disk = Owner { uid: stat.uid, gid: stat.gid };
        let owner = match stat.kind {
            FileType::Directory => {
                let opened = folder.openat(name, OFlags::RDONLY | OFlags::DIRECTORY)?;
                recorded(opened.as_fd(), *counts, disk)?
            }
            FileType::RegularFile => recorded(folder.open_file(name)?.as_fd(), *counts, disk)?,
            _ => {
                // Where there is a range, a command may have put another file in the place.
                let fits =
                    |owner: &Owner| counts.is_none_or(|counts| counts.on_disk(*owner) == disk);
                let other = if counts.is_some() { disk } else { Owner::ROOT };
                let of_path = || below.get(path).copied().filter(fits).unwrap_or(other);
                match side {
                    Side::Below => of_path(),
                    Side::Changed => {
                        let made = made.get(&number(folder, name)?).copied();
                        made.filter(fits).unwrap_or_else(of_path)
                    }
                }
            }
        };
        (stat.uid, stat.gid) = (owner.uid, owner.gid);
        Ok(())
    }
}

/// Returns the owner of an open file that has the owner `disk` for the kernel, which knows the ids of
/// `counts`, or none.
///
/// Where there is a range, any user of a step may write the attribute if nobody watches it. So it counts
/// only if it names somebody whom the kernel does not know: nobody gains a right by that.
fn recorded(file: BorrowedFd<'_>, counts: Option<IdCounts>, disk: Owner) -> io::Result<Owner> {
    let Some(value) = xattr(file, ATTRIBUTE)? else {
        return Ok(if counts.is_some() { disk } else { Owner::ROOT });
    };
    match (Owner::parse(&value), counts) {
        (Some(owner), Some(counts)) if counts.have(owner) => Ok(disk),
        (Some(owner), _) => Ok(owner),
        (None, Some(_)) => Ok(disk),
        (None, None) => Err(io::Error::new(io::ErrorKind::InvalidData, BrokenOwner)),
    }
}

/// An attribute that xbuild cannot have written.
#[derive(Debug, thiserror::Error)]
#[error("the attribute {ATTRIBUTE} is not an owner")]
struct BrokenOwner;

/// Gives an open regular file or folder the attribute of its owner. Root's have none.
///
/// **Errors** — also if the file system has no attributes.
pub fn mark(file: BorrowedFd<'_>, owner: Owner) -> io::Result<()> {
    if owner == Owner::ROOT {
        return match rustix::fs::fremovexattr(file, ATTRIBUTE) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            Err(errno) => Err(errno.into()),
        };
    }
    let value = owner.to_string();
    match rustix::fs::fsetxattr(file, ATTRIBUTE, value.as_bytes(), XattrFlags::empty()) {
        Err(Errno::OPNOTSUPP) => {
            Err(io::Error::new(io::ErrorKind::Unsupported, NoAttributes { owner }))
        }
        set => Ok(set?),
    }
}

/// The file system cannot keep an owner.
#[derive(Debug, thiserror::Error)]
#[error(
    "owner {owner} cannot be kept: the user namespace lacks it, so it is an extended attribute, and \
     the file system of the store has none for users; put the store on another one with --root, or \
     give the user more subordinate ids"
)]
struct NoAttributes {
    owner: Owner,
}

/// Returns the number of a file.
fn number(folder: &Root, name: &[u8]) -> io::Result<FileNumber> {
    let mask = StatxFlags::INO | StatxFlags::BTIME;
    match rustix::fs::statx(folder, name, AtFlags::SYMLINK_NOFOLLOW, mask) {
        Ok(found) => {
            let known = StatxFlags::from_bits_retain(found.stx_mask);
            let birth = (found.stx_btime.tv_sec, found.stx_btime.tv_nsec);
            let birth = known.contains(StatxFlags::BTIME).then_some(birth);
            Ok(FileNumber { inode: found.stx_ino, birth })
        }
        // An old kernel, or a filter of system calls.
        Err(Errno::NOSYS | Errno::PERM) => {
            Ok(FileNumber { inode: folder.stat(name)?.ino, birth: None })
        }
        Err(errno) => Err(errno.into()),
    }
}
