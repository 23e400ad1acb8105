//! Pushing layers while the build goes on.
//!
//! A large layer is sent while it is written, any other when it is complete. The final push sends
//! the layers that are missing.

use std::io;
use std::sync::Arc;

use xbuild_model::transfer::{Direction, Metered, Moving, OnTransfer, Transfer};
use xbuild_model::{Descriptor, Digest, Reference};
use xbuild_registry::Client;
use xbuild_store::GrowingBlob;

use crate::build::Build;
use crate::request::CachePlaceRequest;
use crate::tools::BlobSink;
use crate::transfers::{Begun, told};
use crate::workers::Workers;

/// The size in bytes from which a blob is sent before it is complete, although without its digest
/// nobody can ask whether the registry has it.
const LARGE: u64 = 4 << 20;

/// How many layers are sent at once. They share the connection with pulls.
const AT_ONCE: usize = 2;

/// How many layers may wait. Each is an open file, and a process may have about a thousand.
const WAITING: usize = 64;

/// Sends layers to a repository. If the build fails, registries remove the layers, which belong to
/// no image.
#[derive(Debug)]
pub(crate) struct PushAhead(Workers<GrowingBlob>);

/// A repository that layers are sent to.
struct Sender {
    client: Client,
    target: Reference,
    on: OnTransfer,
}

impl PushAhead {
    /// Starts to send to the repository of the first name of a build; `None` if nothing is pushed.
    pub(crate) fn of(build: &Build) -> Option<Self> {
        // The first form is the one that the engine makes, unless its times are rewritten.
        let is_ready = build.variants[0].is_pushed && !build.variants[0].layers.clamp_times;
        let target = build.variants[0].names.first().or_else(|| only_repository(build));
        let on = told(&build.events);
        // A cache in the same registry gets the layers first, and the push takes them over.
        let has_cache = |target: &&Reference| {
            build.request.cache.to.iter().any(|to| match &to.place {
                CachePlaceRequest::Registry(name) => name.registry() == target.registry(),
                CachePlaceRequest::Layout(_) => false,
            })
        };
        let target = target.filter(|target| !has_cache(target));
        target.filter(|_| is_ready).map(|target| Self::new(&build.client, target, on))
    }

    fn new(client: &Client, target: &Reference, on: OnTransfer) -> Self {
        let sender = Sender { client: client.clone(), target: target.clone(), on };
        // Without a thread nothing is sent ahead.
        Self(Workers::start("push-ahead", AT_ONCE, move |blob| {
            // Skip an abandoned blob; the final push sends what is missing.
            let _ = sender.send(blob);
        }))
    }

    /// Returns a function that takes blobs to send.
    pub(crate) fn sink(&self) -> BlobSink {
        let queue = Arc::clone(self.0.queue());
        // The final push sends a layer that finds no room here.
        Arc::new(move |blob| queue.offer(blob, WAITING))
    }

    /// Waits for the layers that are being sent, and drops those that wait.
    pub(crate) fn finish(self) {
        self.0.abandon();
    }
}

/// Returns a name of the repository that the names of all platforms are of.
fn only_repository(build: &Build) -> Option<&Reference> {
    let mut names = build.request.platform_tags.iter().map(|tag| &tag.name);
    let first = names.next()?;
    let place = |name: &Reference| (name.registry().to_owned(), name.repository().to_owned());
    names.all(|name| place(name) == place(first)).then_some(first)
}

impl Sender {
    /// Returns the transfer of a blob: its digest and its size in bytes, if they are known.
    fn transfer(&self, blob: Option<(Digest, u64)>) -> Transfer {
        let place = format!("{}/{}", self.target.registry(), self.target.repository());
        Transfer::new(Direction::Push, place, blob)
    }

    /// Sends a blob when it is complete or large; returns whether the registry has it.
    ///
    /// **Errors** — if the blob was abandoned.
    fn send(&self, blob: GrowingBlob) -> io::Result<bool> {
        match blob.wait_for(LARGE)? {
            Some((digest, size)) => {
                // Any media type will do: it is not sent with a blob.
                let descriptor = Descriptor::new("application/octet-stream", digest, size);
                let known = Some((descriptor.digest.clone(), size));
                let moving = Begun::later(self.transfer(known), &self.on);
                let sent = |bytes| moving.moved(bytes);
                Ok(self.client.push_blob(&self.target, &descriptor, &blob.into_file(), &sent))
            }
            None => {
                let end = blob.again()?;
                let digest = || end.wait_for(u64::MAX).ok().flatten().map(|(digest, _)| digest);
                let moving = Moving::begin(self.transfer(None), Arc::clone(&self.on));
                let bytes = Box::new(Metered::new(blob, Some(moving)));
                Ok(self.client.push_stream(&self.target, bytes, &digest))
            }
        }
    }
}
