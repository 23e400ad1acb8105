//! The ground that the RUN steps of a build stand on.

use std::sync::Mutex;

use xbuild_exec::Started;
use xbuild_exec::ladder::Choice;
use xbuild_exec::probe::Emulators;

use crate::batch::RootTurn;
use crate::emulators::EmulatorInUse;

/// The ground that the RUN steps of a plan stand on.
#[derive(Debug, Default)]
pub struct Ground {
    /// The emulators that they need, each once.
    pub(crate) emulators: Emulators,
    /// The same by platform, with those of the host.
    pub(crate) in_use: Vec<EmulatorInUse>,
    /// The rung and the root file system, which were tried out; `None` if no RUN may run, or none
    /// can.
    pub(crate) choice: Option<Choice>,
    /// The helper of the trial, until the sandbox goes on with it.
    pub(crate) started: Mutex<Option<Started>>,
    /// The right to the root of the container, until the steps run.
    pub(crate) root: Mutex<Option<RootTurn>>,
}
