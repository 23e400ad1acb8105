//! Compressing layers while the next step runs.
//!
//! A step below a RUN is done when its folder is complete. Its layer is compressed later, on a
//! thread. Requests for the blob in this process wait for it. For other processes, and after a
//! kill, the layer does not exist and its step is not in the cache.

use std::sync::Arc;

use tracing::debug_span;
use xbuild_layer::{Encoder, Encoding, LayerError};
use xbuild_model::{Descriptor, DiffId, StepFailure};
use xbuild_store::{Background, GrowingBlob, Pending, Store};

use crate::EngineError;
use crate::sink::{self, Spool};

/// Uncompressed layers that may wait. The next step waits until there is room.
const WAITING: usize = 4;

/// Takes a reader of each new blob.
pub(super) type Watch = Arc<dyn Fn(GrowingBlob) + Send + Sync>;

/// Compresses layers, one after the other. Dropping it waits for all of them.
pub(super) struct Packer {
    pending: Arc<Pending<DiffId, (), StepFailure>>,
    jobs: Background<Job>,
}

/// A layer to compress.
pub(super) struct Job {
    pub(super) layer: DiffId,
    pub(super) spool: Spool,
    pub(super) encoding: Encoding,
    pub(super) watch: Option<Watch>,
}

impl Packer {
    pub(super) fn new(store: Arc<Store>) -> Self {
        let pending = Arc::<Pending<_, _, _>>::default();
        let jobs = Background::new("pack", {
            let pending = Arc::clone(&pending);
            move |job: Job| {
                let layer = job.layer.clone();
                let packed = pack(&store, job, |_| Ok(())).map_err(|error| named(&layer, error));
                pending.end(&layer, packed.map_err(StepFailure::from));
            }
        });
        Self { pending, jobs }
    }

    /// Queues a layer for compression.
    ///
    /// **Errors** — the error of an earlier layer.
    pub(super) fn send(&self, job: Job) -> Result<(), EngineError> {
        // Equal layers are compressed once.
        if self.pending.begin(job.layer.clone(), (), WAITING)? {
            self.jobs.send(job);
        }
        Ok(())
    }

    /// Returns whether a layer is queued or being compressed.
    pub(super) fn is_pending(&self, layer: &DiffId) -> bool {
        self.pending.get(layer).is_some()
    }

    /// Waits for a layer that is queued or being compressed.
    ///
    /// **Errors** — the first error of any queued layer.
    pub(super) fn wait(&self, layer: &DiffId) -> Result<(), EngineError> {
        Ok(self.pending.wait(layer)?)
    }
}

/// Adds the layer to an error.
fn named(layer: &DiffId, error: EngineError) -> EngineError {
    let layer = layer.clone();
    match error {
        EngineError::NewLayer { source } => EngineError::Layer { layer, source },
        EngineError::Store(source) => EngineError::KeepLayer { layer, source },
        error => error,
    }
}

/// Compresses a layer now. The layer is in the store only if the blob passes the check.
pub(super) fn pack(
    store: &Store,
    job: Job,
    check: impl FnOnce(&Descriptor) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let Job { layer, spool, encoding, watch } = job;
    let name = encoding.to_string();
    let _span = debug_span!("layer", work = "pack", diff_id = %layer, encoding = name).entered();
    if store.encoded(&layer, &name)?.is_some() {
        return Ok(());
    }
    let mut blob = store.blob_writer()?;
    if let Some(watch) = watch {
        watch(blob.watch()?);
    }
    let mut encoder = Encoder::new(blob, encoding).map_err(LayerError::from_write)?;
    spool.write_to(&mut encoder)?;
    let descriptor = sink::commit(encoding, encoder)?;
    check(&descriptor)?;
    store.put_layer(&layer, &descriptor, Some(&name))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};
    use std::time::Duration;

    use xbuild_model::Digest;

    use super::*;

    fn store() -> (tempfile::TempDir, Arc<Store>) {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path()).unwrap());
        (folder, store)
    }

    fn layer(text: &str) -> DiffId {
        DiffId(Digest::of(text.as_bytes()))
    }

    fn job(text: &str, watch: Option<Watch>) -> Job {
        let layer = layer(text);
        let spool = Spool::Memory(Arc::new(text.as_bytes().to_vec()));
        Job { layer, spool, encoding: Encoding::default(), watch }
    }

    #[test]
    fn a_layer_is_there_when_it_was_waited_for() {
        let (_folder, store) = store();
        let packer = Packer::new(Arc::clone(&store));
        let (go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let watch: Watch = Arc::new(move |_| wait.lock().unwrap().recv().unwrap());
        let slow = job("slow", Some(watch));
        let layer = slow.layer.clone();
        packer.send(slow).unwrap();
        packer.send(job("slow", None)).unwrap();
        assert!(packer.is_pending(&layer));
        assert_eq!(store.layer(&layer).unwrap(), None);
        packer.wait(&DiffId(Digest::of(b"other"))).unwrap();
        std::thread::scope(|scope| {
            let waiting =
                scope.spawn(|| packer.wait(&layer).map(|()| store.layer(&layer).unwrap()));
            std::thread::sleep(Duration::from_millis(20));
            assert!(!waiting.is_finished());
            go.send(()).unwrap();
            assert!(waiting.join().unwrap().unwrap().is_some());
        });
        assert!(!packer.is_pending(&layer));
    }

    #[test]
    fn no_more_than_a_few_wait() {
        let (_folder, store) = store();
        let packer = Packer::new(store);
        let (go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let watch: Watch = Arc::new(move |_| wait.lock().unwrap().recv().unwrap());
        packer.send(job("0", Some(watch))).unwrap();
        (1..WAITING).for_each(|number| packer.send(job(&number.to_string(), None)).unwrap());
        std::thread::scope(|scope| {
            let next = scope.spawn(|| packer.send(job("next", None)));
            std::thread::sleep(Duration::from_millis(20));
            assert!(!next.is_finished());
            go.send(()).unwrap();
            next.join().unwrap().unwrap();
        });
        (0..WAITING).for_each(|number| packer.wait(&layer(&number.to_string())).unwrap());
        packer.wait(&layer("next")).unwrap();
    }

    #[test]
    fn a_failure_is_told_to_everybody() {
        let (folder, store) = store();
        let packer = Packer::new(Arc::clone(&store));
        let session =
            std::fs::read_dir(folder.path().join("tmp")).unwrap().next().unwrap().unwrap();
        std::fs::remove_dir_all(session.path()).unwrap();
        packer.send(job("lost", None)).unwrap();
        for error in
            [packer.wait(&layer("lost")), packer.wait(&layer("lost"))].map(Result::unwrap_err)
        {
            assert!(error.to_string().starts_with("cannot keep layer "), "{error}");
        }
    }
}
