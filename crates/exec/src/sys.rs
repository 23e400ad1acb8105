//! The system calls that have no safe wrapper. Nothing else in this crate is `unsafe`.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use rustix::process::Pid;

// ---- Processes -----------------------------------------------------------------------------

/// The process that a call of [`fork`] returned in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fork {
    /// The new process.
    Child,
    /// The calling process; the new process has this id.
    Parent(Pid),
}

/// Splits the process in two.
///
/// To be called in a process of one thread only. Then nothing is forbidden to the child.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: the helper processes that call this never start a thread, so no lock can be held by
    // a thread that the child lacks.
    match unsafe { libc::fork() } {
        0 => Ok(Fork::Child),
        pid => child_of(pid).map(Fork::Parent),
    }
}

/// Gives every signal its default effect and lets every signal through.
pub(crate) fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: no handler is needed any more; the two signals that cannot be changed, and those
        // that the C library keeps for itself, are refused without effect.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // It cannot fail: the set is valid, and so is the way of changing it.
    let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
}

/// The signal that has come.
static SIGNAL: AtomicI32 = AtomicI32::new(libc::SIGTERM);

/// Ends this process by the signal that has come.
pub(crate) fn end_by_signal() -> ! {
    let signal = SIGNAL.load(Ordering::Acquire);
    die_of(signal);
    // A signal that the thread has blocked.
    std::process::exit(128 + signal)
}

