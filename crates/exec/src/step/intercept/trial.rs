//! Trying out whether this machine lets xbuild intercept `execve`.

use rustix::fd::OwnedFd;
use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal};

use super::memory;
use super::registers::Registers;
use super::stop::{self, Stop};
use super::sys::{self, Go};
use super::tracer;
use crate::error::errno_of;
use crate::seccomp::{self, Filter};

/// Stops a child at `execve` with this filter, and does to it what a step's tracer does: it reads
/// and changes registers and reads memory. To be called with the rights to install a filter, or with
/// `no_new_privs`, as a step would.
///
/// Only makes system calls, so a process that was forked from one with threads may call it. No child
/// is left.
pub(crate) fn attempt(filter: &Filter, no_new_privs: bool) -> Result<(), Errno> {
    let (start, started) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let child = crate::sys::fork_bare(|| {
        let wait = || rustix::io::read(&start, &mut [0; 1]);
        let install = || {
            (!no_new_privs || rustix::thread::set_no_new_privs(true).is_ok())
                && seccomp::install(filter).is_ok()
        };
        if retry_on_intr(wait) == Ok(1) && install() {
            crate::sys::exec_bare(c"/", [c"/"]);
        }
        1
    });
    let child = child.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
    let result = trace(child, &started);
    // It may have ended by itself; then it is a zombie until it is waited for.
    let _ = rustix::process::kill_process(child, Signal::KILL);
    while !matches!(stop::wait_for(child), Ok(Stop::Ended(_)) | Err(_)) {}
    result
}

fn trace(child: Pid, started: &OwnedFd) -> Result<(), Errno> {
    tracer::attach(child).map_err(errno_of)?;
    rustix::io::write(started, b"x")?;
    loop {
        match stop::wait_for(child)? {
            Stop::Event(libc::PTRACE_EVENT_SECCOMP, _) => break,
            // The filter was refused, or has no effect.
            Stop::Ended(_) => return Err(Errno::PERM),
            _ => sys::resume(child, Go::On, 0).map_err(errno_of)?,
        }
    }
    let registers = Registers::read(child).map_err(errno_of)?;
    registers.write(child).map_err(errno_of)?;
    let mask = sys::signal_mask(child).map_err(errno_of)?;
    sys::set_signal_mask(child, mask).map_err(errno_of)?;
    memory::read(child, registers.stack(), &mut [0; 8]).map(drop)
}
