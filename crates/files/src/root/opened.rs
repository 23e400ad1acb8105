//! Work on open files.

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;
use rustix::path;

use super::stat::{DirEntry, Stat};

/// The largest extended attribute that is read, in bytes. It is the kernel's own limit.
const MAX_XATTR: usize = 64 * 1024;

/// Reads an extended attribute of an open file.
pub(crate) fn xattr(
    fd: BorrowedFd<'_>,
    name: impl path::Arg + Copy,
) -> rustix::io::Result<Option<Vec<u8>>> {
    // Nearly all files have none, so the size is asked for first.
    let size = match rustix::fs::fgetxattr_query(fd, name) {
        Ok(size) => size.min(MAX_XATTR),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let mut value = vec![0; size];
    let got = rustix::fs::fgetxattr(fd, name, &mut value[..])?;
    value.truncate(got);
    Ok(Some(value))
}

/// Lists an open folder.
pub(super) fn list(fd: OwnedFd) -> rustix::io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    let mut buffer = Vec::with_capacity(32 * 1024);
    let mut raw = rustix::fs::RawDir::new(fd, buffer.spare_capacity_mut());
    while let Some(entry) = raw.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            let kind = entry.file_type();
            let maybe_dir = matches!(kind, FileType::Directory | FileType::Unknown);
            entries.push(DirEntry { name: name.to_vec(), maybe_dir });
        }
    }
    Ok(entries)
}

/// Sets the permission bits of the file that an `O_PATH` handle holds.
pub(super) fn chmod_handle(handle: BorrowedFd<'_>, mode: u32) -> rustix::io::Result<()> {
    if Stat::from(rustix::fs::fstat(handle)?).kind == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    // fchmod(2) refuses such handles, and fchmodat2(2) is too new. This link leads to the same
    // file.
    let link = format!("/proc/self/fd/{}", handle.as_raw_fd());
    rustix::fs::chmod(link, Mode::from_raw_mode(mode))
}
