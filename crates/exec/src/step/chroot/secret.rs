//! Secrets as files that are never on a disk.
//!
//! A place holder of the same size, mode and owner, without contents, is at the target. The supervisor
//! gives whoever opens it a file in memory instead.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{Gid, MemfdFlags, Mode, OFlags, SealFlags, Uid};
use rustix::io::Errno;
use xbuild_model::run::SecretBytes;

use super::cover::Covers;
use crate::error::errno_of;
use crate::step::userns::mounts::make_file;
use crate::step::walk;
use crate::sys;

/// A place holder in the room.
pub(super) struct Holder {
    pub(super) name: String,
    /// Its device and inode.
    pub(super) id: (u64, u64),
}

/// Makes the place holder of a secret.
pub(super) fn hold(
    covers: &mut Covers,
    contents: &SecretBytes,
    mode: u32,
    (uid, gid): (u32, u32),
) -> Result<Holder, Errno> {
    let name = covers.fresh();
    let file = make_file(&covers.room, &name, 0o600)?;
    rustix::fs::ftruncate(&file, contents.0.len() as u64)?;
    rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o777))?;
    let id = walk::id(&rustix::fs::fstat(&file)?);
    Ok(Holder { name, id })
}

/// Puts a secret into memory that is not swapped out, if this process may have so much of it.
pub(super) fn in_memory(
    contents: &SecretBytes,
    tell: &mut dyn FnMut(String),
) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(rustix::fs::memfd_create("secret", flags)?);
    file.write_all(&contents.0).map_err(errno_of)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    // The step's user need not own it.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o444))?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    if sys::lock_in_memory(&file, contents.0.len()).is_err() {
        tell(
            "secrets are in memory that may be swapped to disk: the limit of locked memory \
             (ulimit -l) is too low"
                .to_owned(),
        );
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::io::Seek as _;

    use super::*;

    #[test]
    fn a_secret_cannot_be_changed() {
        let mut file = File::from(in_memory(&SecretBytes(b"abc".to_vec()), &mut drop).unwrap());
        assert!(file.write_all(b"x").is_err());
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abc");
    }
}
