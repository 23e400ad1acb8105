//! Cache mounts of other machines: read when a folder is made, written when a build went well.

use std::sync::Arc;
use std::time::SystemTime;

use xbuild_cache::{CacheTag, Mount, Scope, Signer};
use xbuild_model::transfer::OnTransfer;
use xbuild_model::{Cancel, Descriptor, Digest, ImageLayer};
use xbuild_registry::Client;
use xbuild_snapshot::{CachedLayer, Engine, PackedMount, UsedMount};
use xbuild_store::Store;

use super::keys;
use super::place::{Outgoing, Place};
use super::source::Source;
use super::warning::CacheWarning;
use crate::error::{CacheError, CacheOpenError};
use crate::events::{Event, Events, Warning};
use crate::request::{CacheMountsTo, CacheRequest};
use crate::transfers::told;

/// The caches that the cache mounts of a build come from and go to.
pub(crate) struct MountCaches {
    from: Vec<Source>,
    to: Vec<MountTarget>,
    events: Arc<dyn Events>,
}

/// A cache that cache mounts go to.
struct MountTarget {
    place: Place,
    scope: Scope,
    signer: Option<Signer>,
    /// The bytes that a folder may have.
    limit: u64,
}

impl MountTarget {
    fn new(client: &Client, request: &CacheMountsTo) -> Result<Self, CacheOpenError> {
        let place = Place::new(client, &request.place);
        let cache = place.to_string();
        let scope = keys::scope(&cache, &request.scope)?;
        let signer = request.key.as_deref().map(|file| keys::signer(&cache, file)).transpose()?;
        Ok(Self { place, scope, signer, limit: request.limit })
    }

    fn put(
        &self,
        store: &Store,
        mount: &UsedMount,
        packed: PackedMount,
        on: &OnTransfer,
    ) -> Result<(), CacheError> {
        let PackedMount::Layer(diff_id, blob) = packed else { return Ok(()) };
        let descriptor = blob.descriptor();
        let document = Mount {
            key: mount.key.clone(),
            name: xbuild_model::short_label(&mount.id),
            diff_id,
            blob: Descriptor::new(
                &descriptor.media_type,
                descriptor.digest.clone(),
                descriptor.size,
            ),
        };
        let document = document.document(&self.scope, self.signer.as_ref(), SystemTime::now());
        let tag = CacheTag::of_mount(&self.scope, &mount.key).to_string();
        self.place.put(store, &[Outgoing { tag, document, layers: vec![*blob] }], on)
    }
}

impl MountCaches {
    pub(crate) fn open(
        request: &CacheRequest,
        client: &Client,
        events: &Arc<dyn Events>,
    ) -> Result<Arc<Self>, CacheOpenError> {
        let client = client.hasty();
        let apart = client.apart(Cancel::default(), 1);
        let from = request.mounts_from.iter().map(|from| Source::new(&client, from, events));
        let to = request.mounts_to.iter().map(|to| MountTarget::new(&apart, to));
        let (from, to) = (from.collect::<Result<_, _>>()?, to.collect::<Result<_, _>>()?);
        Ok(Arc::new(Self { from, to, events: Arc::clone(events) }))
    }

    /// Returns the layer with the files of a cache mount, from the first cache that has it.
    pub(crate) fn find(&self, key: &Digest) -> Option<CachedLayer> {
        self.from.iter().find_map(|source| {
            let Mount { diff_id, blob, .. } = source.mount(key)?;
            let source = source.place.blobs();
            let layer = ImageLayer { diff_id, descriptor: blob, source };
            Some(CachedLayer { layer, encoding: None })
        })
    }

    /// Writes the cache mounts that steps have used. Tells what could not be written.
    pub(super) fn save(&self, engine: &Engine, store: &Store) {
        let mounts = if self.to.is_empty() { Vec::new() } else { engine.used_mounts() };
        for target in &self.to {
            let mut saved = 0;
            for mount in &mounts {
                match self.save_one(target, mount, engine, store) {
                    Ok(is_saved) => saved += usize::from(is_saved),
                    Err(error) if error.is_lasting() => {
                        self.tell(unwritten(target, &error));
                        break;
                    }
                    Err(error) => self.tell(unwritten(target, &error)),
                }
            }
            let (cache, scope) = (target.place.to_string(), target.scope.name());
            self.events.event(Event::MountsSaved { cache: &cache, scope, mounts: saved });
        }
    }

    fn save_one(
        &self,
        target: &MountTarget,
        mount: &UsedMount,
        engine: &Engine,
        store: &Store,
    ) -> Result<bool, CacheError> {
        let id = xbuild_model::short_label(&mount.id);
        match engine.pack_mount(mount, target.limit)? {
            None => self.tell(CacheWarning::MountBusy { id }),
            Some(PackedMount::TooLarge(bytes)) => {
                self.tell(CacheWarning::MountTooLarge { id, bytes, limit: target.limit });
            }
            Some(packed) => {
                target.put(store, mount, packed, &told(&self.events))?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn tell(&self, warning: CacheWarning) {
        self.events.event(Event::Warning(&Warning::Cache(warning)));
    }
}

fn unwritten(target: &MountTarget, error: &CacheError) -> CacheWarning {
    let cache = target.place.to_string();
    match error.is_limit() {
        true => CacheWarning::Limited { cache },
        false => CacheWarning::Unwritten { cache, steps: 0, reason: error.text() },
    }
}
