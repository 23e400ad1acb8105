//! `mknod` of a device, which no user namespace can have.
//!
//! An empty regular file with an attribute ([`xbuild_model::device`]) stands in for the device, and
//! the step's records name it.

use std::collections::HashSet;

use caps::Capability;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags, XattrFlags};
use rustix::io::Errno;
use xbuild_model::device::{self, Device, DeviceKind};
use xbuild_model::records::Records;

use crate::seccomp::notice::Call;
use crate::supervisor::caller::{Caller, PathArgument};
use crate::supervisor::guise::Guise;

/// The most different devices that one step may make. `MAKEDEV` makes some hundreds; this many take
/// a few MiB in memory and on their way to the main process.
const DEVICE_LIMIT: usize = 1 << 16;

/// A call of `mknod` or `mknodat` for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mknod {
    pub(super) path: PathArgument,
    /// The permission bits, before the umask.
    mode: u32,
    device: Device,
}

impl Mknod {
    /// Reads the arguments; `None` for any other call.
    pub(super) fn read(call: &Call) -> Option<Self> {
        // The kernel takes all but the path as 32-bit integers, whatever is above.
        let low = |index: usize| call.args[index] as u32;
        let (folder, at) = match call.name {
            "mknod" => (libc::AT_FDCWD, 0),
            "mknodat" => (low(0).cast_signed(), 1),
            _ => return None,
        };
        let mode = low(at + 1);
        let kind = match mode & libc::S_IFMT {
            libc::S_IFCHR => DeviceKind::Char,
            libc::S_IFBLK => DeviceKind::Block,
            _ => return None,
        };
        let folder = (folder != libc::AT_FDCWD).then_some(folder);
        Some(Self {
            path: PathArgument { folder, address: call.args[at] },
            mode: mode & 0o7777,
            device: Device::from_number(kind, low(at + 2)),
        })
    }

    /// Makes the stand-in, in the guise of the caller. There are none on `foreign` mounts.
    pub(super) fn perform(
        &self,
        caller: &Caller,
        guise: &Guise,
        foreign: &HashSet<u64>,
        records: &mut Records,
    ) -> Result<(), Errno> {
        let kind = match self.device.kind {
            DeviceKind::Char => FileType::CharacterDevice,
            DeviceKind::Block => FileType::BlockDevice,
        };
        let number = rustix::fs::makedev(self.device.major, self.device.minor);
        let mode = Mode::from_raw_mode(self.mode);
        // The kernel reports every other error before it refuses the device as such.
        match rustix::fs::mknodat(CWD, &*caller.path, kind, mode, number) {
            Err(Errno::PERM) if caller.capabilities.contains(&Capability::CAP_MKNOD) => {}
            result => return result,
        }
        if records.devices.len() == DEVICE_LIMIT && !records.devices.contains(&self.device) {
            return Err(Errno::NOSPC);
        }
        records.devices.insert(self.device);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, &*caller.path, flags, mode)?;
        // The owner of a device need not be allowed to write to it; this file is its own.
        guise.regain_rights()?;
        let value = self.device.to_string();
        let mount = rustix::fs::statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
        let marked = match mount {
            Ok(stat) if foreign.contains(&stat.stx_mnt_id) => Err(Errno::PERM),
            _ => rustix::fs::fsetxattr(
                &file,
                device::ATTRIBUTE,
                value.as_bytes(),
                XattrFlags::empty(),
            ),
        };
        guise.limit_rights(caller)?;
        marked.map_err(|_| {
            // A file system that cannot tell it from an empty file: the call must not look like a
            // success. If the name is another file's by now, the caller may remove that, too.
            let _ = rustix::fs::unlink(&*caller.path);
            Errno::PERM
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &'static str, args: [u64; 6]) -> Option<Mknod> {
        Mknod::read(&Call { name, args, is_compat: false })
    }

    #[test]
    fn arguments_are_read_as_the_kernel_does() {
        let garbage = 0xdead_beef_0000_0000u64;
        let (address, mode) = (0x7fff_1234_5678, garbage | 0o020_666);
        let expected = |folder| Mknod {
            path: PathArgument { folder, address },
            mode: 0o666,
            device: Device { kind: DeviceKind::Char, major: 1, minor: 3 },
        };
        let number = garbage | 0x103;
        assert_eq!(read("mknod", [address, mode, number, 9, 9, 9]), Some(expected(None)));
        let at = |folder: i32| {
            let folder = garbage | u64::from(folder.cast_unsigned());
            read("mknodat", [folder, address, mode, number, 9, 9])
        };
        assert_eq!(at(libc::AT_FDCWD), Some(expected(None)));
        assert_eq!(at(5), Some(expected(Some(5))));
        assert_eq!(at(-1), Some(expected(Some(-1))));
        assert_eq!(read("mknod", [address, 0o100_644, 0, 0, 0, 0]), None);
        assert_eq!(read("open", [address, mode, number, 0, 0, 0]), None);
    }
}
