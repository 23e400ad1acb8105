//! The client. Its methods block; a build that needs no registry starts no thread here.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use xbuild_image::document::{Document, MAX_CONFIG, MAX_MANIFEST, check_bytes, check_limit};
use xbuild_image::{
    DocumentError, Documents, Inspection, Layout, LayoutError, ResolveError, inspect, resolve,
};
use xbuild_model::manifest::{DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use xbuild_model::seam::Blobs;
use xbuild_model::{
    BlobSource, Cancel, Descriptor, Digest, FailureKind, Platform, Reference, ResolvedImage,
    StepFailure,
};

use crate::auth::scope::Scope;
use crate::blob_read::BlobReader;
use crate::connections::Connections;
use crate::endpoint::{Endpoint, Place};
use crate::error::{PullError, RequestError};
use crate::foreign_read::{ForeignReader, NamedBy};
use crate::options::{ClientOptions, Retries};
use crate::request::Call;
use crate::transport::origin::Origin;
use crate::transport::reach::{Class, Reach};

/// Keeps manifests and configurations between runs, by digest.
///
/// The bytes that it returns are checked as those of a registry are.
pub trait DocumentCache: Send + Sync + fmt::Debug {
    /// Returns the bytes of a document, if they are there.
    fn get(&self, digest: &Digest) -> Option<Vec<u8>>;

    /// Keeps a document. The cache may fail to: then the document is requested again.
    fn put(&self, digest: &Digest, bytes: &[u8]);
}

/// A client for any number of registries. Clones share connections, tokens and documents.
///
/// A tag is resolved once: all platforms of a build see the same image, even if the tag moves
/// meanwhile. **Source** — OCI distribution-spec 1.1.
///
/// ```no_run
/// use xbuild_registry::{Client, ClientOptions};
///
/// let client = Client::new(ClientOptions::default());
/// let image = client.resolve(&"busybox".parse()?, &"linux/arm64".parse()?)?;
/// println!("{} has {} layers", image.manifest.digest, image.layers.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) connections: Arc<Connections>,
    known: Arc<Known>,
    cache: Option<Arc<dyn DocumentCache>>,
    /// The attempts at blobs.
    retries: Retries,
}

/// The documents that this client and its clones have read.
#[derive(Debug, Default)]
struct Known {
    /// Reference -> the manifest or index that it names.
    roots: Mutex<HashMap<Reference, (Descriptor, Bytes)>>,
    /// Registry, repository and digest -> document.
    documents: Mutex<HashMap<(String, String, Digest), Bytes>>,
}

impl Client {
    /// Returns a client. Nothing is connected, read or started yet.
    pub fn new(options: ClientOptions) -> Self {
        let retries = options.retries;
        let connections = Arc::new(Connections::new(options));
        Self { connections, known: Arc::default(), cache: None, retries }
    }

    /// Uses `cache` for manifests and configurations.
    #[must_use]
    pub fn with_cache(mut self, cache: Arc<dyn DocumentCache>) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Returns a clone that gives up sooner where it reads blobs, and clients [`apart`](Self::apart) from it
    /// in all that they do: for what can be done without.
    #[must_use]
    pub fn hasty(&self) -> Self {
        Self { retries: Retries::hasty(), ..self.clone() }
    }

    /// Returns a client with the same options that shares nothing else with this one: `cancel` ends
    /// its requests, and a push sends `jobs` blobs at a time.
    #[must_use]
    pub fn apart(&self, cancel: Cancel, jobs: usize) -> Self {
        let retries = self.retries;
        Self::new(ClientOptions { cancel, jobs, retries, ..(*self.connections.options).clone() })
    }

