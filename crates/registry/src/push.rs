//! Pushing assembled images: blobs, then manifests, then tags.
//!
//! A tag moves only once all blobs and manifests are in all registries that the push goes to.
//! **Source** — OCI distribution-spec § Push.

use std::fmt;
use std::io;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use tracing::debug_span;
use tracing::field::{Empty, display};
use xbuild_image::parallel::for_each;
use xbuild_image::printable::printable;
use xbuild_image::{Built, ContentDocument};
use xbuild_model::{BlobSource, Descriptor, Digest, Reference, WrongBytes};

use crate::auth::scope::Scope;
use crate::client::Client;
use crate::detail::Detail;
use crate::endpoint::Endpoint;
use crate::error::{PushError, RequestError};
use crate::look::{Look, Seen, digest_of};
use crate::request::{Call, Payload};
use crate::upload::{Mount, Session, UploadError, Uploads};

/// A push: images and their destinations.
pub struct Push<'a> {
    /// The tags to move; at least one. Several may be of one repository.
    pub targets: &'a [Reference],
    /// Moves no tag: the images can be pulled only by their digests.
    pub by_digest: bool,
    /// The images.
    pub built: &'a Built<'a>,
    /// Called for each event, by several threads.
    pub progress: &'a (dyn Fn(PushEvent<'_>) + Sync),
}

impl fmt::Debug for Push<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push")
            .field("targets", &self.targets)
            .field("by_digest", &self.by_digest)
            .field("built", &self.built)
            .finish_non_exhaustive()
    }
}

/// An event of a push. `repository` is registry and repository.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum PushEvent<'a> {
    /// The push of a blob begins.
    Started {
        /// The destination.
        repository: &'a str,
        /// The blob.
        blob: &'a Descriptor,
    },
    /// More bytes of a blob were sent. After a failure, bytes are sent and counted again.
    Sent {
        /// The destination.
        repository: &'a str,
        /// The blob.
        blob: &'a Descriptor,
        /// The number of bytes.
        bytes: u64,
    },
    /// A blob is in the repository.
    Finished {
        /// The destination.
        repository: &'a str,
        /// The blob.
        blob: &'a Descriptor,
        /// How the blob got there.
        how: BlobOutcome,
    },
    /// A manifest, or the index, is in the repository.
    Manifest {
        /// The destination.
        repository: &'a str,
        /// Its descriptor.
        manifest: &'a Descriptor,
    },
    /// A tag names the new image.
    Tagged {
        /// The tag.
        reference: &'a Reference,
        /// The digest that the tag names.
        digest: &'a Digest,
    },
}

/// How a blob got into a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobOutcome {
    /// The repository had it.
    Present,
    /// The registry took it over from another of its repositories.
    Mounted,
    /// It was sent.
    Uploaded,
}

impl fmt::Display for BlobOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Present => "was there",
            Self::Mounted => "was mounted",
            Self::Uploaded => "was uploaded",
        })
    }
}

/// Returns whether a registry refuses a tag because it is given already.
fn is_immutable(error: &RequestError) -> bool {
    let says = |text: &&str| error.detail().is_some_and(|detail| detail.says(text));
    ["immutable", "already exists", "overwrit", "tag_invalid"].iter().any(says)
        || matches!(error.status(), Some(409 | 412))
}

/// Codes of errors of a registry that lacks something that a manifest names.
const UNKNOWN: &[&str] = &["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"];
/// Times that what a registry lacks is sent again.
const MAX_HEALS: u32 = 4;

/// A repository of the push.
struct Destination<'a> {
    client: &'a Client,
    endpoint: Endpoint,
    reference: &'a Reference,
    name: String,
    /// Repositories of the same registry that have all blobs by now.
    siblings: Vec<&'a str>,
}

