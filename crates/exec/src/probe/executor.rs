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
            Executor::PrivateBinfmt { emulator } => write!(f, "{}", emulator.path.display()),
            Executor::HostBinfmt { entry: Some(entry) } => write!(f, "the host's {entry}"),
            Executor::HostBinfmt { entry: None } => f.write_str("the host's emulator"),
            Executor::Missing(gap) => write!(f, "missing: {}", gap.why),
        }
    }
}

/// The ways that were found for one architecture.
#[derive(Debug, Clone)]
pub(crate) struct Ways {
    pub(crate) best: Executor,
    /// Whether the host's own entries would do as well.
    pub(crate) host_entry: Option<Option<String>>,
}
