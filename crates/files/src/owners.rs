//! Owners of files where there is one id; see [`xbuild_model::owner`].

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{AtFlags, FileType, OFlags, StatxFlags, XattrFlags};
use rustix::io::Errno;
use xbuild_model::owner::{ATTRIBUTE, FileNumber, Owner, OwnersBelow};

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
    /// Returns the source of a command's changes; `below` is `None` where owners are on disk.
    pub fn new(made: &'a BTreeMap<FileNumber, Owner>, below: Option<OwnersBelow>) -> Self {
        match below {
            None => Self::Disk,
            Some(below) => Self::Recorded { made, below: below.special.into_iter().collect() },
        }
    }

    /// Returns whether the kernel does not know the owners.
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
        let Self::Recorded { made, below } = self else { return Ok(()) };
        let owner = match stat.kind {
            FileType::Directory => {
                let opened = folder.openat(name, OFlags::RDONLY | OFlags::DIRECTORY)?;
                owner_of(opened.as_fd())?
            }
            FileType::RegularFile => owner_of(folder.open_file(name)?.as_fd())?,
            _ => {
                let of_path = || below.get(path).copied().unwrap_or_default();
                match side {
                    Side::Below => of_path(),
                    Side::Changed => {
                        made.get(&number(folder, name)?).copied().unwrap_or_else(of_path)
                    }
                }
            }
        };
        (stat.uid, stat.gid) = (owner.uid, owner.gid);
        Ok(())
    }
}

/// Returns the owner that an open file's attribute names; root without one.
pub(crate) fn owner_of(file: BorrowedFd<'_>) -> io::Result<Owner> {
    let Some(value) = xattr(file, ATTRIBUTE)? else { return Ok(Owner::ROOT) };
    let broken = || io::Error::new(io::ErrorKind::InvalidData, BrokenOwner);
    Owner::parse(&value).ok_or_else(broken)
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
    "owner {owner} cannot be kept: with a single id it is an extended attribute, and the file \
     system of the store has none for users; put the store on another one with --root, or give \
     the user subordinate ids"
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
