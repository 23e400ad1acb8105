//! A repository or a layout with documents of a cache.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};
use xbuild_cache::Document;
use xbuild_image::{BlobPlace, Built, Content, Layout, LayoutContent, LayoutError, NamedContent};
use xbuild_model::seam::Blobs as _;
use xbuild_model::transfer::{Direction, Metered, Moving, OnTransfer, Transfer};
use xbuild_model::{BlobSource, Descriptor, Digest, LayerBlob, Reference};
use xbuild_registry::{Client, Deletion, Push, PushEvent};
use xbuild_store::Store;

use crate::error::CacheError;
use crate::request::CachePlaceRequest;
use crate::transfers::PushedBlobs;

/// A place of a cache.
pub(super) enum Place {
    Registry { client: Client, name: Reference },
    Layout { client: Client, path: PathBuf, opened: OnceLock<Option<Layout>> },
}

/// A document with the layers of steps that it brings along.
pub(super) struct Outgoing {
    pub(super) tag: String,
    pub(super) document: Document,
    /// The layers to send; those that it names and that are there already are left out.
    pub(super) layers: Vec<LayerBlob>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry { name, .. } => name.fmt(f),
            Self::Layout { path, .. } => path.display().fmt(f),
        }
    }
}

impl Place {
    pub(super) fn new(client: &Client, place: &CachePlaceRequest) -> Self {
        let client = client.clone();
        match place {
            CachePlaceRequest::Registry(name) => Self::Registry { client, name: name.clone() },
            CachePlaceRequest::Layout(path) => {
                Self::Layout { client, path: path.clone(), opened: OnceLock::new() }
            }
        }
    }

    /// Returns where its blobs are.
    pub(super) fn blobs(&self) -> BlobSource {
        match self {
            Self::Registry { name, .. } => BlobSource::Registry {
                registry: name.registry().to_owned(),
                repository: name.repository().to_owned(),
            },
            Self::Layout { path, .. } => BlobSource::Layout { path: path.clone() },
        }
    }

    /// Returns the manifest of a tag; `None` if there is none.
    pub(super) fn manifest(&self, tag: &str) -> Result<Option<Bytes>, CacheError> {
        match self {
            Self::Registry { client, name } => Ok(client.find_manifest(name, tag)?),
            Self::Layout { path, opened, .. } => match self.layout(path, opened)? {
                Some(layout) => Ok(layout.find_manifest(tag)?),
                None => Ok(None),
            },
        }
    }

    /// Returns all tags.
    pub(super) fn tags(&self) -> Result<BTreeSet<String>, CacheError> {
        match self {
            Self::Registry { client, name } => Ok(client.tags(name)?),
            Self::Layout { path, opened, .. } => {
                let layout = self.layout(path, opened)?;
                let tags = layout.into_iter().flat_map(Layout::all_tags);
                Ok(tags.map(str::to_owned).collect())
            }
        }
    }

    /// Removes a tag, or a manifest by its digest. Of layouts, [`remove`](Self::remove) does.
    pub(super) fn delete(&self, name: &str) -> Result<Deletion, CacheError> {
        match self {
            Self::Registry { client, name: place } => Ok(client.delete(place, name)?),
            Self::Layout { .. } => Ok(Deletion::Unsupported),
        }
    }

    /// Locks a layout against other builds that write it; registries need no lock. What is read after this
    /// is what is there.
    pub(super) fn lock(&self) -> Result<Option<File>, CacheError> {
        match self {
            Self::Layout { path, .. } if path.is_dir() => lock(path).map(Some),
            Self::Layout { .. } | Self::Registry { .. } => Ok(None),
        }
    }

    /// Removes documents of a layout that is locked, by tag and digest, with the blobs that nothing else
    /// needs. Returns whether this place is a layout.
    pub(super) fn remove(
        &self,
        documents: &HashSet<(String, Digest)>,
        unused_since: SystemTime,
    ) -> Result<bool, CacheError> {
        match self {
            Self::Registry { .. } => Ok(false),
            Self::Layout { path, .. } => {
                Layout::remove(path, documents, unused_since)?;
                Ok(true)
            }
        }
    }

    /// Returns the tag under which other builders would have their cache.
    pub(super) fn tag_of_others(&self) -> &str {
        match self {
            Self::Registry { name, .. } => name.tag().unwrap_or("latest"),
            Self::Layout { .. } => "latest",
        }
    }

