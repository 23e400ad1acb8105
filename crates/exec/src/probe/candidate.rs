//! Finding the emulator that a trial registers.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use xbuild_wording::{Hint, hints};

use crate::arch::Arch;
use crate::binfmt;
use crate::emulator::{self, Candidate, Emulator, Installed};
use crate::error::{EmulationError, in_words};
use crate::gap::Gap;

/// An emulator, loaded and ready to be registered, or why there is none.
pub(super) type Loaded = Result<Emulator, NotLoaded>;

/// Why there is no emulator.
#[derive(Debug)]
pub(super) struct NotLoaded {
    pub(super) gap: Gap,
    /// Whether the user installed one, which nothing replaces without a word.
    pub(super) is_installed: bool,
}

pub(super) fn find(
    arch: Arch,
    installed: &[Installed],
    search_path: &OsStr,
    entries: &[binfmt::HostEntry],
) -> Loaded {
    let error = match emulator::find(arch, installed, search_path, &registered(arch, entries)) {
        Ok(Some(loaded)) => return Ok(loaded),
        Ok(None) => None,
        Err(error) => Some(error),
    };
    let is_installed = matches!(error, Some(EmulationError::Damaged { .. }));
    let why = error.map_or_else(
        || {
            format!(
                "no emulator for {0} programs: none is installed, and neither qemu-{1}-static nor \
                 qemu-{1} is in PATH",
                arch.oci_name(),
                arch.qemu_name()
            )
        },
        |error| in_words(&error),
    );
    Err(NotLoaded { gap: Gap { why, how_to_get: how_to_get(arch, is_installed) }, is_installed })
}

/// Returns the candidates for programs of `arch`, as a build looks at them, the first that it would
/// take first.
pub fn candidates(arch: Arch, installed: &[Installed], search_path: &OsStr) -> Vec<Candidate> {
    let entries = binfmt::host_entries(Path::new(binfmt::HOST_INSTANCE)).unwrap_or_default();
    emulator::candidates(arch, installed, search_path, &registered(arch, &entries)).collect()
}

/// Returns the interpreters that the host has registered.
fn registered(arch: Arch, entries: &[binfmt::HostEntry]) -> Vec<PathBuf> {
    let program = crate::tiny_elf::program(arch);
    let entries = entries.iter().filter(|entry| entry.serves(&program));
    entries.map(|entry| entry.interpreter.clone()).collect()
}

fn how_to_get(arch: Arch, is_installed: bool) -> Hint {
    match is_installed {
        true => hints::install_emulator_again(arch.oci_name()),
        false => hints::install_emulator(arch.oci_name(), arch.qemu_name()),
    }
}
