//! What is in a cache, and what no build uses any more.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use xbuild_cache::{CacheTag, MAX_TRAIL, Scope, TagKind, Trail, TrailManifest, written_at};
use xbuild_image::parallel;
use xbuild_model::{Cancel, Digest};
use xbuild_registry::Deletion;

use super::place::Place;
use crate::error::{CacheAdminError, CacheError};
use crate::events::Events;
use crate::machine::Machine;
use crate::request::CacheFrom;
use crate::wiring;

/// Requests that are made at once.
const AT_ONCE: usize = 8;

/// A cache that is looked after. It may hold any number of scopes.
pub struct CacheShelf {
    place: Place,
    scope: Scope,
}

impl std::fmt::Debug for CacheShelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheShelf").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// A build whose trail is in a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedBuild {
    /// The name of its scope.
    pub scope: String,
    /// Dockerfile, stage and platform.
    pub name: String,
    /// The number of its steps that are cached.
    pub steps: usize,
    /// When it ran last.
    pub written: SystemTime,
}

/// What is in a cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheContents {
    /// The builds, the last one first.
    pub builds: Vec<CachedBuild>,
    /// The number of steps, of these builds and of others.
    pub steps: usize,
    /// The number of cache mounts.
    pub mounts: usize,
}

/// What was removed from a cache, and what is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CachePruned {
    /// Documents that were removed, or would be.
    pub removed: usize,
    /// Documents that are kept.
    pub kept: usize,
}

/// A document as far as it is looked at.
struct Found {
    tag: CacheTag,
    bytes: Vec<u8>,
    written: SystemTime,
    scope: String,
}

impl CacheShelf {
    /// Opens a cache. No request is made yet.
    pub fn open(
        machine: &Machine,
        cache: &CacheFrom,
        events: &Arc<dyn Events>,
    ) -> Result<Self, CacheAdminError> {
        let client = wiring::client(machine, None, events, Cancel::default());
        let scope = Scope::new(&cache.scope)?;
        Ok(Self { place: Place::new(&client, &cache.place), scope })
    }

    /// Returns what is in its scope, or in all scopes of the place.
    pub fn list(&self, all_scopes: bool) -> Result<CacheContents, CacheAdminError> {
        let tags = self.tags(all_scopes)?;
        let count = |kind| tags.iter().filter(|tag| tag.kind == kind).count();
        let (steps, mounts) = (count(TagKind::Record), count(TagKind::Mount));
        let trails = tags.iter().filter(|tag| tag.kind == TagKind::Trail);
        let mut builds: Vec<CachedBuild> = Vec::new();
        for found in self.look_at(trails.cloned().collect())? {
            let Found { bytes, written, scope, .. } = found;
            let trail =
                Scope::new(&scope).ok().and_then(|of| TrailManifest::list(&bytes, &of).ok());
            let Some(TrailManifest { name, steps, .. }) = trail else { continue };
            builds.push(CachedBuild { scope, name, steps, written });
        }
        builds.sort_by(|a, b| (b.written, &a.scope, &a.name).cmp(&(a.written, &b.scope, &b.name)));
        Ok(CacheContents { builds, steps, mounts })
    }

