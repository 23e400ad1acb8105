//! The ways to run programs of an architecture.

use std::fmt;

use crate::emulator::Emulator;
use crate::gap::Gap;

/// The way to run programs of a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Executor {
    /// By the CPU.
    Native,
    /// By the CPU, in its 32-bit mode.
    Compat32,
    /// By an emulator that is registered for the build only.
    PrivateBinfmt {
        /// The emulator.
        emulator: Emulator,
    },
    /// By an emulator that is put in front of programs by interception of `execve`.
    Intercepted {
        /// The emulator.
        emulator: Emulator,
    },
    /// By an emulator that is registered on the host, for everybody.
    HostBinfmt {
        /// The name of the host's entry; unknown if the entries cannot be read from here.
        entry: Option<String>,
    },
    /// Not at all.
    Missing(Gap),
}

impl fmt::Display for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Executor::Native => f.write_str("native"),
            Executor::Compat32 => f.write_str("native, 32-bit mode"),
            Executor::PrivateBinfmt { emulator } => f.write_str(&emulator.place()),
            Executor::Intercepted { emulator } => {
                write!(f, "{}, by interception", emulator.place())
            }
            Executor::HostBinfmt { entry: Some(entry) } => write!(f, "the host's {entry}"),
            Executor::HostBinfmt { entry: None } => f.write_str("the host's emulator"),
            Executor::Missing(gap) => write!(f, "missing: {}", gap.why),
        }
    }
}

/// The way in which foreign programs get their emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Emulation {
    /// The first that works: a private binfmt_misc, interception, the host's entry.
    #[default]
    Auto,
    /// A binfmt_misc of the build's own.
    Binfmt,
    /// Interception of `execve`.
    Intercept,
    /// The host's own entries in binfmt_misc.
    Host,
}

/// The ways that were found for one architecture. Each that does not work has its reason.
#[derive(Debug, Clone)]
pub(crate) struct Ways {
    /// Whether the CPU runs the programs itself.
    pub(crate) by_cpu: bool,
    pub(crate) private: Result<Emulator, Gap>,
    pub(crate) intercepted: Result<Emulator, Gap>,
    /// The name of the host's entry, if that is known.
    pub(crate) by_host: Result<Option<String>, Gap>,
    /// Whether there is an installed emulator that is not what was installed.
    pub(crate) is_refused: bool,
    /// Why there is no way at all, if that is so.
    pub(crate) gap: Gap,
}

impl Ways {
    /// Returns the way to use.
    pub(crate) fn best(&self, emulation: Emulation) -> Executor {
        if self.by_cpu {
            return Executor::Compat32;
        }
        let private = || self.private.clone().map(|emulator| Executor::PrivateBinfmt { emulator });
        let intercepted =
            || self.intercepted.clone().map(|emulator| Executor::Intercepted { emulator });
        let by_host = || self.by_host.clone().map(|entry| Executor::HostBinfmt { entry });
        let found = match emulation {
            Emulation::Auto if self.is_refused => private(),
            Emulation::Auto => private()
                .or_else(|_| intercepted())
                .or_else(|_| by_host())
                .map_err(|_| self.gap.clone()),
            Emulation::Binfmt => private(),
            Emulation::Intercept => intercepted(),
            Emulation::Host => by_host(),
        };
        found.unwrap_or_else(Executor::Missing)
    }
}
