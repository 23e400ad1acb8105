//! A task that the helper works on.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use xbuild_model::StepFailure;
use xbuild_model::seam::PendingTask;

use crate::error::SandboxError;
use crate::protocol::Answer;

/// A task whose answer is still to come.
#[derive(Debug)]
pub(super) struct Pending {
    /// The name of the task.
    pub(super) task: &'static str,
    /// The pipe that the answer comes through.
    pub(super) pipe: OwnedFd,
}

impl Pending {
    /// Waits for the answer.
    pub(super) fn receive(self) -> Result<Vec<u8>, SandboxError> {
        let mut bytes = Vec::new();
        let task = self.task.to_owned();
        File::from(self.pipe).read_to_end(&mut bytes).map_err(|error| SandboxError::Protocol {
            what: format!("no answer of {task}: {error}"),
        })?;
        match Answer::from_bytes(bytes) {
            None => Err(SandboxError::TaskDied { task }),
            Some(Answer(Ok(answer))) => Ok(answer),
            Some(Answer(Err(failure))) => Err(SandboxError::Task { task, failure }),
        }
    }
}

impl PendingTask for Pending {
    fn wait(self: Box<Self>) -> Result<Vec<u8>, StepFailure> {
        Ok(self.receive()?)
    }
}
