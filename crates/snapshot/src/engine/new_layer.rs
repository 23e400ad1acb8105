//! New layers: where their bytes go, and when they are compressed.

use std::io::Write;

use xbuild_layer::Encoding;
use xbuild_model::DiffId;
use xbuild_model::seam::Purpose;

use super::packer::{Job, Watch};
use super::shared::Shared;
use crate::{EngineError, LayerSink, SinkBlob, SinkResult};

impl Shared {
    /// Begins a new layer. Its bytes also go to `tee`.
    pub(super) fn begin_layer(
        &self,
        purpose: Purpose,
        tee: Option<Box<dyn Write + Send>>,
    ) -> Result<LayerSink<'_>, EngineError> {
        let (encoding, watch) = self.blob_for(purpose);
        match watch {
            // What stands on it shall not wait for the compressor.
            _ if purpose.folder => Ok(LayerSink::spooled(&self.store, tee)),
            Some(watch) => LayerSink::watched(&self.store, encoding, tee, &**watch),
            None => LayerSink::new(&self.store, encoding, tee),
        }
    }

    /// Keeps what became of a new layer.
    pub(super) fn end_layer(
        &self,
        purpose: Purpose,
        made: SinkResult,
    ) -> Result<DiffId, EngineError> {
        let SinkResult { diff_id: layer, blob, index } = made;
        self.remember(&layer, index);
        if let SinkBlob::Spooled(spool) = blob {
            let (encoding, watch) = self.blob_for(purpose);
            let watch = watch.cloned();
            self.packer.send(Job { layer: layer.clone(), spool, encoding, watch })?;
        }
        Ok(layer)
    }

    /// Returns what the blob of a new layer is to be like, and who reads along.
    fn blob_for(&self, purpose: Purpose) -> (Encoding, Option<&Watch>) {
        match purpose.result {
            true => (self.options.encoding, self.options.on_blob.as_ref()),
            false => (Encoding::passing(), None),
        }
    }
}
