//! The attribute of owners, which a step neither sees nor sets: a copy of it would give a copied file
//! the owner of the original.

use rustix::io::Errno;
use xbuild_model::owner::ATTRIBUTE;

use super::memory;
use super::spot::{Named, read_text};
use super::thread::Thread;
use crate::supervisor::reply::Reply;

/// Refuses to change the attribute.
pub(super) fn guard(thread: &Thread<'_>, name: u64) -> Result<Reply, Errno> {
    match read_text(thread, name) {
        Ok(name) if name == ATTRIBUTE.as_bytes() => Err(Errno::PERM),
        _ => Ok(Reply::Continue),
    }
}

/// Lists the attributes without it.
pub(super) fn list(
    thread: &Thread<'_>,
    file: &Named<'_>,
    (buffer, size): (u64, u64),
) -> Result<Reply, Errno> {
    let Ok(spot) = file.spot() else { return Ok(Reply::Continue) };
    let read = |names: &mut [u8]| match spot.follow {
        true => rustix::fs::listxattr(&*spot.path, names),
        false => rustix::fs::llistxattr(&*spot.path, names),
    };
    // The kernel's own limit.
    let mut names = vec![0; 1 << 16];
    let Ok(length) = read(&mut names) else { return Ok(Reply::Continue) };
    names.truncate(length);
    let is_other = |name: &&[u8]| *name != [ATTRIBUTE.as_bytes(), b"\0"].concat();
    let kept: Vec<&[u8]> = names.split_inclusive(|byte| *byte == 0).filter(is_other).collect();
    let kept = kept.concat();
    if kept.len() == length {
        return Ok(Reply::Continue);
    }
    let count = u32::try_from(kept.len()).map_err(|_| Errno::TOOBIG)?;
    if size > 0 {
        if size < u64::from(count) {
            return Err(Errno::RANGE);
        }
        memory::write(thread, buffer, &kept)?;
    }
    Ok(Reply::Returns(count))
}
