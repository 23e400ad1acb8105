//! The system calls of the supervisor that no library has, or none that is sound here.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

/// Returns the soft and the hard limit of `RLIMIT_LOCKS` of a process.
pub(super) fn locks_limit(process: u32) -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes no more than this structure.
    let done = unsafe {
        let process = process.cast_signed();
        libc::prlimit64(process, libc::RLIMIT_LOCKS, std::ptr::null(), &raw mut limit)
    };
    if done == 0 { Ok((limit.rlim_cur, limit.rlim_max)) } else { Err(io::Error::last_os_error()) }
}

/// Sets both limits of `RLIMIT_LOCKS` of a process.
pub(super) fn set_locks_limit(process: u32, (soft, hard): (u64, u64)) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads this structure.
    let done = unsafe {
        let process = process.cast_signed();
        libc::prlimit64(process, libc::RLIMIT_LOCKS, &raw const limit, std::ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns the number of the process at the other end of a socket, as `SO_PEERCRED` tells it; 0 if this
/// process's pid namespace lacks it.
pub(super) fn peer(socket: impl AsFd) -> io::Result<i32> {
    let mut facts = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut size = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes no more than this structure.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut facts).cast(),
            &raw mut size,
        )
    };
    if done == 0 { Ok(facts.pid) } else { Err(io::Error::last_os_error()) }
}
