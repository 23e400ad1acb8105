//! Looking what a registry has under a tag or digest.

use reqwest::{Method, Response};
use xbuild_image::document::MAX_MANIFEST;
use xbuild_model::Digest;

use crate::auth::scope::Scope;
use crate::client::accepted_manifests;
use crate::connections::Connections;
use crate::endpoint::Endpoint;
use crate::error::RequestError;
use crate::request::Call;

/// The header with the digest of a manifest.
const DIGEST: &str = "docker-content-digest";
/// Statuses of registries that answer GET only when they are asked for a manifest.
const NO_HEAD: &[u16] = &[400, 403, 405, 406, 500, 501];

/// The manifest under a tag or digest, as far as the registry tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Manifest(Digest),
    Nothing,
    /// It does not tell.
    Unclear,
}

impl Seen {
    fn after(error: &RequestError) -> Self {
        match error.status() {
            Some(404) => Self::Nothing,
            _ => Self::Unclear,
        }
    }
}

/// A repository that is looked into.
pub(crate) struct Look<'a> {
    pub(crate) connections: &'a Connections,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) repository: &'a str,
}

impl Look<'_> {
    /// Asks the registry what it has under a tag or digest: by HEAD, and by GET if that does not
    /// tell.
    pub(crate) fn look(&self, by: &str) -> Seen {
        let repository = self.repository;
        let scope = Scope::push(repository);
        let url = self.endpoint.manifest(repository, by);
        let mut call = Call::new(self.endpoint, &scope, Method::HEAD, url);
        call.headers = accepted_manifests();
        call.accept = NO_HEAD;
        match self.connections.once(&call) {
            Err(error) => Seen::after(&error),
            Ok(answer) => {
                let named = digest_of(&answer).filter(|_| answer.status().is_success());
                let named = named.and_then(|text| text.parse().ok());
                named.map_or_else(|| self.look_inside(by), Seen::Manifest)
            }
        }
    }

    /// Asks the registry by GET.
    fn look_inside(&self, by: &str) -> Seen {
        let repository = self.repository;
        let scope = Scope::push(repository);
        let url = self.endpoint.manifest(repository, by);
        let mut call = Call::new(self.endpoint, &scope, Method::GET, url);
        call.headers = accepted_manifests();
        match self.connections.fetch(&call, MAX_MANIFEST) {
            Ok((_, bytes)) => Seen::Manifest(Digest::of(&bytes)),
            Err(error) => Seen::after(&error),
        }
    }

    /// Returns whether the registry shows that it does not have a manifest, by HEAD and by GET.
    pub(crate) fn lacks(&self, digest: &Digest) -> bool {
        let by = digest.to_string();
        let other = |seen: &Seen| match seen {
            Seen::Manifest(named) => named != digest,
            Seen::Nothing => true,
            Seen::Unclear => false,
        };
        // A registry may know no HEAD, which is a 404 as well.
        other(&self.look(&by)) && other(&self.look_inside(&by))
    }
}

/// Returns the digest in the headers of an answer.
pub(crate) fn digest_of(answer: &Response) -> Option<&str> {
    answer.headers().get(DIGEST)?.to_str().ok()
}
