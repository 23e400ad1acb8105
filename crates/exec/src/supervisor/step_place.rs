//! The facts about the place of a step that its own process tells the supervisor.

use std::collections::HashSet;

use rustix::fs::{Access, AtFlags, CWD, StatxFlags};
use serde::{Deserialize, Serialize};
use xbuild_model::run::ReadySource;

use crate::error::RunError;
use crate::protocol::StepRequest;

/// The facts about the place of a step.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct StepPlace {
    /// The numbers of the mounts of the user's own files: nothing of owners and devices is recorded
    /// there.
    pub(crate) volumes: HashSet<u64>,
    /// Whether packages may want to own `/proc` and `/sys`.
    pub(crate) has_packages: bool,
}

impl StepPlace {
    /// Looks around. This process is in the step's root, and the command has not started.
    pub(crate) fn of(request: &StepRequest) -> Result<Self, RunError> {
        let has_packages =
            PACKAGES.into_iter().any(|path| rustix::fs::access(path, Access::EXISTS).is_ok());
        Ok(Self { volumes: mounts(request)?, has_packages })
    }
}

/// Programs that install packages which own `/proc` and `/sys`. dpkg leaves folders that exist alone.
const PACKAGES: [&str; 7] = [
    "/usr/bin/rpm",
    "/bin/rpm",
    "/usr/bin/microdnf",
    "/usr/bin/dnf",
    "/usr/bin/dnf5",
    "/usr/bin/tdnf",
    "/usr/bin/zypper",
];

/// Returns the numbers of the mounts of a step that show files of the user of this machine.
fn mounts(request: &StepRequest) -> Result<HashSet<u64>, RunError> {
    let is_volume = |source: &ReadySource| matches!(source, ReadySource::Volume { .. });
    let volumes = request.mounts.iter().filter(|mount| is_volume(&mount.source));
    let number = |target: &str| {
        let stat = rustix::fs::statx(CWD, target, AtFlags::empty(), StatxFlags::MNT_ID);
        Ok(stat.map_err(RunError::mount(target))?.stx_mnt_id)
    };
    volumes.map(|mount| number(&mount.target)).collect()
}
