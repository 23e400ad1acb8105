//! New layers: the output of their bytes, and the time of their compression.

use std::io::Write;

use tracing::field::{Empty, display};
use tracing::{Span, debug_span};
use xbuild_layer::Encoding;
use xbuild_model::DiffId;
use xbuild_model::seam::Purpose;

use super::packer::{Job, Watch};
use super::shared::Shared;
use crate::{EngineError, LayerSink, SinkBlob, SinkResult};

/// Returns the span of a new layer, which [`Shared::end_layer`] completes.
pub(super) fn span(work: &'static str) -> Span {
    debug_span!("layer", work, diff_id = Empty, size = Empty)
}

impl Shared {
    /// Begins a new layer. Its bytes also go to `tee`.
    pub(super) fn begin_layer(
        &self,
        purpose: Purpose,
        tee: Option<Box<dyn Write + Send>>,
    ) -> Result<LayerSink<'_>, EngineError> {
        let (encoding, watch) = self.blob_for(purpose);
        match watch {
            // A RUN on this layer must not wait for the compressor.
            _ if purpose.folder => Ok(LayerSink::spooled(&self.store, tee)),
            Some(watch) => LayerSink::watched(&self.store, encoding, tee, &**watch),
            None => LayerSink::new(&self.store, encoding, tee),
        }
    }

    /// Keeps a new layer, and completes its span, which is the current one.
    pub(super) fn end_layer(
        &self,
        purpose: Purpose,
        made: SinkResult,
    ) -> Result<DiffId, EngineError> {
        let SinkResult { diff_id: layer, size, blob, index } = made;
        Span::current().record("diff_id", display(&layer)).record("size", size);
        self.remember(&layer, index);
        if let SinkBlob::Spooled(spool) = blob {
            let (encoding, watch) = self.blob_for(purpose);
            let watch = watch.cloned();
            self.packer.send(Job { layer: layer.clone(), spool, encoding, watch })?;
        }
        Ok(layer)
    }

    /// Returns the encoding of a new layer's blob, and its watcher.
    fn blob_for(&self, purpose: Purpose) -> (Encoding, Option<&Watch>) {
        match purpose.result {
            true => (self.options.encoding, self.options.on_blob.as_ref()),
            false => (Encoding::passing(), None),
        }
    }
}
