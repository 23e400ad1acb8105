//! Finding the emulator that a trial registers.

use std::ffi::OsStr;
use std::path::PathBuf;

use crate::arch::Arch;
use crate::binfmt;
use crate::emulator::{self, Emulator};
use crate::gap::Gap;

/// An emulator, loaded and ready to be registered, or why there is none.
pub(super) type Loaded = Result<(Emulator, std::os::fd::OwnedFd), Gap>;

pub(super) fn find(arch: Arch, search_path: &OsStr, entries: &[binfmt::HostEntry]) -> Loaded {
    let program = crate::tiny_elf::program(arch);
    let registered: Vec<PathBuf> = entries
        .iter()
        .filter(|entry| entry.serves(&program))
        .map(|entry| entry.interpreter.clone())
        .collect();
    let found = emulator::find(arch, search_path, &registered);
    let loaded = found.and_then(|found| {
        found.map(|emulator| emulator.load().map(|file| (emulator, file))).transpose()
    });
    let how_to_get = || {
        format!(
            "install QEMU's static user emulators (package qemu-user-static, or \
             qemu-user-static-{} where each has its own)",
            arch.qemu_name()
        )
    };
    match loaded {
        Ok(Some(loaded)) => Ok(loaded),
        Ok(None) => Err(Gap {
            why: format!(
                "no emulator for {0} programs: neither qemu-{1}-static nor qemu-{1} is in PATH",
                arch.oci_name(),
                arch.qemu_name()
            ),
            how_to_get: how_to_get(),
        }),
        Err(error) => Err(Gap { why: error.to_string(), how_to_get: how_to_get() }),
    }
}