    /// Returns the image that a reference names for a platform. No layer is pulled.
    ///
    /// An image without an index is returned even if its platform is another one; the result names
    /// it.
    ///
    /// **Errors** — [`PullError::NotFound`], [`PullError::Image`] and [`PullError::Request`].
    pub fn resolve(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<ResolvedImage, PullError> {
        resolve(&self.documents(reference)?, platform)
    }

    /// Returns the documents of the image that a reference names, which are requested one by one
    /// when they are read.
    ///
    /// **Errors** — the registry has options that make no sense.
    pub fn documents<'a>(
        &'a self,
        reference: &'a Reference,
    ) -> Result<impl Documents<Error = PullError> + use<'a>, PullError> {
        self.repository(reference)
    }

    /// Does the same without mirrors: what is to be changed in a registry must be what it has.
    pub fn own_documents<'a>(
        &'a self,
        reference: &'a Reference,
    ) -> Result<impl Documents<Error = PullError> + use<'a>, PullError> {
        let (registry, repository) = (reference.registry(), reference.repository());
        let name = reference.to_string();
        match Place::own(registry, repository, &self.connections.options) {
            Ok(place) => Ok(Repository { client: self, reference, places: vec![place], name }),
            Err(source) => Err(PullError::Request { name, source }),
        }
    }

    /// Returns the documents that a reference names: index, manifests, configurations.
    ///
    /// **Errors** — those of [`Client::resolve`].
    pub fn inspect(&self, reference: &Reference) -> Result<Inspection, PullError> {
        inspect(&self.documents(reference)?)
    }

    /// Asks a registry whether the login that the client has for it is right.
    ///
    /// **Errors** — the registry denies it, or cannot be asked.
    pub fn verify_login(&self, registry: &str) -> Result<(), RequestError> {
        let endpoint = Endpoint::of(registry, &self.connections.options)?;
        let scope = Scope::login();
        let call = Call::new(&endpoint, &scope, Method::GET, endpoint.root());
        self.connections.call(&call).map(drop)
    }

    /// Opens a blob of a repository at an offset in bytes; see [`Blobs::open`].
    fn open_blob(
        &self,
        registry: &str,
        repository: &str,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<BlobReader, PullError> {
        let places = self.connections.places(registry, repository).map_err(|source| {
            PullError::Request { name: format!("{registry}/{repository}"), source }
        })?;
        let places = places.into_iter().filter(|place| place.serves(true)).collect();
        BlobReader::open(Arc::clone(&self.connections), places, (descriptor, offset), self.retries)
    }

    /// Opens a foreign layer at the places that its descriptor names.
    fn open_foreign(
        &self,
        origin: Option<Origin>,
        reach: Reach,
        blob: &Descriptor,
        offset: u64,
    ) -> Result<Box<dyn Read + Send>, StepFailure> {
        let (connections, by) = (Arc::clone(&self.connections), NamedBy { origin, reach });
        Ok(Box::new(ForeignReader::open(connections, by, blob, offset)?))
    }

    fn repository<'a>(&'a self, reference: &'a Reference) -> Result<Repository<'a>, PullError> {
        let name = reference.to_string();
        match self.connections.places(reference.registry(), reference.repository()) {
            Ok(places) => Ok(Repository { client: self, reference, places, name }),
            Err(source) => Err(PullError::Request { name, source }),
        }
    }
}

impl Blobs for Client {
    fn open(
        &self,
        blob: &Descriptor,
        source: &BlobSource,
        offset: u64,
    ) -> Result<Box<dyn Read + Send>, StepFailure> {
        match source {
            BlobSource::Registry { registry, repository } => {
                let found = self.open_blob(registry, repository, blob, offset);
                match found {
                    Err(error) if blob.is_foreign() && is_missing(&error) => {
                        let place = Place::own(registry, repository, &self.connections.options);
                        let place = place.map_err(|_| error)?;
                        let origin = Some(place.endpoint.origin().clone());
                        self.open_foreign(origin, place.endpoint.reach(), blob, offset)
                    }
                    found => Ok(Box::new(found?)),
                }
            }
            BlobSource::Layout { path } => match Layout::open(path)?.open_blob(blob) {
                Err(LayoutError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound && blob.is_foreign() =>
                {
                    self.open_foreign(None, Reach::From(Class::Public), blob, offset)
                }
                found => Ok(Box::new(found?.skip(offset))),
            },
            BlobSource::Store => {
                let error = PullError::Nowhere { digest: blob.digest.clone() };
                let hint = error.hint();
                let failure = StepFailure::new(FailureKind::User, error);
                Err(hint.into_iter().fold(failure, StepFailure::with_hint))
            }
        }
    }

    fn distrust(&self, blob: &Descriptor) -> bool {
        let mirrors = self.connections.mirrors.distrust(&blob.digest);
        for mirror in &mirrors {
            let reason = format!("other bytes came than those of the blob {}", blob.digest);
            self.connections.tell_mirror_answer(mirror, reason);
        }
        !mirrors.is_empty()
    }
}

/// Returns whether a registry says that it does not have something, or does not show it.
fn is_missing(error: &PullError) -> bool {
    matches!(error, PullError::Request { source, .. } if matches!(source.status(), Some(400..=499)))
}

/// Returns the headers of a request for a manifest or index.
pub(crate) fn accepted_manifests() -> HeaderMap {
    let types = [OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST];
    types.into_iter().map(|media_type| (ACCEPT, HeaderValue::from_static(media_type))).collect()
}

/// A document that is asked for.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// The document that the reference names, with its digest if the reference has one.
    Root(Option<&'a Digest>),
    /// A part of the image: its kind and its digest.
    Part(&'static str, &'a Digest),
}

impl<'a> Wanted<'a> {
    fn digest(self) -> Option<&'a Digest> {
        match self {
            Self::Root(digest) => digest,
            Self::Part(_, digest) => Some(digest),
        }
    }

