//! Reading some files of a layer, in one pass over it.

use std::io::{self, Read};

use xbuild_layer::LayerError;
use xbuild_model::{DiffId, FailureKind, StepFailure};
use xbuild_snapshot::Engine;

/// Calls `take` with the files at these positions of a layer, in their order: the position, and the
/// contents.
pub(crate) fn read(
    engine: &Engine,
    layer: &DiffId,
    positions: impl IntoIterator<Item = u32>,
    mut take: impl FnMut(u32, &mut dyn Read) -> io::Result<()>,
) -> Result<(), StepFailure> {
    let fault = |error: LayerError| StepFailure::new(FailureKind::Remote, error);
    let mut reader = engine.read_layer(layer)?;
    let mut next = 0;
    for wanted in positions {
        while next <= wanted {
            if reader.next().map_err(fault)?.is_none() {
                return Ok(());
            }
            next += 1;
        }
        take(wanted, &mut reader)
            .map_err(|error| StepFailure::new(FailureKind::Internal, error))?;
    }
    Ok(())
}
