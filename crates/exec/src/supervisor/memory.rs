//! The memory of a caller.
//!
//! **Source** — `process_vm_readv(2)`.

use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use rustix::io::Errno;

use super::thread::Thread;

/// Fills a buffer from the caller's memory.
pub(super) fn read(thread: &Thread<'_>, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
    let length = buffer.len();
    let from =
        RemoteIoVec { base: usize::try_from(address).map_err(|_| Errno::FAULT)?, len: length };
    let mut local = [std::io::IoSliceMut::new(buffer)];
    match process_vm_readv(pid(thread), &mut local, &[from]) {
        Ok(count) if count == length => Ok(()),
        _ => Err(Errno::FAULT),
    }
}

/// Writes into the memory of a caller that still waits.
pub(super) fn write(thread: &Thread<'_>, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    thread.check()?;
    let base = usize::try_from(address).map_err(|_| Errno::FAULT)?;
    let to = RemoteIoVec { base, len: bytes.len() };
    match process_vm_writev(pid(thread), &[std::io::IoSlice::new(bytes)], &[to]) {
        Ok(count) if count == bytes.len() => Ok(()),
        _ => Err(Errno::FAULT),
    }
}

fn pid(thread: &Thread<'_>) -> nix::unistd::Pid {
    nix::unistd::Pid::from_raw(thread.number.cast_signed())
}
