//! The caller of a system call: its place, its ids and its path argument.

use std::ffi::CString;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use caps::CapsHashSet;
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use xbuild_model::ids::{GuestGid, GuestUid};

use crate::capabilities;
use crate::error::errno_of;

/// The longest path with its NUL: the kernel's own limit.
const PATH_LIMIT: usize = 4096;

/// A path among the arguments of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PathArgument {
    /// The descriptor of the folder that a relative path starts from, `None` for the working
    /// directory.
    pub(super) folder: Option<i32>,
    /// The place of the path in the caller's memory.
    pub(super) address: u64,
}

/// A thread of the step, as it was when it made its call.
#[derive(Debug)]
pub(super) struct Caller {
    pub root: OwnedFd,
    /// The folder that a relative path starts from.
    pub start: OwnedFd,
    pub path: CString,
    pub umask: Mode,
    /// The user that it reaches for files as.
    pub uid: GuestUid,
    pub gid: GuestGid,
    pub groups: Vec<GuestGid>,
    pub capabilities: CapsHashSet,
}

impl Caller {
    /// Reads the state of the thread. Afterwards the caller must make sure that the call still waits:
    /// the thread's number may be another's by now.
    ///
    /// **Errors** — the error that the call fails with.
    pub fn read(proc: BorrowedFd<'_>, thread: u32, argument: &PathArgument) -> Result<Self, Errno> {
        let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let refused = |_| Errno::PERM;
        // From here on the descriptor stands for this thread, whatever happens to its number.
        let thread = open_thread(proc, thread).map_err(refused)?;
        let status = status(&thread)?;
        let memory = open_file(&thread, "mem").map_err(refused)?;
        let path = read_path(&memory, argument.address)?;
        let open = |name: &str| rustix::fs::openat(&thread, name, folder, Mode::empty());
        let start = match argument.folder {
            Some(number) if !path.as_bytes().starts_with(b"/") => open(&format!("fd/{number}"))
                .map_err(|errno| match errno {
                    Errno::NOENT => Errno::BADF,
                    errno => errno,
                })?,
            // An absolute path needs no folder.
            _ => open("cwd").map_err(refused)?,
        };
        let root = open("root").map_err(refused)?;
        let Status { umask, uid, gid, groups, capabilities, .. } = status;
        Ok(Self { root, start, path, umask, uid, gid, groups, capabilities })
    }
}

/// Opens the folder of a thread, or of a process, in `/proc`.
pub(super) fn open_thread(proc: BorrowedFd<'_>, number: u32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(proc, number.to_string(), flags, Mode::empty())
}

/// Reads the facts about a thread.
pub(super) fn status(thread: &OwnedFd) -> Result<Status, Errno> {
    let text = read(thread, "status").map_err(|_| Errno::PERM)?;
    Status::parse(&text).ok_or(Errno::PERM)
}

/// Returns the device and inode of a file.
#[allow(clippy::unnecessary_cast, reason = "the integer types differ by architecture")]
pub(super) fn id(stat: &rustix::fs::Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}