    /// Checks that an answer is what was asked for: that of a tag must be a manifest or an index.
    fn check(self, headers: &HeaderMap, bytes: &[u8]) -> Result<(), DocumentError> {
        let Some(expected) = self.digest() else {
            return Document::parse(media_type(headers).as_deref(), bytes).map(drop);
        };
        let actual = Digest::of(bytes);
        if actual == *expected {
            return Ok(());
        }
        Err(DocumentError::Digest { expected: expected.clone(), actual })
    }
}

/// Returns the media type of an answer.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    // Parameters such as a charset mean nothing for JSON.
    media_type.map(|t| t.split(';').next().unwrap_or(t).trim().to_owned())
}

/// The documents of one reference.
struct Repository<'a> {
    client: &'a Client,
    reference: &'a Reference,
    /// Mirrors, and in the end the registry itself.
    places: Vec<Place>,
    name: String,
}

impl Repository<'_> {
    /// Requests a manifest by tag or digest and returns it with the media type of the answer.
    fn get_manifest(&self, wanted: Wanted<'_>) -> Result<(Option<String>, Bytes), PullError> {
        let by = wanted.digest().map_or_else(|| self.reference.manifest_name(), Digest::to_string);
        let (headers, bytes) = self.fetch(MAX_MANIFEST, wanted, |place| {
            let url = place.endpoint.manifest(&place.repository, &by);
            (url, accepted_manifests())
        })?;
        Ok((media_type(&headers), bytes))
    }

    /// Requests a document from one place after the other. What a mirror answers counts only if it is
    /// what was asked for.
    fn fetch(
        &self,
        limit: u64,
        wanted: Wanted<'_>,
        request: impl Fn(&Place) -> (Url, HeaderMap),
    ) -> Result<(HeaderMap, Bytes), PullError> {
        let connections = &self.client.connections;
        let by_digest = wanted.digest().is_some();
        let mut failure = None;
        for place in self.places.iter().filter(|place| place.serves(by_digest)) {
            if connections.mirrors.avoid(place, None) {
                continue;
            }
            let scope = Scope::pull(&place.repository);
            let (url, headers) = request(place);
            let call = Call {
                headers,
                once: place.is_mirror,
                ..Call::new(&place.endpoint, &scope, Method::GET, url)
            };
            match connections.fetch(&call, limit) {
                Ok(found) if !place.is_mirror => return Ok(found),
                Ok((headers, bytes)) => match wanted.check(&headers, &bytes) {
                    Ok(()) => return Ok((headers, bytes)),
                    Err(fault) => {
                        let reason = format!("its answer for {} is not usable: {fault}", self.name);
                        connections.tell_mirror_answer(place.endpoint.registry(), reason);
                    }
                },
                Err(source @ RequestError::Cancelled) => return Err(self.failed(wanted, source)),
                Err(source) if place.is_mirror => connections.tell_mirror(&place.endpoint, &source),
                Err(source) => failure = Some(source),
            }
        }
        Err(self.failed(wanted, failure.expect("the last place is no mirror")))
    }

    fn failed(&self, wanted: Wanted<'_>, source: RequestError) -> PullError {
        let name = self.name.clone();
        match (source.status(), wanted) {
            (Some(404), Wanted::Root(_)) => PullError::NotFound { name },
            (Some(404), Wanted::Part(what, digest)) => {
                PullError::MissingPart { name, what, digest: digest.clone(), source: source.into() }
            }
            _ => PullError::Request { name, source },
        }
    }

    /// Returns a document by its descriptor: from memory, from the cache, or else from `get`.
    fn document(
        &self,
        what: &'static str,
        descriptor: &Descriptor,
        limit: u64,
        get: impl Fn() -> Result<Bytes, PullError>,
    ) -> Result<Bytes, PullError> {
        check_limit(descriptor, limit)
            .map_err(|source| self.invalid(what, &descriptor.digest, source))?;
        let key = (
            self.reference.registry().to_owned(),
            self.reference.repository().to_owned(),
            descriptor.digest.clone(),
        );
        let documents = &self.client.known.documents;
        let known = documents.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(bytes) = known.or_else(|| self.cached(&descriptor.digest)) {
            // The cache may be damaged: then `get` decides.
            if check_bytes(descriptor, &bytes).is_ok() {
                return Ok(bytes);
            }
        }
        let mut bytes = get()?;
        if check_bytes(descriptor, &bytes).is_err() {
            // A proxy may have lost a part of it.
            bytes = get()?;
        }
        check_bytes(descriptor, &bytes)
            .map_err(|source| self.invalid(what, &descriptor.digest, source))?;
        self.keep(&descriptor.digest, &bytes);
        documents.lock().unwrap_or_else(PoisonError::into_inner).insert(key, bytes.clone());
        Ok(bytes)
    }

    fn cached(&self, digest: &Digest) -> Option<Bytes> {
        self.client.cache.as_ref()?.get(digest).map(Bytes::from)
    }

    fn keep(&self, digest: &Digest, bytes: &[u8]) {
        if let Some(cache) = &self.client.cache {
            cache.put(digest, bytes);
        }
    }

    fn invalid(&self, what: &'static str, digest: &Digest, source: DocumentError) -> PullError {
        let source = Box::new(source);
        ResolveError::Document { name: self.name.clone(), what, digest: digest.clone(), source }
            .into()
    }

    /// Requests the manifest that the reference names, once more if it is not whole.
    fn get_named_manifest(&self) -> Result<(Option<String>, Bytes), PullError> {
        let wanted = Wanted::Root(self.reference.digest());
        let found = self.get_manifest(wanted)?;
        let is_whole = match self.reference.digest() {
            Some(pinned) => Digest::of(&found.1) == *pinned,
            None => serde_json::from_slice::<serde::de::IgnoredAny>(&found.1).is_ok(),
        };
        if is_whole { Ok(found) } else { self.get_manifest(wanted) }
    }

    /// Requests the root and finds its media type. The digest is computed from the bytes; headers
    /// do not count.
    fn get_root(&self) -> Result<(Descriptor, Bytes), PullError> {
        let pinned = self.reference.digest();
        let cached = pinned.and_then(|pinned| {
            self.cached(pinned).filter(|bytes| Digest::of(bytes) == *pinned).map(|b| (None, b))
        });
        let (claimed, bytes) = match cached {
            Some(cached) => cached,
            None => self.get_named_manifest()?,
        };
        let actual = Digest::of(&bytes);
        let expected = pinned.unwrap_or(&actual).clone();
        if actual != expected {
            let source = DocumentError::Digest { expected: expected.clone(), actual };
            return Err(self.invalid("manifest", &expected, source));
        }
        let (_, media_type) = Document::parse(claimed.as_deref(), &bytes)
            .map_err(|source| self.invalid("manifest", &actual, source))?;
        self.keep(&actual, &bytes);
        Ok((Descriptor::of(media_type.as_ref(), &bytes), bytes))
    }
}