impl Client {
    /// Pushes images.
    ///
    /// **Errors** — the first failure. No tag has moved by then, unless moving a tag failed: those
    /// before it in `targets` have.
    pub fn push(&self, push: &Push<'_>) -> Result<(), PushError> {
        let destinations = self.destinations(push.targets)?;
        let root = &push.built.content.root().descriptor;
        for destination in &destinations {
            destination.push_blobs(push)?;
            destination.push_children(push)?;
        }
        for destination in destinations.iter().filter(|_| push.by_digest) {
            destination.put_root(push, &root.digest.to_string())?;
            destination.tell_manifest(push, root);
        }
        for target in push.targets.iter().filter(|_| !push.by_digest) {
            let own = |d: &&Destination<'_>| is_same_repository(d.reference, target);
            let destination = destinations.iter().find(own).expect("each target has one");
            destination.put_tag(push, target.tag().unwrap_or("latest"))?;
            (push.progress)(PushEvent::Tagged { reference: target, digest: &root.digest });
        }
        Ok(())
    }

    /// Asks whether images may be pushed: begins an upload in each repository and gives it up.
    ///
    /// **Errors** — a registry denies it, or does not know the repository. Whatever else goes wrong
    /// is left to the push.
    pub fn may_push(&self, targets: &[Reference]) -> Result<(), PushError> {
        for destination in self.destinations(targets)? {
            let uploads = Uploads::new(
                &self.connections,
                &destination.endpoint,
                destination.reference.repository(),
            );
            match uploads.try_begin() {
                Err(
                    source @ (RequestError::Denied { .. }
                    | RequestError::Challenge { .. }
                    | RequestError::TokenServer { status: 401 | 403, .. }
                    | RequestError::Status { status: 401 | 403 | 404, .. }),
                ) => return Err(destination.failed("images".to_owned(), source)),
                Err(source @ RequestError::Cancelled) => {
                    return Err(destination.failed("images".to_owned(), source));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the repositories of the targets, each once, in the order of the targets.
    fn destinations<'a>(
        &'a self,
        targets: &'a [Reference],
    ) -> Result<Vec<Destination<'a>>, PushError> {
        let mut destinations: Vec<Destination<'_>> = Vec::new();
        for target in targets {
            if destinations.iter().any(|d| is_same_repository(d.reference, target)) {
                continue;
            }
            let name = format!("{}/{}", target.registry(), target.repository());
            let endpoint =
                Endpoint::for_push(target, &self.connections.options).map_err(|source| {
                    PushError::Request {
                        what: "images".to_owned(),
                        repository: name.clone(),
                        source: Box::new(source),
                    }
                })?;
            let same_registry =
                destinations.iter().filter(|d| d.reference.registry() == target.registry());
            let siblings = same_registry.map(|d| d.reference.repository()).collect();
            let client = self;
            destinations.push(Destination { client, endpoint, reference: target, name, siblings });
        }
        Ok(destinations)
    }
}

fn is_same_repository(a: &Reference, b: &Reference) -> bool {
    (a.registry(), a.repository()) == (b.registry(), b.repository())
}

impl Destination<'_> {
    fn push_blobs(&self, push: &Push<'_>) -> Result<(), PushError> {
        // Whoever pulls a foreign layer fetches it from the places that its descriptor names.
        let mut blobs = push.built.content.blobs();
        blobs.retain(|blob| !blob.is_foreign());
        // Largest first: no thread is left alone with a large blob at the end.
        blobs.sort_by_key(|blob| std::cmp::Reverse(blob.size));
        for_each(self.client.connections.options.jobs, &blobs, |blob| self.push_blob(push, blob))
    }

    fn push_blob(&self, push: &Push<'_>, blob: &Descriptor) -> Result<(), PushError> {
        let span = debug_span!("blob", digest = %blob.digest, size = blob.size, how = Empty);
        let repository = self.name.as_str();
        (push.progress)(PushEvent::Started { repository, blob });
        let how = span.in_scope(|| self.place_blob(push, blob))?;
        span.record("how", display(how));
        (push.progress)(PushEvent::Finished { repository, blob, how });
        Ok(())
    }

    fn place_blob(&self, push: &Push<'_>, blob: &Descriptor) -> Result<BlobOutcome, PushError> {
        let failed = |source| self.failed(format!("blob {}", blob.digest), source);
        let uploads = self.uploads();
        if uploads.has(blob).map_err(failed)? {
            return Ok(BlobOutcome::Present);
        }
        let mut session = None;
        if let Some(from) = self.mountable(push.built.base(blob)) {
            match uploads.mount(&blob.digest, from).map_err(failed)? {
                Mount::Done => return Ok(BlobOutcome::Mounted),
                Mount::Session(url) => session = Some(url),
                Mount::Refused => {}
            }
        }
        self.send_blob(push, blob, &uploads, session)?;
        Ok(BlobOutcome::Uploaded)
    }

    fn uploads(&self) -> Uploads<'_> {
        let repository = self.reference.repository();
        Uploads::new(&self.client.connections, &self.endpoint, repository)
    }