fn die_of(signal: libc::c_int) {
    // SAFETY: all of these may be called in a signal handler. In one, the signal that is raised comes
    // when the handler returns.
    unsafe {
        if std::process::id() == 1 {
            libc::_exit(128 + signal);
        }
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// Makes SIGHUP, SIGINT and SIGTERM call `last_work` and then end this process, unless it was started
/// with these signals ignored. It ends by the signal, or with 128 and the number as its status if it
/// is the first of a pid namespace, which the kernel keeps such signals from. A second signal ends it
/// at once. Programs that it executes do not inherit this; processes that it forks have no last work.
///
/// If `last_work` returns `false`, the process goes on until [`end_by_signal`] is called.
///
/// `last_work` must be safe in a signal handler: it makes system calls only.
pub(crate) fn end_on_signals(last_work: fn() -> bool) {
    static WORK: OnceLock<(u32, fn() -> bool)> = OnceLock::new();
    static IS_ENDING: AtomicBool = AtomicBool::new(false);
    extern "C" fn end(signal: libc::c_int) {
        let own = std::process::id();
        if let Some((_, work)) = WORK.get().filter(|(owner, _)| *owner == own)
            && !IS_ENDING.swap(true, Ordering::AcqRel)
        {
            SIGNAL.store(signal, Ordering::Release);
            if !work() {
                return;
            }
        }
        die_of(signal);
    }
    if WORK.set((std::process::id(), last_work)).is_err() {
        return;
    }
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
        let handler = end as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: the handler calls only what may be called in one; no other handler is installed.
        unsafe {
            if libc::signal(signal, handler) == libc::SIG_IGN {
                libc::signal(signal, libc::SIG_IGN);
            }
        }
    }
}

/// Makes the kernel reap children by itself: nobody asks for their exit status.
pub(crate) fn ignore_children() {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Makes children wait to be reaped again.
pub(crate) fn watch_children() {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Marks every descriptor from 3 on to be closed when another program is executed.
pub(crate) fn close_all_on_exec() -> io::Result<()> {
    close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes every descriptor from 3 on that is not in `keep`.
///
/// Only for a forked process that ends without dropping the descriptors it inherited.
pub(crate) fn close_all_but(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let numbers = keep.iter().filter_map(|fd| libc::c_uint::try_from(fd.as_raw_fd()).ok());
    let mut kept: Vec<libc::c_uint> = numbers.filter(|fd| *fd >= 3).collect();
    kept.sort_unstable();
    kept.dedup();
    let mut first: libc::c_uint = 3;
    for fd in kept {
        if first < fd {
            close_range(first, fd - 1, 0)?;
        }
        first = fd + 1;
    }
    close_range(first, libc::c_uint::MAX, 0)
}

/// Closes descriptors, or marks them with `CLOSE_RANGE_CLOEXEC`. Linux before 5.9 lacks the call,
/// 5.9 and 5.10 the flag, and a sandbox may refuse both; then it is done one by one.
fn close_range(first: libc::c_uint, last: libc::c_uint, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: the callers make sure that nobody uses the closed descriptors any more.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if done == 0 { Ok(()) } else { close_listed(first, last, flags) }
}

fn close_listed(first: libc::c_uint, last: libc::c_uint, flags: libc::c_uint) -> io::Result<()> {
    let listed = || -> io::Result<Vec<libc::c_int>> {
        // Collected first, since the list has a descriptor, too, which is closed by the time of use.
        let names = std::fs::read_dir("/proc/self/fd")?.map(|entry| Ok(entry?.file_name()));
        let names: Vec<std::ffi::OsString> = names.collect::<io::Result<_>>()?;
        Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
    };
    // Without /proc all numbers that this process could have given out are tried.
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let most = most.unwrap_or(u64::MAX).min(1 << 20) as libc::c_int;
    let numbers = listed().unwrap_or_else(|_| (0..most).collect());
    for fd in numbers.into_iter().filter(|fd| (first..=last).contains(&fd.cast_unsigned())) {
        // SAFETY: as above; a number that is not open any more fails without effect.
        unsafe {
            match flags {
                0 => libc::close(fd),
                _ => libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC),
            };
        }
    }
    Ok(())
}

/// Ends the process at once, without the functions that Rust or the C library would still call.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: always sound; nothing of this process is used any more.
    unsafe { libc::_exit(status) }
}

/// Makes `uname` name the 32-bit sibling of the machine's architecture, for this process and all
/// that it starts.
pub(crate) fn become_32_bit() -> io::Result<()> {
    /// `PER_LINUX32` of the kernel.
    const LINUX32: libc::c_ulong = 8;
    // SAFETY: nothing but the answers of `uname` depends on it.
    let former = unsafe { libc::personality(LINUX32) };
    if former >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

// ---- Mounts and interfaces -----------------------------------------------------------------

/// Sets attributes (`MOUNT_ATTR_*`) of a mount, and of all below it if `recursive`.
pub(crate) fn set_mount_attributes(
    mount: impl AsFd,
    attributes: u64,
    recursive: bool,
) -> io::Result<()> {
    let attr = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty text that ends in NUL, the structure is of the size given.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &attr,
            size_of::<libc::mount_attr>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Keeps the contents of a file in memory from being swapped out, as long as this process lives.
pub(crate) fn lock_in_memory(file: impl AsFd, length: usize) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: a new mapping, at a place that the kernel chooses; nobody reads or writes through it.
    unsafe {
        let map =
            libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, fd, 0);
        if map == libc::MAP_FAILED || libc::mlock(map, length) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Switches the loopback interface of the current network namespace on.
pub(crate) fn loopback_up() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: `ifreq` is plain data for which all zeroes is a value; the name "lo" fits with its
    // NUL; the request reads this structure only.
    let done = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

// ---- Seccomp, emulators, probing -----------------------------------------------------------

/// Puts the calling thread under a filter program. Does not allocate.
pub(crate) fn set_seccomp_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let len =
        u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel only reads `program` and the `len` instructions that it points to, and
    // both live until the call returns.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Puts the calling thread under a filter program whose calls for a supervisor arrive at the
/// returned descriptor, which is closed when another program is executed.
pub(crate) fn set_supervised_filter(program: &[libc::sock_filter]) -> io::Result<OwnedFd> {
    let len =
        u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // A signal must not restart a call that the supervisor works on: it might be done already.
    // Kernels before 5.19 do not know the flag.
    let steady = listener | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let install = |flags: libc::c_ulong| {
        // SAFETY: as above; the result is a new descriptor that nobody else owns.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const program,
            )
        };
        let fd = libc::c_int::try_from(result).unwrap_or(-1);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: see above.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    match install(steady) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => install(listener),
        installed => installed,
    }
}

/// Makes the supervisor and the caller of a call take turns on one processor, which makes an answer
/// several times as fast.
///
/// **Errors** — `EINVAL` before Linux 6.6.
pub(crate) fn take_turns(listener: impl AsFd) -> io::Result<()> {
    /// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` and the request that sets it.
    const SYNC: libc::c_ulong = 1;
    const SET_FLAGS: libc::c_ulong = 0x4008_2104;
    // SAFETY: the request takes a number.
    let done = unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), SET_FLAGS as _, SYNC) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes the next call from a listener that has one.
pub(crate) fn receive_notice(listener: impl AsFd) -> io::Result<libc::seccomp_notif> {
    // SAFETY: plain data for which all zeroes is a value, as the kernel demands; it writes no more
    // than this structure.
    unsafe {
        let mut notice: libc::seccomp_notif = std::mem::zeroed();
        let fd = listener.as_fd().as_raw_fd();
        match libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_RECV as _, &raw mut notice) {
            0 => Ok(notice),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Returns whether the caller of a notice still waits for the answer.
pub(crate) fn is_waiting(listener: impl AsFd, id: u64) -> bool {
    // SAFETY: the kernel reads the number only.
    let result = unsafe {
        let fd = listener.as_fd().as_raw_fd();
        libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_ID_VALID as _, &raw const id)
    };
    result == 0
}

/// Answers a notice: the call returns 0, or fails with an error number.
pub(crate) fn answer_notice(listener: impl AsFd, id: u64, errno: Option<i32>) -> io::Result<()> {
    let mut answer = libc::seccomp_notif_resp { id, val: 0, error: -errno.unwrap_or(0), flags: 0 };
    let fd = listener.as_fd().as_raw_fd();
    // SAFETY: the kernel reads this structure.
    let result = unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw mut answer) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets the kernel do the call of a notice.
pub(crate) fn continue_notice(listener: impl AsFd, id: u64) -> io::Result<()> {
    let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    send_answer(listener, libc::seccomp_notif_resp { id, val: 0, error: 0, flags })
}

/// Answers a notice: the call returns this number.
pub(crate) fn answer_notice_value(listener: impl AsFd, id: u64, val: i64) -> io::Result<()> {
    send_answer(listener, libc::seccomp_notif_resp { id, val, error: 0, flags: 0 })
}

fn send_answer(listener: impl AsFd, mut answer: libc::seccomp_notif_resp) -> io::Result<()> {
    let fd = listener.as_fd().as_raw_fd();
    // SAFETY: the kernel reads this structure.
    let result = unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw mut answer) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Answers a notice: the call returns a new descriptor of `file`.
pub(crate) fn give_notice_file(
    listener: impl AsFd,
    id: u64,
    file: impl AsFd,
    close_on_exec: bool,
) -> io::Result<()> {
    let mut request = libc::seccomp_notif_addfd {
        id,
        flags: libc::SECCOMP_ADDFD_FLAG_SEND as u32,
        srcfd: file.as_fd().as_raw_fd().cast_unsigned(),
        newfd: 0,
        newfd_flags: if close_on_exec { libc::O_CLOEXEC.cast_unsigned() } else { 0 },
    };
    let fd = listener.as_fd().as_raw_fd();
    let mut add = |flags: u32| {
        request.flags = flags;
        // SAFETY: the kernel reads this structure.
        let given =
            unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_ADDFD as _, &raw mut request) };
        if given >= 0 { Ok(given) } else { Err(io::Error::last_os_error()) }
    };
    match add(libc::SECCOMP_ADDFD_FLAG_SEND as u32) {
        Ok(_) => Ok(()),
        // Kernels before 5.14 cannot answer at the same time.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            let given = add(0)?;
            answer_notice_value(listener, id, given.into())
        }
        Err(error) => Err(error),
    }
}