impl Documents for Repository<'_> {
    type Error = PullError;

    fn name(&self) -> &str {
        &self.name
    }

    fn blob_source(&self) -> BlobSource {
        BlobSource::Registry {
            registry: self.reference.registry().to_owned(),
            repository: self.reference.repository().to_owned(),
        }
    }

    fn root(&self) -> Result<(Descriptor, Bytes), PullError> {
        let roots = &self.client.known.roots;
        let known =
            roots.lock().unwrap_or_else(PoisonError::into_inner).get(self.reference).cloned();
        if let Some(root) = known {
            return Ok(root);
        }
        let root = self.get_root()?;
        // Another thread may have been faster: all use the document that came first.
        let mut roots = roots.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(roots.entry(self.reference.clone()).or_insert(root).clone())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Bytes, PullError> {
        self.document("manifest", descriptor, MAX_MANIFEST, || {
            Ok(self.get_manifest(Wanted::Part("manifest", &descriptor.digest))?.1)
        })
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Bytes, PullError> {
        self.document("configuration", descriptor, MAX_CONFIG, || {
            let digest = &descriptor.digest;
            let url = |place: &Place| place.endpoint.blob(&place.repository, digest);
            let wanted = Wanted::Part("configuration", digest);
            Ok(self.fetch(MAX_CONFIG, wanted, |place| (url(place), HeaderMap::new()))?.1)
        })
    }

    fn is_of_document(error: &PullError) -> bool {
        error.is_of_document()
    }
}
