//! The extended attributes that a layer carries, of open files.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, XattrFlags};
use rustix::io::Errno;
use xbuild_layer::Meta;
use xbuild_layer::attributes::{self, ACCESS, DEFAULT};
use xbuild_model::{device, owner};

use super::opened::xattr;

/// Bytes of an attribute from which on a file system that has room may still have none for it.
const LARGE: usize = 1 << 10;

/// Names and values, by name ascending.
pub(crate) type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// Returns the names of all attributes of an open file. A file system may have none.
pub(crate) fn attribute_names(fd: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    loop {
        // Nearly all files have none, so the size is asked for first.
        let size = match rustix::fs::flistxattr_query(fd) {
            Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            size => size?,
        };
        names.resize(size, 0);
        match rustix::fs::flistxattr(fd, &mut names[..]) {
            Ok(size) => break names.truncate(size),
            // There are more by now.
            Err(Errno::RANGE) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let names = names.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(<[u8]>::to_vec).collect())
}

/// Returns the attributes of an open file that a layer carries.
pub(crate) fn attributes(
    fd: BorrowedFd<'_>,
    is_carried: impl Fn(&[u8]) -> bool,
) -> io::Result<Attributes> {
    values(fd, attribute_names(fd)?.into_iter().filter(|name| is_carried(name)))
}

/// The marks on files of a folder that a command has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Whether overlayfs has marks there. Commands see and set none of them.
    pub(crate) overlay: bool,
    /// Whether owners are recorded there.
    pub(crate) owners: bool,
}

impl Marks {
    /// Returns whether an attribute is such a mark. That of a device is looked at elsewhere.
    fn have(self, name: &[u8]) -> bool {
        // An attribute that a command calls `user.overlay.x` has the prefix twice.
        let of_overlay = name
            .strip_prefix(b"user.overlay.")
            .is_some_and(|rest| self.overlay && !rest.starts_with(b"overlay."));
        let of_owner = self.owners && name == owner::ATTRIBUTE.as_bytes();
        of_overlay || of_owner || name == device::ATTRIBUTE.as_bytes()
    }
}

/// The attributes of a file that a command may have changed.
#[derive(Debug)]
pub(crate) struct Reduced {
    /// Those that a layer carries.
    pub(crate) kept: Attributes,
    /// Whether others were removed.
    pub(crate) is_less: bool,
}

/// Returns the attributes of an open file that a layer carries, and removes others that a command may
/// have set: later steps must see what the layer has.
pub(crate) fn reduce(
    fd: BorrowedFd<'_>,
    is_carried: impl Fn(&[u8]) -> bool,
    marks: Marks,
) -> io::Result<Reduced> {
    let (carried, others): (Vec<_>, Vec<_>) =
        attribute_names(fd)?.into_iter().partition(|name| is_carried(name));
    let may_be_set = |name: &&Vec<u8>| {
        (name.starts_with(b"user.") || name.starts_with(b"security.")) && !marks.have(name)
    };
    let mut is_less = false;
    for name in others.iter().filter(may_be_set) {
        is_less |= match remove(fd, name) {
            Ok(()) => true,
            // Labels that the kernel gives stay; those that it lets a command set, it lets go.
            Err(_) if !name.starts_with(b"user.") => false,
            Err(error) => return Err(error),
        };
    }
    Ok(Reduced { kept: values(fd, carried)?, is_less })
}

/// Removes an attribute of an open file, if it is there.
pub(crate) fn remove(fd: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    match rustix::fs::fremovexattr(fd, name) {
        Ok(()) | Err(Errno::NODATA) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Returns the attributes with these names, as a layer has them.
fn values(fd: BorrowedFd<'_>, names: impl IntoIterator<Item = Vec<u8>>) -> io::Result<Attributes> {
    let mut found = Attributes::new();
    for name in names {
        if let Some(value) = xattr(fd, &name[..])? {
            found.push((name, value));
        }
    }
    found.sort_unstable();
    Ok(attributes::kept(&found))
}

/// Sets the attributes and the mode of an open file. Where the access list cannot be set, the group
/// gets no more than the list allows it.
pub(crate) fn set_mode(file: BorrowedFd<'_>, meta: &Meta) -> io::Result<()> {
    let mode = match set_attributes(file, &meta.xattrs)? {
        true => meta.mode,
        false => attributes::narrowed(meta.mode, &meta.xattrs),
    };
    // Afterwards, since setting an access list may clear set-id bits.
    Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode & 0o7777))?)
}

/// Sets the attributes of an open file that a layer carries. Returns whether its access lists, if
/// it has some, could be set: the file system may have none, or the user namespace may not have the
/// owners in them. Other attributes are left out where the file system has none.
///
/// **Errors** — one that names the attribute if there is no room for it.
fn set_attributes(fd: BorrowedFd<'_>, xattrs: &[(Vec<u8>, Vec<u8>)]) -> io::Result<bool> {
    let mut has_lists = true;
    for (name, value) in attributes::kept(xattrs) {
        let is_list = name == ACCESS || name == DEFAULT;
        match rustix::fs::fsetxattr(fd, &name[..], &value, XattrFlags::empty()) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::ACCESS | Errno::PERM | Errno::OPNOTSUPP) if is_list => {
                has_lists = false;
            }
            Err(Errno::PERM | Errno::OPNOTSUPP) => {}
            Err(Errno::NOSPC | Errno::TOOBIG | Errno::RANGE) if value.len() >= LARGE => {
                let name = String::from_utf8_lossy(&name).into_owned();
                let size = value.len();
                return Err(io::Error::new(io::ErrorKind::InvalidData, NoRoom { name, size }));
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(has_lists)
}

/// A file system has no room for an attribute.
#[derive(Debug, thiserror::Error)]
#[error(
    "the file system of the store has no room for the extended attribute {name} of {size} bytes: \
     ext4 takes 4 KiB a file, xfs and btrfs take more"
)]
struct NoRoom {
    name: String,
    size: usize,
}
