//! Calls that a step's supervisor answers, and the answers.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use xbuild_model::device::{Device, DeviceKind};

use super::policy;
use crate::sys;

/// A call that waits for its answer.
#[derive(Debug)]
pub(crate) struct Notice {
    id: u64,
    /// The calling thread, as numbered in the pid namespace of whoever received the notice.
    pub thread: u32,
    /// What is asked for; `None` if that is nothing that the filter should have passed on.
    pub call: Option<Mknod>,
}

/// A call of `mknod` or `mknodat` for a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mknod {
    /// The descriptor of the folder that a relative path starts from, `None` for the working
    /// directory.
    pub folder: Option<i32>,
    /// Where the path is in the caller's memory.
    pub path: u64,
    /// The permission bits, before the umask.
    pub mode: u32,
    /// The device.
    pub device: Device,
}

/// Receives the next call from a listener that has one. `None` if the caller is gone again.
pub(crate) fn receive(listener: &OwnedFd) -> io::Result<Option<Notice>> {
    match sys::receive_notice(listener) {
        Ok(notice) => {
            let data = notice.data;
            let call = policy::name(data.arch, data.nr.cast_unsigned())
                .and_then(|name| Mknod::read(name, data.args));
            Ok(Some(Notice { id: notice.id, thread: notice.pid, call }))
        }
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Notice {
    /// Returns whether the caller still waits: what was read of it before this is its own.
    pub fn is_waiting(&self, listener: impl AsFd) -> bool {
        sys::is_waiting(listener, self.id)
    }

    /// Has the call return 0, or fail. A caller that is gone needs no answer.
    pub fn answer(&self, listener: impl AsFd, errno: Option<i32>) -> io::Result<()> {
        match sys::answer_notice(listener, self.id, errno) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            result => result,
        }
    }
}

impl Mknod {
    fn read(name: &str, args: [u64; 6]) -> Option<Self> {
        // The kernel takes all but the path as 32-bit integers, whatever is above.
        let low = |index: usize| args[index] as u32;
        let (folder, at) = match name {
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
        Some(Self {
            folder: (folder != libc::AT_FDCWD).then_some(folder),
            path: args[at],
            mode: mode & 0o7777,
            device: Device::from_number(kind, low(at + 2)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_as_the_kernel_does() {
        let garbage = 0xdead_beef_0000_0000u64;
        let (path, mode) = (0x7fff_1234_5678, garbage | 0o020_666);
        let expected = |folder| Mknod {
            folder,
            path,
            mode: 0o666,
            device: Device { kind: DeviceKind::Char, major: 1, minor: 3 },
        };
        let number = garbage | 0x103;
        assert_eq!(Mknod::read("mknod", [path, mode, number, 9, 9, 9]), Some(expected(None)));
        let at = |folder: i32| {
            let folder = garbage | u64::from(folder.cast_unsigned());
            Mknod::read("mknodat", [folder, path, mode, number, 9, 9])
        };
        assert_eq!(at(libc::AT_FDCWD), Some(expected(None)));
        assert_eq!(at(5), Some(expected(Some(5))));
        assert_eq!(at(-1), Some(expected(Some(-1))));
        assert_eq!(Mknod::read("mknod", [path, 0o100_644, 0, 0, 0, 0]), None);
        assert_eq!(Mknod::read("open", [path, mode, number, 0, 0, 0]), None);
    }
}
