//! Compressing layers while the next step runs.
//!
//! A step that a RUN stands on is done when its folder is there. Its layer is compressed after
//! that, on a thread. Whoever asks for the blob in this process waits for it; to other processes,
//! and after a kill, the layer is not there, and its step not in the cache.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use xbuild_model::DiffId;
use xbuild_store::{Background, GrowingBlob, Store};

use crate::encoding::Encoder;
use crate::sink::{self, Spool};
use crate::{Encoding, EngineError, LayerError};

/// Layers that may wait, uncompressed; the step after that waits, too.
const WAITING: usize = 4;

/// Takes a reader of each new blob.
pub(super) type Watch = Arc<dyn Fn(GrowingBlob) + Send + Sync>;

/// Compresses layers, one after the other. Dropping it waits for those that are left.
pub(super) struct Packer {
    state: Arc<State>,
    jobs: Background<Job>,
}

#[derive(Default)]
struct State {
    pending: Mutex<Pending>,
    changed: Condvar,
}

#[derive(Default)]
struct Pending {
    layers: HashSet<DiffId>,
    /// The first failure that nobody was told of.
    failure: Option<EngineError>,
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
        let state = Arc::<State>::default();
        let jobs = Background::new("pack", {
            let state = Arc::clone(&state);
            move |job: Job| {
                let layer = job.layer.clone();
                let packed = pack(&store, job);
                let mut pending = state.lock();
                pending.layers.remove(&layer);
                if let Err(source) = packed {
                    pending.failure.get_or_insert(EngineError::Layer { layer, source });
                }
                state.changed.notify_all();
            }
        });
        Self { state, jobs }
    }

    /// Has a layer compressed.
    ///
    /// **Errors** — that of an earlier layer, if nobody was told of it yet.
    pub(super) fn send(&self, job: Job) -> Result<(), EngineError> {
        let mut pending = self.state.wait_while(|pending| pending.layers.len() >= WAITING)?;
        // Equal layers are one.
        if pending.layers.insert(job.layer.clone()) {
            drop(pending);
            self.jobs.send(job);
        }
        Ok(())
    }

    /// Returns whether a layer is on its way.
    pub(super) fn is_pending(&self, layer: &DiffId) -> bool {
        self.state.lock().layers.contains(layer)
    }

    /// Waits for a layer, if it is on its way.
    ///
    /// **Errors** — the first failure of all that were on their way.
    pub(super) fn wait(&self, layer: &DiffId) -> Result<(), EngineError> {
        self.state.wait_while(|pending| pending.layers.contains(layer)).map(drop)
    }

    /// Waits for all layers.
    ///
    /// **Errors** — the first failure.
    pub(super) fn wait_for_all(&self) -> Result<(), EngineError> {
        self.state.wait_while(|pending| !pending.layers.is_empty()).map(drop)
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        // Nobody panics while holding it.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(
        &self,
        busy: impl Fn(&Pending) -> bool,
    ) -> Result<MutexGuard<'_, Pending>, EngineError> {
        let pending = self.changed.wait_while(self.lock(), |pending| busy(pending));
        let mut pending = pending.unwrap_or_else(PoisonError::into_inner);
        match pending.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(pending),
        }
    }
}

fn pack(store: &Store, job: Job) -> Result<(), LayerError> {
    let Job { layer, spool, encoding, watch } = job;
    let name = encoding.to_string();
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
    store.put_layer(&layer, &descriptor, Some(&name))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use xbuild_model::Digest;

    use super::*;

    fn store() -> (tempfile::TempDir, Arc<Store>) {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path()).unwrap());
        (folder, store)
    }

    fn job(text: &str, watch: Option<Watch>) -> Job {
        let layer = DiffId(Digest::of(text.as_bytes()));
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
        packer.wait_for_all().unwrap();
    }

    #[test]
    fn a_failure_is_told_once() {
        let (folder, store) = store();
        let packer = Packer::new(Arc::clone(&store));
        let session =
            std::fs::read_dir(folder.path().join("tmp")).unwrap().next().unwrap().unwrap();
        std::fs::remove_dir_all(session.path()).unwrap();
        packer.send(job("lost", None)).unwrap();
        let error = packer.wait_for_all().unwrap_err();
        assert!(matches!(error, EngineError::Layer { .. }), "{error}");
        packer.wait_for_all().unwrap();
    }
}
