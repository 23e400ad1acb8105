//! The requests of `ptrace(2)` that have no safe wrapper with every signal and any register set.
#![allow(unsafe_code)]

use std::io;

use rustix::process::Pid;

/// How a stopped thread goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Go {
    /// To its next event.
    On,
    /// To the next beginning or end of a system call, or to an event before it.
    ToCall,
    /// Nowhere: a thread that job control has stopped waits for its next signal.
    Listen,
}

fn request(request: libc::c_uint, thread: Pid, address: usize, data: usize) -> io::Result<()> {
    // SAFETY: the callers pass numbers, or the address of a value that lives until the call
    // returns and is of the size that the request names.
    let done = unsafe { libc::ptrace(request as _, thread.as_raw_nonzero().get(), address, data) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Becomes the tracer of a process, which goes on running.
pub(super) fn seize(process: Pid, options: libc::c_int) -> io::Result<()> {
    request(libc::PTRACE_SEIZE, process, 0, options as usize)
}

/// Lets a stopped thread go on, with a signal if that is not 0.
pub(super) fn resume(thread: Pid, go: Go, signal: i32) -> io::Result<()> {
    let how = match go {
        Go::On => libc::PTRACE_CONT,
        Go::ToCall => libc::PTRACE_SYSCALL,
        Go::Listen => libc::PTRACE_LISTEN,
    };
    request(how, thread, 0, signal as usize)
}

/// Returns the number that belongs to an event.
pub(super) fn event_message(thread: Pid) -> io::Result<u64> {
    let mut message: libc::c_ulong = 0;
    request(libc::PTRACE_GETEVENTMSG, thread, 0, &raw mut message as usize)?;
    Ok(message)
}

/// Returns the signals that a thread blocks, one bit each.
pub(super) fn signal_mask(thread: Pid) -> io::Result<u64> {
    const GET: libc::c_uint = 0x420a;
    let mut mask: u64 = 0;
    request(GET, thread, size_of::<u64>(), &raw mut mask as usize)?;
    Ok(mask)
}

/// Makes a thread block these signals.
pub(super) fn set_signal_mask(thread: Pid, mask: u64) -> io::Result<()> {
    const SET: libc::c_uint = 0x420b;
    request(SET, thread, size_of::<u64>(), &raw const mask as usize)
}

/// Returns a word of a thread's memory.
pub(super) fn peek(thread: Pid, address: usize) -> io::Result<usize> {
    let mut word: usize = 0;
    let (request, thread) = (libc::PTRACE_PEEKDATA, thread.as_raw_nonzero().get());
    // SAFETY: the kernel writes the word, which lives until the call returns. The C library's
    // wrapper would return it instead.
    let done = unsafe { libc::syscall(libc::SYS_ptrace, request, thread, address, &raw mut word) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(word) }
}

/// Changes a word of a thread's memory.
pub(super) fn poke(thread: Pid, address: usize, word: usize) -> io::Result<()> {
    request(libc::PTRACE_POKEDATA, thread, address, word)
}

/// Returns whether two threads have the same memory; also no if the kernel does not tell.
pub(super) fn share_memory(a: i32, b: i32) -> bool {
    const KCMP_VM: libc::c_int = 1;
    // SAFETY: the call takes numbers only.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, a, b, KCMP_VM, 0, 0) };
    order == 0
}

/// Returns the registers of a thread, in the form of 64-bit programs also for a 32-bit one.
#[cfg(target_arch = "x86_64")]
pub(super) fn registers(thread: Pid) -> io::Result<libc::user_regs_struct> {
    // SAFETY: plain data for which all zeroes is a value.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    request(libc::PTRACE_GETREGS, thread, 0, &raw mut registers as usize)?;
    Ok(registers)
}

/// Changes the registers of a thread.
#[cfg(target_arch = "x86_64")]
pub(super) fn set_registers(thread: Pid, registers: &libc::user_regs_struct) -> io::Result<()> {
    request(libc::PTRACE_SETREGS, thread, 0, std::ptr::from_ref(registers) as usize)
}

/// Reads a register set into `buffer` and returns how many bytes it has.
#[cfg(target_arch = "aarch64")]
pub(super) fn register_set(thread: Pid, set: i32, buffer: &mut [u8]) -> io::Result<usize> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    request(libc::PTRACE_GETREGSET, thread, set as usize, &raw mut part as usize)?;
    Ok(part.iov_len)
}

/// Changes a register set.
#[cfg(target_arch = "aarch64")]
pub(super) fn set_register_set(thread: Pid, set: i32, bytes: &[u8]) -> io::Result<()> {
    // The kernel only reads the bytes.
    let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    request(libc::PTRACE_SETREGSET, thread, set as usize, &raw const part as usize)
}