    fn send_blob(
        &self,
        push: &Push<'_>,
        blob: &Descriptor,
        uploads: &Uploads<'_>,
        mut session: Option<Session>,
    ) -> Result<(), PushError> {
        let found = push.built.find(blob);
        let found =
            found.map_err(|source| PushError::Layer { digest: blob.digest.clone(), source })?;
        let open = |offset| match offset {
            0 => found.open_checked().map_err(io::Error::other),
            _ => found.open(offset).map_err(io::Error::other),
        };
        let repository = self.name.as_str();
        let sent = |bytes| (push.progress)(PushEvent::Sent { repository, blob, bytes });
        let mut is_second = false;
        loop {
            let source = match uploads.upload(blob, session.take(), &open, &sent) {
                Ok(()) => return Ok(()),
                Err(UploadError::Request(source)) => {
                    return Err(self.failed(format!("blob {}", blob.digest), source));
                }
                Err(UploadError::Source(source)) => source,
            };
            // A proxy may have changed some bytes; those of mirrors do not count.
            let helps = WrongBytes::within(&source).is_some()
                && (push.built.distrust(blob) || !std::mem::replace(&mut is_second, true));
            if !helps {
                let (digest, repository) = (blob.digest.clone(), self.name.clone());
                return Err(PushError::Source { digest, repository, source });
            }
        }
    }

    /// Returns a repository of this registry that has the blob: one of this push, else the one that
    /// the base image was pulled from.
    fn mountable<'b>(&'b self, base: Option<&'b BlobSource>) -> Option<&'b str> {
        let base = base.and_then(|source| match source {
            BlobSource::Registry { registry, repository } => Some((registry, repository)),
            BlobSource::Layout { .. } | BlobSource::Store => None,
        });
        let base = base
            .filter(|(registry, _)| *registry == self.reference.registry())
            .map(|(_, repository)| repository.as_str())
            .filter(|repository| *repository != self.reference.repository());
        self.siblings.first().copied().or(base)
    }

    /// Puts the manifests that the root names, by their digests.
    fn push_children(&self, push: &Push<'_>) -> Result<(), PushError> {
        for document in push.built.content.children() {
            self.put_child(push, document)?;
            self.tell_manifest(push, &document.descriptor);
        }
        Ok(())
    }

    fn put_child(&self, push: &Push<'_>, document: &ContentDocument) -> Result<(), PushError> {
        let by = document.descriptor.digest.to_string();
        self.healing(
            |lost| self.send_again(push, &document.blobs.iter().collect::<Vec<_>>(), lost),
            || self.put_manifest(&by, &document.descriptor, &document.bytes),
        )
    }

    /// Puts the root by its digest or by a tag.
    fn put_root(&self, push: &Push<'_>, by: &str) -> Result<(), PushError> {
        let content = &push.built.content;
        let root = content.root();
        let again = |lost: &[Digest]| {
            self.send_again(push, &content.blobs(), lost)?;
            self.push_children(push)
        };
        self.healing(again, || self.put_manifest(by, &root.descriptor, &root.bytes))
    }

    /// Makes a tag name the root. A tag that does so already stays as it is: some registries let a
    /// tag be given only once.
    fn put_tag(&self, push: &Push<'_>, tag: &str) -> Result<(), PushError> {
        let digest = &push.built.content.root().descriptor.digest;
        let is_named = |seen: &Seen| matches!(seen, Seen::Manifest(named) if named == digest);
        if is_named(&self.registry().look(tag)) {
            return Ok(());
        }
        match self.put_root(push, tag) {
            Err(PushError::Request { what, repository, source }) if is_immutable(&source) => {
                match self.registry().look(tag) {
                    // Another push of the same image may have been faster.
                    seen if is_named(&seen) => Ok(()),
                    Seen::Manifest(_) => {
                        Err(PushError::ImmutableTag { tag: tag.to_owned(), repository, source })
                    }
                    // It was refused for another reason.
                    _ => Err(PushError::Request { what, repository, source }),
                }
            }
            other => other,
        }
    }