/// Returns what the kernel writes for `fstatat`, in the form of programs of this machine.
pub(crate) fn stat_bytes(
    folder: impl AsFd,
    path: impl AsRef<OsStr>,
    flags: i32,
) -> io::Result<Vec<u8>> {
    let path = std::ffi::CString::new(path.as_ref().as_bytes())?;
    // SAFETY: plain data for which all zeroes is a value; the kernel writes no more than this
    // structure, all of whose bytes are initialised.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        let fd = folder.as_fd().as_raw_fd();
        match libc::fstatat(fd, path.as_ptr(), &raw mut stat, flags) {
            0 => Ok(bytes_of(&stat)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Returns what the kernel writes for `statx`.
pub(crate) fn statx_bytes(
    folder: impl AsFd,
    path: impl AsRef<OsStr>,
    flags: u32,
    mask: u32,
) -> io::Result<Vec<u8>> {
    let path = std::ffi::CString::new(path.as_ref().as_bytes())?;
    // SAFETY: as above.
    unsafe {
        let mut stat: libc::statx = std::mem::zeroed();
        let fd = folder.as_fd().as_raw_fd();
        match libc::statx(fd, path.as_ptr(), flags.cast_signed(), mask, &raw mut stat) {
            0 => Ok(bytes_of(&stat)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Returns the bytes of a structure.
///
/// # Safety
///
/// All of them must be initialised, also those between the fields.
unsafe fn bytes_of<T>(value: &T) -> Vec<u8> {
    let bytes = std::ptr::from_ref(value).cast::<u8>();
    // SAFETY: they belong to the value, and are initialised as the caller promises.
    unsafe { std::slice::from_raw_parts(bytes, size_of::<T>()) }.to_vec()
}

/// Forks a child that runs `child` and exits with what it returns.
///
/// The caller may have threads, of which the child has copies of their locks only. It may allocate,
/// since the C library keeps its memory usable over a fork, but must not wait for any other lock.
/// Nothing is unwound or dropped at its end.
pub(crate) fn fork_bare(child: impl FnOnce() -> i32) -> io::Result<Pid> {
    // SAFETY: the callers promise that the child waits for no lock, see above, and it never
    // returns into the caller's frames: it ends in `_exit`, which runs no destructors.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let status = child();
        // SAFETY: ends this process, which has nothing to clean up.
        unsafe { libc::_exit(status) }
    }
    child_of(pid)
}

/// Returns the child of the fork that returned `pid`, or why there is none.
fn child_of(pid: libc::pid_t) -> io::Result<Pid> {
    let error = io::Error::last_os_error();
    // A negative number is no id to make a `Pid` of.
    (pid > 0).then(|| Pid::from_raw(pid)).flatten().ok_or(error)
}

/// Becomes the program `path`, with arguments that are all the same and an empty environment.
/// Returns only on failure, with the reason. Does not allocate.
pub(crate) fn exec_bare<const N: usize>(path: &CStr, argv: [&CStr; N]) -> i32 {
    exec_from(libc::AT_FDCWD, path, argv, 0)
}

/// Becomes the program in an open file; see [`exec_bare`].
pub(crate) fn exec_file_bare<const N: usize>(file: BorrowedFd<'_>, argv: [&CStr; N]) -> i32 {
    exec_from(file.as_raw_fd(), c"", argv, libc::AT_EMPTY_PATH)
}

fn exec_from<const N: usize>(
    folder: libc::c_int,
    path: &CStr,
    argv: [&CStr; N],
    flags: libc::c_int,
) -> i32 {
    let mut pointers = [std::ptr::null(); 8];
    for (pointer, arg) in pointers.iter_mut().take(7).zip(argv) {
        *pointer = arg.as_ptr();
    }
    let environment = [std::ptr::null::<libc::c_char>()];
    // SAFETY: all strings are terminated and live until the call returns or the process is
    // replaced, and both lists end in a null pointer: `take(7)` leaves the eighth alone.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            folder,
            path.as_ptr(),
            pointers.as_ptr(),
            environment.as_ptr(),
            flags,
        )
    };
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}
