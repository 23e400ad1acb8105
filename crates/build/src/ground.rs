//! The ground that the RUN steps of a build stand on.

use xbuild_exec::ladder::{Choice, Findings};
use xbuild_exec::probe::Emulators;

use crate::emulators::EmulatorInUse;

/// The ground that the RUN steps of a plan stand on.
#[derive(Debug, Clone, Default)]
pub struct Ground {
    /// The emulators that they need, each once.
    pub(crate) emulators: Emulators,
    /// The same by platform, with those of the host.
    pub(crate) in_use: Vec<EmulatorInUse>,
    /// The facts about this machine; `None` if no RUN may run, since nothing was tried out.
    pub(crate) findings: Option<Findings>,
    /// The rung and the root file system; `None` if no RUN may run.
    pub(crate) choice: Option<Choice>,
}