    /// Removes what is older than `keep` and not used by a build that is younger. With `is_trial`
    /// nothing is removed, only counted.
    ///
    /// **Errors** — before anything is removed, if a trail cannot be read; later, if the registry
    /// removes nothing.
    pub fn prune(
        &self,
        keep: Duration,
        all_scopes: bool,
        is_trial: bool,
    ) -> Result<CachePruned, CacheAdminError> {
        // A build that writes a layout waits until it is done.
        let _lock = self.place.lock()?;
        let tags = self.tags(all_scopes)?;
        let limit = SystemTime::now().checked_sub(keep).unwrap_or(SystemTime::UNIX_EPOCH);
        let (trails, others): (Vec<_>, Vec<_>) =
            tags.iter().cloned().partition(|tag| tag.kind == TagKind::Trail);
        let trails = self.look_at(trails)?;
        let (young, mut old): (Vec<Found>, Vec<Found>) =
            trails.into_iter().partition(|trail| trail.written >= limit);
        let used = self.used(&young)?;
        let is_used = |tag: &CacheTag| used.contains(&(tag.scope.clone(), tag.id.clone()));
        let unused = others.into_iter().filter(|tag| !is_used(tag));
        // A step whose build is still at work is in no trail yet.
        let unused = self.look_at(unused.collect())?.into_iter();
        old.extend(unused.filter(|found| found.written < limit));
        let pruned = CachePruned { removed: old.len(), kept: tags.len() - old.len() };
        if is_trial || old.is_empty() {
            return Ok(pruned);
        }
        let documents = old.iter().map(|found| (found.tag.to_string(), Digest::of(&found.bytes)));
        if self.place.remove(&documents.collect(), limit)? {
            return Ok(pruned);
        }
        let kept: HashSet<Digest> = young.iter().map(|found| Digest::of(&found.bytes)).collect();
        let failure = Mutex::new(None);
        let removed: Result<(), ()> = parallel::for_each(AT_ONCE, &old, |found| {
            self.remove(found, &kept).map_err(|error| {
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            })
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) if removed.is_err() => Err(error),
            _ => Ok(pruned),
        }
    }

    /// Removes a document by its tag. A registry that removes no tags is given the digest, unless
    /// something that is kept has it.
    fn remove(&self, found: &Found, kept: &HashSet<Digest>) -> Result<(), CacheAdminError> {
        let unsupported = || CacheAdminError::NoDelete { cache: self.place.to_string() };
        if self.place.delete(&found.tag.to_string())? == Deletion::Done {
            return Ok(());
        }
        // The bytes of a document say which tag they have, so no other document has this digest.
        let digest = Digest::of(&found.bytes);
        match kept.contains(&digest) {
            true => Err(unsupported()),
            false if self.place.delete(&digest.to_string())? == Deletion::Done => Ok(()),
            false => Err(unsupported()),
        }
    }

    /// Returns scope and key of each step that a trail names.
    fn used(&self, trails: &[Found]) -> Result<HashSet<(String, String)>, CacheAdminError> {
        let used = Mutex::new(HashSet::new());
        parallel::for_each(AT_ONCE, trails, |found| {
            let fault = |source| {
                let source = Box::new(source);
                CacheAdminError::Trail { tag: found.tag.to_string(), source }
            };
            let read = || -> Result<Trail, CacheError> {
                let scope = Scope::new(&found.scope).map_err(|_| {
                    xbuild_cache::CacheDocumentError::Shape { what: "its scope has no name" }
                })?;
                let manifest = TrailManifest::list(&found.bytes, &scope)?;
                Ok(Trail::read(&manifest, &self.place.blob(&manifest.blob, MAX_TRAIL, None)?)?)
            };
            let trail = read().map_err(fault)?;
            let names =
                trail.records.iter().map(|record| (found.tag.scope.clone(), record.key.hex()));
            used.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
            Ok::<_, CacheAdminError>(())
        })?;
        Ok(used.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn tags(&self, all_scopes: bool) -> Result<BTreeSet<CacheTag>, CacheAdminError> {
        let own = self.scope.id();
        let tags = self.place.tags()?;
        let tags = tags.iter().filter_map(|tag| CacheTag::parse(tag));
        Ok(tags.filter(|tag| all_scopes || tag.scope == own).collect())
    }

    /// Reads documents. Those that are gone by now, or are none of ours, are left out.
    fn look_at(&self, tags: Vec<CacheTag>) -> Result<Vec<Found>, CacheAdminError> {
        let now = SystemTime::now();
        let found = Mutex::new(BTreeMap::new());
        parallel::for_each(AT_ONCE, &tags, |tag| {
            let Some(bytes) = self.place.manifest(&tag.to_string())? else { return Ok(()) };
            let Some((written, scope)) = written_at(&bytes, now) else { return Ok(()) };
            let document = Found { tag: tag.clone(), bytes: bytes.to_vec(), written, scope };
            found.lock().unwrap_or_else(PoisonError::into_inner).insert(tag.clone(), document);
            Ok::<_, CacheError>(())
        })?;
        Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect())
    }
}
