//! Programs in memory that nobody can change any more.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};

/// Copies a file from its current position on into a sealed, executable memory file.
///
/// The descriptor that is returned is read-only and close-on-exec. Whoever is given a way to open
/// the program that it runs, such as `/proc/self/exe`, cannot write to it, even as its owner.
///
/// **Source** — `memfd_create(2)`, `fcntl(2)` § File Sealing.
pub(crate) fn sealed_copy(name: &CStr, mut source: File) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Linux 6.3 wants to be told that a program is meant; older ones do not know the flag.
    let memory = rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create(name, flags))?;
    let mut memory = File::from(memory);
    io::copy(&mut source, &mut memory)?;
    rustix::fs::fcntl_add_seals(
        &memory,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_copy_runs_and_cannot_be_written() {
        let copy = sealed_copy(c"true", File::open("/bin/true").unwrap()).unwrap();
        let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
        assert!(std::process::Command::new(&path).status().unwrap().success());
        for flags in [OFlags::WRONLY, OFlags::RDWR | OFlags::TRUNC] {
            if let Ok(file) = rustix::fs::open(&*path, flags, Mode::empty()) {
                assert!(rustix::io::write(&file, b"x").is_err());
            }
        }
        let length = File::from(copy).metadata().unwrap().len();
        assert_eq!(length, std::fs::metadata("/bin/true").unwrap().len());
    }
}
