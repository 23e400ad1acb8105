//! Facts about files with their owners.

use std::ffi::OsStr;
use std::mem::offset_of;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::CWD;
use rustix::io::Errno;
use xbuild_model::owner::Owner;

use super::book::Book;
use super::call::Shape;
use super::identity::Identities;
use super::spot::Named;
use super::thread::Thread;
use super::{memory, processes};
use crate::error::errno_of;
use crate::supervisor::reply::Reply;
use crate::sys;

/// Answers a call for a file that is not root's; the kernel does all others.
pub(super) fn answer(
    book: &Book,
    identities: Option<&Identities>,
    thread: &Thread<'_>,
    (file, shape): (&Named<'_>, Shape),
) -> Result<Reply, Errno> {
    let Ok(mut spot) = file.plain_spot() else { return Ok(Reply::Continue) };
    // The kernel has the answer about a process that is gone.
    let of_process = identities
        .and_then(|identities| processes::owner(identities, thread, &spot).ok().flatten());
    let mut owner = of_process.map_or_else(|| book.owner_at(&spot), Ok);
    if owner == Err(Errno::NOENT)
        && let Some(own) = spot.through_own(thread)
    {
        owner = book.owner_at(&own);
        spot = own;
    }
    let owner = match owner {
        Ok(Owner::ROOT) => return Ok(Reply::Continue),
        Ok(owner) => owner,
        // The kernel has the error of the caller's own call.
        Err(errno) if errno != Errno::IO => return Ok(Reply::Continue),
        Err(errno) => return Err(errno),
    };
    let flags = if spot.follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    let path = OsStr::from_bytes(spot.path.as_bytes());
    let (bytes, buffer) = match shape {
        Shape::Stat { buffer } => {
            let mut bytes = sys::stat_bytes(CWD, path, flags).map_err(errno_of)?;
            put(&mut bytes, offset_of!(libc::stat, st_uid), owner.uid);
            put(&mut bytes, offset_of!(libc::stat, st_gid), owner.gid);
            (bytes, buffer)
        }
        Shape::Stat64 { buffer } => {
            let mut bytes = sys::stat_bytes(CWD, path, flags).map_err(errno_of)?;
            put(&mut bytes, offset_of!(libc::stat, st_uid), owner.uid);
            put(&mut bytes, offset_of!(libc::stat, st_gid), owner.gid);
            (stat64(&bytes)?, buffer)
        }
        Shape::Statx { buffer, flags: asked, mask } => {
            let kept = asked & !(libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW).cast_unsigned();
            let flags = kept | flags.cast_unsigned();
            let mut bytes = sys::statx_bytes(CWD, path, flags, mask).map_err(errno_of)?;
            put(&mut bytes, offset_of!(libc::statx, stx_uid), owner.uid);
            put(&mut bytes, offset_of!(libc::statx, stx_gid), owner.gid);
            (bytes, buffer)
        }
    };
    memory::write(thread, buffer, &bytes)?;
    Ok(Reply::Returns(0))
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
}

/// Returns `struct stat64` of the machine's 32-bit sibling from the machine's own structure.
///
/// **Source** — `arch/x86/include/uapi/asm/stat.h` and `arch/arm/include/uapi/asm/stat.h`: Arm aligns
/// numbers of 8 bytes.
#[allow(clippy::unnecessary_cast, reason = "the integer types differ by architecture")]
fn stat64(own: &[u8]) -> Result<Vec<u8>, Errno> {
    let number = |at: usize, size: usize| {
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(&own[at..at + size]);
        u64::from_ne_bytes(bytes)
    };
    macro_rules! field {
        ($name:ident, $type:ty) => {
            number(offset_of!(libc::stat, $name), size_of::<$type>())
        };
    }
    let aligns = cfg!(target_arch = "aarch64");
    let mut bytes = Vec::with_capacity(104);
    let mut word = |value: u64| bytes.extend_from_slice(&(value as u32).to_ne_bytes());
    let inode = field!(st_ino, libc::ino_t);
    let (device, special) = (field!(st_dev, libc::dev_t), field!(st_rdev, libc::dev_t));
    let links = field!(st_nlink, libc::nlink_t);
    let (uid, gid) = (field!(st_uid, u32), field!(st_gid, u32));
    for value in [device, device >> 32, 0, inode, field!(st_mode, u32), links, uid, gid] {
        word(value);
    }
    [special, special >> 32, 0].into_iter().for_each(&mut word);
    if aligns {
        word(0);
    }
    let (size, blocks) = (field!(st_size, i64), field!(st_blocks, i64));
    [size, size >> 32, field!(st_blksize, libc::blksize_t)].into_iter().for_each(&mut word);
    if aligns {
        word(0);
    }
    [blocks, blocks >> 32].into_iter().for_each(&mut word);
    for value in [
        field!(st_atime, i64),
        field!(st_atime_nsec, i64),
        field!(st_mtime, i64),
        field!(st_mtime_nsec, i64),
        field!(st_ctime, i64),
        field!(st_ctime_nsec, i64),
        inode,
        inode >> 32,
    ] {
        word(value);
    }
    Ok(bytes)
}
