//! New layers: the output of their bytes, and the time of their compression.

use std::io::Write;

use tracing::field::{Empty, display};
use tracing::{Span, debug_span};
use xbuild_layer::Encoding;
use xbuild_model::DiffId;
use xbuild_model::seam::Purpose;

use super::packer::{self, Job, Watch};
use super::shared::Shared;
use crate::{EngineError, LayerSink, SinkBlob, SinkResult, dense};

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
        let sink = match watch {
            // A RUN on this layer must not wait for the compressor.
            _ if purpose.folder => LayerSink::spooled(&self.store, tee),
            Some(watch) => LayerSink::watched(&self.store, encoding, tee, &**watch)?,
            None => LayerSink::new(&self.store, encoding, tee)?,
        };
        Ok(sink.within(self.options.bound))
    }

    /// Keeps a new layer, and completes its span, which is the current one.
    pub(super) fn end_layer(
        &self,
        purpose: Purpose,
        made: SinkResult,
    ) -> Result<DiffId, EngineError> {
        let SinkResult { diff_id: layer, size, blob, index } = made;
        Span::current().record("diff_id", display(&layer)).record("size", size);
        let index = self.remember(&layer, index);
        if let SinkBlob::Spooled(spool) = blob {
            let (encoding, watch) = self.blob_for(purpose);
            let watch = watch.cloned();
            let job = Job { layer: layer.clone(), spool, encoding, watch };
            match size > self.options.bound.allowance {
                // The blob may be one that nobody can read. Then this step is the one that fails.
                true => packer::pack(&self.store, job, |blob| {
                    dense::check(&self.store, self.options.bound, (size, &index), encoding, blob)
                })?,
                false => {
                    self.known(|known| known.packed.push(layer.clone()));
                    self.packer.send(job)?;
                }
            }
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use xbuild_files::Root;
    use xbuild_layer::decode::Bound;
    use xbuild_layer::{Entry, Kind, LayerWriter, Meta};
    use xbuild_model::file_op::{CopyOrigin, FileOp};
    use xbuild_model::records::Records;
    use xbuild_model::seam::Snapshots as _;
    use xbuild_model::{Chain, FailureKind};
    use xbuild_testkit::requests::copy as request;

    use super::super::EngineOptions;
    use super::super::tests::{Setup, message, overlay, setup_of};
    use super::*;

    const SIZE: usize = 3 << 20;

    /// Makes an engine that allows a layer a MiB, or 200 times the size of its blob.
    fn setup() -> Setup {
        let bound = Bound { allowance: 1 << 20, ratio: 200 };
        let single = !rustix::process::geteuid().is_root();
        setup_of(single, EngineOptions { bound, ..EngineOptions::default() })
    }

    fn purposes() -> impl Iterator<Item = Purpose> {
        let all = [(false, false), (false, true), (true, false), (true, true)];
        all.into_iter().map(|(folder, result)| Purpose { folder, result })
    }

    fn noise() -> Vec<u8> {
        let mut state = 1_u64;
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        };
        (0..SIZE).map(next).collect()
    }

    /// Returns what becomes of a layer of a command that has made two files.
    fn of_command(large: &[u8], purpose: Purpose) -> Result<(), (FailureKind, String)> {
        let setup = setup();
        let workspace = setup.engine.prepare(&Chain::default()).unwrap();
        let upper = Root::open(&overlay(&*workspace).upper).unwrap();
        for (name, bytes) in [(b"large", large), (b"small", b"text")] {
            upper.create_new(name, 0o600).unwrap().write_all(bytes).unwrap();
        }
        let made = workspace.commit(Records::default(), purpose);
        let layer = made.map_err(|failure| (failure.kind(), message(&failure)))?;
        setup.engine.settle().unwrap();
        setup.engine.read_layer(&layer).unwrap();
        Ok(())
    }

    #[test]
    fn a_layer_that_nobody_would_read_is_refused_where_it_is_made() {
        let zeros = vec![0; SIZE];
        for purpose in purposes() {
            let (kind, text) = of_command(&zeros, purpose).unwrap_err();
            assert_eq!(kind, FailureKind::Step);
            assert!(text.contains("largest file is \"large\", with 3145728 bytes"), "{text}");
            of_command(&noise(), purpose).unwrap();
        }
    }

    /// Makes a base image known whose one file has nothing but zeros.
    fn base(setup: &Setup) -> Chain {
        let mut tar = LayerWriter::new(Vec::new());
        let kind = Kind::File { size: SIZE as u64 };
        let entry = Entry { path: b"zeros".to_vec(), kind, meta: Meta::default() };
        tar.put(&entry, &mut &vec![0; SIZE][..]).unwrap();
        let layer = setup.publish(&tar.finish().unwrap());
        setup.engine.add_image(std::slice::from_ref(&layer));
        Chain(vec![layer.diff_id])
    }

    #[test]
    fn so_is_a_copy_and_another_encoding() {
        let expected = "with 3145728 bytes";
        for purpose in purposes() {
            let setup = setup();
            let chain = base(&setup);
            let op = FileOp::Copy(request("COPY zeros /to/"));
            let from = CopyOrigin::Layers(chain);
            let selection = setup.engine.select(&Chain::default(), &op, Some(&from)).unwrap();
            let failure = selection.commit(purpose).unwrap_err();
            assert_eq!(failure.kind(), FailureKind::User);
            assert!(message(&failure).contains(expected), "{failure}");
        }
        let setup = setup();
        let layers = base(&setup).0;
        let failure =
            setup.engine.encoded(layers, Encoding::default(), true, &|_| true).unwrap_err();
        assert!(message(&failure).contains(expected), "{failure}");
    }
}