    fn registry(&self) -> Look<'_> {
        let repository = self.reference.repository();
        Look { connections: &self.client.connections, endpoint: &self.endpoint, repository }
    }

    /// Does `put`, and again after the registry said that it lacks something. Before that `again` is
    /// called with what it lacks, empty if it does not say: a registry may forget a blob, or know of
    /// one that it does not have.
    fn healing(
        &self,
        again: impl Fn(&[Digest]) -> Result<(), PushError>,
        put: impl Fn() -> Result<(), PushError>,
    ) -> Result<(), PushError> {
        let mut failures = 0;
        loop {
            let (what, repository, source) = match put() {
                Err(PushError::Request { what, repository, source }) => (what, repository, source),
                other => return other,
            };
            failures += 1;
            if failures > MAX_HEALS || !UNKNOWN.iter().any(|code| source.has_code(code)) {
                return Err(PushError::Request { what, repository, source });
            }
            self.client.connections.wait(&self.endpoint, failures, &source);
            let lost = source.detail().map(Detail::digests).unwrap_or_default();
            // The first time a registry that does not say what it lacks may only be late.
            if !lost.is_empty() || failures > 1 {
                again(lost)?;
            }
        }
    }

    /// Sends blobs again, whatever the registry says that it has: those in `lost`, or all if none of
    /// them is there.
    fn send_again(
        &self,
        push: &Push<'_>,
        all: &[&Descriptor],
        lost: &[Digest],
    ) -> Result<(), PushError> {
        let (mut blobs, named): (Vec<&Descriptor>, Vec<&Descriptor>) =
            all.iter().copied().partition(|blob| !lost.contains(&blob.digest));
        if let Some(foreign) = named.iter().find(|blob| blob.is_foreign()) {
            let (digest, repository) = (foreign.digest.clone(), self.name.clone());
            return Err(PushError::Foreign { digest, repository });
        }
        if !named.is_empty() {
            blobs = named;
        }
        blobs.retain(|blob| !blob.is_foreign());
        for_each(self.client.connections.options.jobs, &blobs, |blob| {
            self.send_blob(push, blob, &self.uploads().in_disbelief(), None)
        })
    }

    /// Puts a manifest. Some proxies answer 200 to anything: an answer other than the usual one is
    /// believed only if the registry does not deny that it has the manifest.
    ///
    /// **Source** — OCI distribution-spec § Pushing Manifests: 201, and the digest.
    fn put_manifest(
        &self,
        by: &str,
        descriptor: &Descriptor,
        bytes: &[u8],
    ) -> Result<(), PushError> {
        let repository = self.reference.repository();
        let scope = Scope::push(repository);
        let url = self.endpoint.manifest(repository, by);
        let mut call = Call::new(&self.endpoint, &scope, Method::PUT, url);
        let media_type = HeaderValue::try_from(descriptor.media_type.as_str());
        call.headers.extend(media_type.ok().map(|value| (CONTENT_TYPE, value)));
        call.payload = Payload::Bytes(Bytes::copy_from_slice(bytes));
        let what = if by.contains(':') { format!("manifest {by}") } else { format!("tag {by}") };
        let answer = match self.client.connections.call(&call) {
            Ok(answer) => answer,
            Err(source) => return Err(self.failed(what, source)),
        };
        let (expected, status) = (&descriptor.digest, answer.status().as_u16());
        let stored = digest_of(&answer).filter(|stored| stored.starts_with("sha256:"));
        match stored {
            Some(stored) if stored != expected.to_string() => Err(PushError::OtherDigest {
                repository: self.name.clone(),
                expected: expected.clone(),
                actual: printable(stored, 100),
            }),
            Some(_) if status == 201 => Ok(()),
            _ if self.registry().lacks(expected) => {
                Err(PushError::NotStored { repository: self.name.clone(), what, status })
            }
            _ => Ok(()),
        }
    }

    fn tell_manifest(&self, push: &Push<'_>, manifest: &Descriptor) {
        (push.progress)(PushEvent::Manifest { repository: &self.name, manifest });
    }

    fn failed(&self, what: String, source: RequestError) -> PushError {
        PushError::Request { what, repository: self.name.clone(), source: Box::new(source) }
    }
}
