//! The emulators of a step whose `execve` is intercepted.

use std::os::fd::OwnedFd;

use crate::arch::Arch;

/// Emulators by the architectures whose programs they run, each in a sealed memory file.
#[derive(Debug)]
pub(crate) struct Emulators(Vec<(Arch, OwnedFd)>);

impl Emulators {
    /// Takes the emulators; `None` if there are none, so that nothing is to be intercepted.
    pub(crate) fn new(emulators: Vec<(Arch, OwnedFd)>) -> Option<Self> {
        (!emulators.is_empty()).then_some(Self(emulators))
    }

    /// Returns the architectures that have one.
    pub(super) fn architectures(&self) -> Vec<Arch> {
        self.0.iter().map(|(arch, _)| *arch).collect()
    }

    /// Returns the emulator of an architecture.
    pub(super) fn emulator(&self, arch: Arch) -> Option<&OwnedFd> {
        self.0.iter().find(|(known, _)| *known == arch).map(|(_, file)| file)
    }
}
