//! The trails of a build that went well.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::Read as _;
use std::time::SystemTime;

use xbuild_cache::{CacheTag, Record, Trail, TrailIndex};
use xbuild_image::document::{MAX_CONFIG, MAX_MANIFEST};
use xbuild_model::{DiffId, Digest, Manifest};
use xbuild_plan::{Graph, Op, VertexId};

use super::exports::Shared;
use super::identity::{self, BuildIdentity};
use super::place::Outgoing;
use super::target::{Target, is_fixed};
use super::warning::CacheWarning;
use crate::build::Build;
use crate::error::CacheError;
use crate::events::Event;
use crate::main_context::MainContext;
use crate::planning::Plan;
use crate::request::CacheMode;
use crate::run::Solved;

/// Writes the cache mounts of a build that went well, and waits until all steps are in the shared caches that the build writes. If the build went well,
/// also writes what it used, so that the next build needs few requests. Tells what could not be written.
pub fn save_cache(
    build: &Build,
    main: &MainContext,
    plan: &Plan,
    solved: &mut Solved,
    is_good: bool,
) {
    let _span = build.span.enter();
    if is_good {
        build.mount_caches.save(&solved.engine, &build.store);
    }
    let Some(mut exports) = solved.cache.take() else { return };
    let keys = exports.finish();
    let shared = &exports.shared;
    let identities = identity::of_build(&build.request.input, main);
    for target in &shared.targets.0 {
        let (there, new) = target.finish();
        if is_good && !target.is_off() {
            for identity in &identities {
                let saving = Saving { shared, target, graph: &plan.graph, keys: &keys };
                let trail = saving.trail(identity, &there);
                match saving.put(identity, &trail) {
                    Err(error) if is_fixed(&error) => {
                        target.tell(CacheWarning::Fixed { cache: target.place.to_string() });
                        break;
                    }
                    Err(error) => target.fail(&error),
                    Ok(()) => {}
                }
            }
        }
        target.flush(&shared.store);
        // Trails and a layout may have failed.
        target.finish();
        let (cache, scope) = (target.place.to_string(), target.scope.name());
        let steps = there.len();
        build.events.event(Event::CacheSaved { cache: &cache, scope, steps, new });
    }
}

/// One cache, and the build that it gets a trail of.
struct Saving<'a> {
    shared: &'a Shared,
    target: &'a Target,
    graph: &'a Graph,
    keys: &'a HashMap<VertexId, Digest>,
}

impl Saving<'_> {
    /// Returns what the build of one platform used.
    fn trail(
        &self,
        identity: &BuildIdentity<'_>,
        there: &std::collections::BTreeMap<Digest, Record>,
    ) -> Trail {
        let vertices = self.vertices(identity);
        let mut trail = Trail { name: identity.name.clone(), ..Trail::default() };
        let mut layers: HashSet<DiffId> = HashSet::new();
        let (mut seen, mut documents) = (HashSet::new(), BTreeSet::new());
        for id in vertices {
            let vertex = self.graph.vertex(id);
            if let Op::Image(image) = &vertex.op {
                layers.extend(image.layers.iter().map(|layer| layer.diff_id.clone()));
                documents.extend([image.root.clone(), image.manifest.digest.clone()]);
            }
            let record = self.keys.get(&id).and_then(|key| there.get(key));
            let Some(record) = record.filter(|record| seen.insert(record.key.clone())) else {
                continue;
            };
            layers.extend(record.layers.iter().map(|layer| layer.diff_id.clone()));
            if self.target.mode == CacheMode::Max || vertex.is_in_output {
                trail.records.push(record.clone());
            }
        }
        trail.documents = documents.iter().flat_map(|digest| self.documents(digest)).collect();
        trail.indexes = self.indexes(&layers);
        trail
    }

    /// Returns the vertices that the image of one platform needs, inputs first.
    fn vertices(&self, identity: &BuildIdentity<'_>) -> BTreeSet<VertexId> {
        let outputs = &self.graph.outputs;
        // Without a platform that was asked for, the image has that of its base image.
        let own = outputs
            .iter()
            .filter(|output| outputs.len() == 1 || output.platform == *identity.platform);
        let mut waiting: Vec<VertexId> = own.map(|output| output.vertex).collect();
        let mut found = BTreeSet::new();
        while let Some(id) = waiting.pop() {
            if found.insert(id) {
                waiting.extend(self.graph.vertex(id).op.inputs());
            }
        }
        found
    }

    /// Returns a document of a base image as far as the store has it, and its configuration.
    fn documents(&self, digest: &Digest) -> Vec<Vec<u8>> {
        let Some(bytes) = self.document(digest, MAX_MANIFEST) else { return Vec::new() };
        let manifest = serde_json::from_slice::<Manifest>(&bytes).ok();
        let config = manifest.and_then(|m| self.document(&m.config.digest, MAX_CONFIG));
        std::iter::once(bytes).chain(config).collect()
    }

    fn document(&self, digest: &Digest, limit: u64) -> Option<Vec<u8>> {
        let file = self.shared.store.open_blob(digest).ok()??;
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 <= limit && Digest::of(&bytes) == *digest).then_some(bytes)
    }

    /// Returns the tree indexes of these layers that steps looked at. A signed trail has none that
    /// came from another cache and was not compared yet.
    fn indexes(&self, layers: &HashSet<DiffId>) -> Vec<(DiffId, TrailIndex)> {
        let engine = &self.shared.engine;
        let index = |layer: DiffId| {
            let found = match self.target.signer {
                Some(_) => engine.checked_index(&layer),
                None => engine.known_index(&layer),
            };
            // Without it the layer is read.
            let index = found.ok().flatten()?;
            Some((layer, TrailIndex::Here((*index).clone())))
        };
        let looked_at = engine.looked_at().into_iter().filter(|layer| layers.contains(layer));
        looked_at.filter_map(index).collect()
    }

    fn put(&self, identity: &BuildIdentity<'_>, trail: &Trail) -> Result<(), CacheError> {
        let (scope, signer) = (&self.target.scope, self.target.signer.as_ref());
        let document = trail.document(scope, &identity.id, signer, SystemTime::now())?;
        let tag = CacheTag::of_trail(scope, &identity.id).to_string();
        // The layers of its steps are there.
        self.target.put(&self.shared.store, Outgoing { tag, document, layers: Vec::new() })
    }
}