fn open_file(folder: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Reads a file of the folder of a thread.
pub(super) fn read(folder: &OwnedFd, name: &str) -> Result<String, Errno> {
    let mut text = Vec::new();
    File::from(open_file(folder, name)?).read_to_end(&mut text).map_err(errno_of)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Reads a path from a thread's memory, as the kernel reads those of calls.
pub(super) fn read_path(memory: &OwnedFd, address: u64) -> Result<CString, Errno> {
    let mut bytes = vec![0; PATH_LIMIT];
    let mut length = 0;
    while length < PATH_LIMIT {
        let at = address.checked_add(length as u64).ok_or(Errno::FAULT)?;
        // Reads up to the end of mapped memory.
        let read = retry_on_intr(|| rustix::io::pread(memory.as_fd(), &mut bytes[length..], at));
        let read = match read {
            Ok(0) | Err(_) => return Err(Errno::FAULT),
            Ok(read) => read,
        };
        let end = bytes[length..length + read].iter().position(|byte| *byte == 0);
        if let Some(end) = end {
            bytes.truncate(length + end);
            let path = CString::new(bytes).map_err(|_| Errno::FAULT)?;
            return if path.is_empty() { Err(Errno::NOENT) } else { Ok(path) };
        }
        length += read;
    }
    Err(Errno::NAMETOOLONG)
}

/// The facts of `/proc/PID/status`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Status {
    /// The number of its process.
    pub(super) process: u32,
    /// The same in the process's own pid namespace.
    pub(super) own_number: u32,
    /// The number of the thread there.
    pub(super) own_thread: u32,
    pub(super) umask: Mode,
    pub(super) uid: GuestUid,
    pub(super) gid: GuestGid,
    pub(super) groups: Vec<GuestGid>,
    pub(super) capabilities: CapsHashSet,
}

impl Status {
    /// **Source** — `proc_pid_status(5)`.
    fn parse(text: &str) -> Option<Self> {
        let field =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        // The fourth is the id for files, after real, effective and saved.
        let id = |name: &str| field(name)?.split('\t').nth(3)?.parse().ok();
        let groups = field("Groups")?.split_ascii_whitespace();
        let process = field("Tgid")?.trim().parse().ok()?;
        let thread = field("Pid")?.trim().parse().ok()?;
        // Kernels without pid namespaces have no such lines.
        let inner = |name: &str| field(name)?.split('\t').next_back()?.parse().ok();
        let bits = u64::from_str_radix(field("CapEff")?, 16).ok()?;
        Some(Self {
            process,
            own_number: inner("NStgid").unwrap_or(process),
            own_thread: inner("NSpid").unwrap_or(thread),
            umask: Mode::from_raw_mode(u32::from_str_radix(field("Umask")?, 8).ok()?),
            uid: GuestUid::new(id("Uid")?),
            gid: GuestGid::new(id("Gid")?),
            groups: groups.map(|gid| gid.parse().ok().map(GuestGid::new)).collect::<Option<_>>()?,
            capabilities: capabilities::from_bits(bits),
        })
    }
}

#[cfg(test)]
mod tests {
    use caps::Capability;

    use super::*;

    const STATUS: &str = "Name:\tsh\\nUid:\t9\t9\t9\t9\nTgid:\t70\nNStgid:\t70\t7\nPid:\t71\nNSpid:\t71\t8\nUmask:\t0027\nState:\tS (sleeping)\n\
        Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t10 20 \nCapEff:\t0000000008000001\n";

    #[test]
    fn status_is_read() {
        let capabilities = [Capability::CAP_CHOWN, Capability::CAP_MKNOD].into_iter().collect();
        let umask = Mode::from_raw_mode(0o027);
        let (uid, gid) = (GuestUid::new(4), GuestGid::new(8));
        let groups = vec![GuestGid::new(10), GuestGid::new(20)];
        let (process, own_number, own_thread) = (70, 7, 8);
        let expected =
            Status { process, own_number, own_thread, umask, uid, gid, groups, capabilities };
        assert_eq!(Status::parse(STATUS), Some(expected));
        assert!(Status::parse(&STATUS.replace("10 20 ", "")).unwrap().groups.is_empty());
        for name in ["Umask", "Uid", "Gid", "Groups", "CapEff"] {
            let without: Vec<&str> =
                STATUS.lines().filter(|line| !line.starts_with(name)).collect();
            assert_eq!(Status::parse(&without.join("\n")), None, "{name}");
        }
    }

    #[test]
    fn paths_are_read_from_memory() {
        let own = rustix::fs::open("/proc/self/mem", OFlags::RDONLY, Mode::empty()).unwrap();
        let read = |bytes: &[u8]| read_path(&own, bytes.as_ptr() as u64);
        assert_eq!(read(b"/d/null\0rest").as_deref(), Ok(c"/d/null"));
        assert_eq!(read(b"\0"), Err(Errno::NOENT));
        assert_eq!(read(&[b'a'; PATH_LIMIT]), Err(Errno::NAMETOOLONG));
        let longest = [[b'a'; PATH_LIMIT - 1].as_slice(), b"\0"].concat();
        assert_eq!(read(&longest).unwrap().as_bytes().len(), PATH_LIMIT - 1);
        assert_eq!(read_path(&own, 0), Err(Errno::FAULT));
        assert_eq!(read_path(&own, u64::MAX - 1), Err(Errno::FAULT));
    }
}