    /// Reads a blob to its end, and compares it with its descriptor. `on` is told of its bytes if they come
    /// from a registry. If a mirror has other bytes, the next place is asked.
    pub(super) fn blob(
        &self,
        blob: &Descriptor,
        limit: u64,
        on: Option<OnTransfer>,
    ) -> Result<Vec<u8>, CacheError> {
        let (Self::Registry { client, .. } | Self::Layout { client, .. }) = self;
        loop {
            let bytes = self.bytes(blob, limit, on.clone())?;
            if bytes.len() as u64 == blob.size && Digest::of(&bytes) == blob.digest {
                return Ok(bytes);
            }
            if !client.distrust(blob) {
                let source = io::ErrorKind::InvalidData.into();
                return Err(CacheError::Blob { digest: blob.digest.clone(), source });
            }
        }
    }

    fn bytes(
        &self,
        blob: &Descriptor,
        limit: u64,
        on: Option<OnTransfer>,
    ) -> Result<Vec<u8>, CacheError> {
        let (Self::Registry { client, .. } | Self::Layout { client, .. }) = self;
        let mut bytes = Vec::new();
        let moving = match (self.blobs(), on) {
            (BlobSource::Registry { registry, repository }, Some(on)) => {
                let (place, known) =
                    (format!("{registry}/{repository}"), (blob.digest.clone(), blob.size));
                Some(Moving::begin(Transfer::new(Direction::CacheFrom, place, Some(known)), on))
            }
            _ => None,
        };
        let input = Metered::new(client.open(blob, &self.blobs(), 0)?, moving);
        let size = blob.size.min(limit);
        let read = input.take(size.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|source| CacheError::Blob { digest: blob.digest.clone(), source })?;
        Ok(bytes)
    }

    fn layout<'a>(
        &self,
        path: &Path,
        opened: &'a OnceLock<Option<Layout>>,
    ) -> Result<Option<&'a Layout>, CacheError> {
        if let Some(layout) = opened.get() {
            return Ok(layout.as_ref());
        }
        let layout = match Layout::open(path) {
            Ok(layout) => Some(layout),
            Err(LayoutError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        Ok(opened.get_or_init(|| layout).as_ref())
    }

    /// Writes documents: to a registry each by itself, to a layout all at once. `on` is told of the bytes
    /// that go to a registry.
    ///
    /// **Errors** — the first failure; documents before it are there.
    pub(super) fn put(
        &self,
        store: &Store,
        documents: &[Outgoing],
        on: &OnTransfer,
    ) -> Result<(), CacheError> {
        let (Self::Registry { client, .. } | Self::Layout { client, .. }) = self;
        let built: Vec<Built<'_>> =
            documents.iter().map(|document| document.built(store, client)).collect();
        match self {
            Self::Registry { client, name } => {
                let blobs = PushedBlobs::new(Direction::CacheTo, Arc::clone(on));
                let progress = |event: PushEvent<'_>| blobs.event(event);
                for (document, built) in documents.iter().zip(&built) {
                    let target =
                        format!("{}/{}:{}", name.registry(), name.repository(), document.tag);
                    let target: Reference = target.parse().expect("our tags are tags");
                    let targets = std::slice::from_ref(&target);
                    client.push(&Push { targets, by_digest: false, built, progress: &progress })?;
                }
                Ok(())
            }
            Self::Layout { path, .. } => {
                let _lock = lock(path)?;
                let named = |(document, built)| {
                    let document: &Outgoing = document;
                    NamedContent { built, names: &[], tag: Some(&document.tag) }
                };
                let images: Vec<_> = documents.iter().zip(&built).map(named).collect();
                let content = LayoutContent { images: &images, is_docker: false };
                Ok(content.write_folder(path)?)
            }
        }
    }
}

impl Outgoing {
    fn built<'a>(&self, store: &'a Store, client: &'a Client) -> Built<'a> {
        let Document { descriptor, bytes, manifest, blobs } = self.document.clone();
        let sent: HashMap<_, _> = self
            .layers
            .iter()
            .map(|blob| (blob.descriptor().digest.clone(), BlobPlace::from(blob)))
            .collect();
        let mut manifest = manifest;
        manifest.layers.retain(|layer| {
            sent.contains_key(&layer.digest)
                || blobs.iter().any(|(blob, _)| blob.digest == layer.digest)
        });
        let content = Content::of_manifest(descriptor, bytes, manifest);
        let stored = |digest: &Digest| Ok(store.open_sound(digest)?);
        let blobs = blobs.into_iter().map(|(blob, bytes)| (blob.digest, bytes));
        Built::of(content, sent, stored, client).holding(blobs)
    }
}

/// Locks a layout against other builds that write it: they replace its list of tags.
fn lock(path: &Path) -> Result<File, CacheError> {
    let fault = |source: io::Error| CacheError::Lock { path: path.to_owned(), source };
    std::fs::create_dir_all(path).map_err(fault)?;
    let folder = File::open(path).map_err(fault)?;
    flock(&folder, FlockOperation::LockExclusive).map_err(|errno| fault(errno.into()))?;
    Ok(folder)
}
