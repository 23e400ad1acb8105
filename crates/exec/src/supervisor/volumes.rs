//! Mounts of the user's own files: nothing of owners and devices is recorded there.

use rustix::fs::{AtFlags, CWD, StatxFlags};
use xbuild_model::run::ReadySource;

use crate::error::RunError;
use crate::protocol::StepRequest;

/// Returns the numbers of the mounts of a step that show files of the user of this machine. This
/// process is in the step's root, and the command has not started.
pub(crate) fn mounts(request: &StepRequest) -> Result<Vec<u64>, RunError> {
    let is_volume = |source: &ReadySource| matches!(source, ReadySource::Volume { .. });
    let volumes = request.mounts.iter().filter(|mount| is_volume(&mount.source));
    let number = |target: &str| {
        let stat = rustix::fs::statx(CWD, target, AtFlags::empty(), StatxFlags::MNT_ID);
        Ok(stat.map_err(RunError::mount(target))?.stx_mnt_id)
    };
    volumes.map(|mount| number(&mount.target)).collect()
}
