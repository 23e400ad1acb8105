//! The memory of a stopped thread.
//!
//! A tracer with as many rights as the thread reads and writes many bytes at once. Without
//! `CAP_SYS_PTRACE`, as in a container with Docker's capabilities, the kernel refuses that for a
//! process that became another user's. It still lets the tracer have single words, unless the
//! process is closed to others (`PR_SET_DUMPABLE`), which a change of its user does.

use std::io::{IoSlice, IoSliceMut};

use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use rustix::io::Errno;
use rustix::process::Pid;

use super::sys;

/// The smallest unit that memory is mapped in.
pub(super) const PAGE: u64 = 4096;

const WORD: usize = size_of::<usize>();

fn pid(thread: Pid) -> nix::unistd::Pid {
    nix::unistd::Pid::from_raw(thread.as_raw_nonzero().get())
}

/// Returns whether the error means that words are the only way.
fn is_refusal(errno: nix::errno::Errno) -> bool {
    matches!(errno, nix::errno::Errno::EPERM | nix::errno::Errno::ENOSYS)
}

/// Reads up to the length of the buffer; less if memory ends before.
pub(super) fn read(thread: Pid, address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    let base = usize::try_from(address).map_err(|_| Errno::FAULT)?;
    let remote = [RemoteIoVec { base, len: buffer.len() }];
    match process_vm_readv(pid(thread), &mut [IoSliceMut::new(buffer)], &remote) {
        Err(errno) if is_refusal(errno) => read_words(thread, base, buffer),
        read => read.map_err(|errno| Errno::from_raw_os_error(errno as i32)),
    }
}

fn read_words(thread: Pid, base: usize, buffer: &mut [u8]) -> Result<usize, Errno> {
    for (number, part) in buffer.chunks_mut(WORD).enumerate() {
        match word_of(thread, base.wrapping_add(number * WORD), part.len()) {
            Ok(bytes) => part.copy_from_slice(&bytes[..part.len()]),
            Err(errno) if number == 0 => return Err(errno),
            Err(_) => return Ok(number * WORD),
        }
    }
    Ok(buffer.len())
}

/// Returns a word of which `length` bytes count: those behind them may not be mapped.
fn word_of(thread: Pid, address: usize, length: usize) -> Result<[u8; WORD], Errno> {
    let failed = |error: std::io::Error| match Errno::from_io_error(&error) {
        Some(Errno::SRCH) => Errno::SRCH,
        _ => Errno::FAULT,
    };
    // A word within one that is aligned never lies across the end of a page.
    let last = address.wrapping_add(length - 1);
    if address / WORD == last / WORD {
        let skipped = address % WORD;
        let word = sys::peek(thread, address - skipped).map_err(failed)?.to_ne_bytes();
        let mut bytes = [0; WORD];
        bytes[..WORD - skipped].copy_from_slice(&word[skipped..]);
        return Ok(bytes);
    }
    sys::peek(thread, address).map(usize::to_ne_bytes).map_err(failed)
}

/// Writes all bytes.
pub(super) fn write(thread: Pid, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    let base = usize::try_from(address).map_err(|_| Errno::FAULT)?;
    let remote = [RemoteIoVec { base, len: bytes.len() }];
    match process_vm_writev(pid(thread), &[IoSlice::new(bytes)], &remote) {
        Ok(done) if done == bytes.len() => Ok(()),
        Ok(_) => Err(Errno::FAULT),
        Err(errno) if is_refusal(errno) => write_words(thread, base, bytes),
        Err(errno) => Err(Errno::from_raw_os_error(errno as i32)),
    }
}

fn write_words(thread: Pid, base: usize, bytes: &[u8]) -> Result<(), Errno> {
    let failed = |_| Errno::FAULT;
    for (number, part) in bytes.chunks(WORD).enumerate() {
        let address = base.wrapping_add(number * WORD);
        let mut word = [0; WORD];
        if part.len() < WORD {
            word = sys::peek(thread, address).map_err(failed)?.to_ne_bytes();
        }
        word[..part.len()].copy_from_slice(part);
        sys::poke(thread, address, usize::from_ne_bytes(word)).map_err(failed)?;
    }
    Ok(())
}

/// Reads a text that ends in NUL, without that.
pub(super) fn read_text(thread: Pid, address: u64, limit: usize) -> Result<Vec<u8>, Errno> {
    let mut text = Vec::new();
    while text.len() < limit {
        let at = address.checked_add(text.len() as u64).ok_or(Errno::FAULT)?;
        // The next page may not be mapped.
        let part = (PAGE - at % PAGE).min((limit - text.len()) as u64);
        let mut buffer = vec![0; part as usize];
        let read = read(thread, at, &mut buffer)?;
        let bytes = &buffer[..read];
        match bytes.iter().position(|byte| *byte == 0) {
            Some(end) => {
                text.extend_from_slice(&bytes[..end]);
                return Ok(text);
            }
            None if read == 0 => return Err(Errno::FAULT),
            None => text.extend_from_slice(bytes),
        }
    }
    Err(Errno::NAMETOOLONG)
}
