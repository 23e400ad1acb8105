//! The emulators that the RUN steps of a build get.

use std::collections::BTreeSet;
use std::fmt;

use xbuild_exec::arch::Arch;
use xbuild_exec::emulator::Emulator;
use xbuild_exec::probe::{Capabilities, Emulators, Executor};
use xbuild_model::Platform;

/// An emulator that RUN steps of a build get, and that has run a test program.
///
/// It displays as `linux/arm64 by qemu-aarch64-static sha256:HEX (QEMU 9.2.0)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmulatorInUse {
    /// The platforms whose programs it runs; at least one.
    pub platforms: Vec<Platform>,
    /// The way in which it runs them.
    pub executor: Executor,
}

impl EmulatorInUse {
    /// Returns the emulator; `None` for one that the host has registered, whose bytes are unknown.
    pub fn emulator(&self) -> Option<&Emulator> {
        match &self.executor {
            Executor::PrivateBinfmt { emulator } | Executor::Intercepted { emulator } => {
                Some(emulator)
            }
            _ => None,
        }
    }

    /// Returns the platforms, joined by commas.
    pub fn platforms(&self) -> String {
        self.platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for EmulatorInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by ", self.platforms())?;
        match (&self.executor, self.emulator()) {
            (Executor::Intercepted { .. }, Some(emulator)) => {
                write!(f, "{emulator}, by interception")
            }
            (_, Some(emulator)) => emulator.fmt(f),
            (executor, None) => executor.fmt(f),
        }
    }
}

/// Returns the emulators that RUN steps of these platforms get, each once, in the order of the
/// platforms. `emulators` are those that the build brings.
pub(crate) fn in_use(
    platforms: &BTreeSet<&Platform>,
    capabilities: &Capabilities,
    emulators: &Emulators,
) -> Vec<EmulatorInUse> {
    let mut list: Vec<EmulatorInUse> = Vec::new();
    for platform in platforms {
        let Some(executor) = executor(platform, capabilities, emulators) else { continue };
        let arch = |platform: &Platform| Arch::of(platform);
        match list.iter_mut().find(|known| arch(&known.platforms[0]) == arch(platform)) {
            Some(known) => known.platforms.push((*platform).clone()),
            None => list.push(EmulatorInUse { platforms: vec![(*platform).clone()], executor }),
        }
    }
    list
}

/// Returns the way in which a platform is emulated; `None` if the processor runs its programs.
fn executor(
    platform: &Platform,
    capabilities: &Capabilities,
    emulators: &Emulators,
) -> Option<Executor> {
    let executor = capabilities.executor_for(platform);
    if let Executor::Native | Executor::Compat32 | Executor::Missing(_) = executor {
        return None;
    }
    let arch = Arch::of(platform)?;
    let find = |list: &[Emulator]| list.iter().find(|emulator| emulator.arch == arch).cloned();
    let registered = find(&emulators.registered);
    let intercepted = find(&emulators.intercepted);
    Some(match (registered, intercepted, executor) {
        (Some(emulator), ..) => Executor::PrivateBinfmt { emulator },
        (None, Some(emulator), _) => Executor::Intercepted { emulator },
        (None, None, by_host @ Executor::HostBinfmt { .. }) => by_host,
        // The host's entry serves in place of an emulator of the build's own.
        (None, None, _) => Executor::HostBinfmt { entry: None },
    })
}
