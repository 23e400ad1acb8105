//! The layer of a command's changes, which a task finds.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;

use xbuild_layer::LayerError;
use xbuild_model::DiffId;
use xbuild_model::seam::{PendingTask, Purpose};

use super::folders::pipe;
use super::new_layer;
use super::shared::Shared;
use crate::{EngineError, LayerSink};

/// Bytes taken from the pipe at a time.
const BUFFER: usize = 256 << 10;

/// Makes a layer: `start` starts the task that writes it to a pipe. Returns the
/// task's answer, too.
pub(super) fn layer(
    shared: &Shared,
    purpose: Purpose,
    start: impl FnOnce(OwnedFd) -> Result<Box<dyn PendingTask>, EngineError>,
) -> Result<(DiffId, Vec<u8>), EngineError> {
    let _span = new_layer::span("diff").entered();
    let (read, write) = pipe()?;
    let mut sink = shared.begin_layer(purpose, None)?;
    let task = start(write)?;
    let copied = copy(read, &mut sink);
    // A layer that was cut short must never be finished, so the result of the task decides.
    let answer = match (copied, task.wait()) {
        (Ok(()), Ok(answer)) => answer,
        // The task stopped because nobody read on.
        (Err(error @ LayerError::Write { .. }), _) | (Err(error), Ok(_)) => {
            return Err(error.into());
        }
        (_, Err(failure)) => return Err(failure.into()),
    };
    Ok((shared.end_layer(purpose, sink.finish()?)?, answer))
}

/// Copies the layer from the task to the sink.
fn copy(pipe: OwnedFd, sink: &mut LayerSink<'_>) -> Result<(), LayerError> {
    let mut pipe = File::from(pipe);
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = match pipe.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(LayerError::Read { source }),
        };
        io::Write::write_all(sink, &buffer[..count])
            .map_err(|source| LayerError::Write { source })?;
    }
}
