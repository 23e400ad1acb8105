//! Records: small documents that say what belongs together.

use serde::{Deserialize, Serialize};
use xbuild_model::{Chain, Descriptor, Digest};

/// What a step resulted in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRecord {
    /// The layers that the step added, usually one; none for a WORKDIR that existed.
    pub added: Chain,
    /// When the step ran, RFC 3339: the image made from a hit is the image made by the run.
    pub created: String,
    /// The step, for `xbuild du`.
    pub description: String,
}

/// Which blob holds a layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    #[serde(flatten)]
    pub(crate) blob: Descriptor,
    /// The name of the blob's encoding, if the blob was made here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) encoding: Option<String>,
}

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Its full name with tag.
    pub name: String,
    /// Its manifest or index.
    pub target: Descriptor,
}

const DIGEST_LENGTH: usize = 64;

/// Puts the digest of `bytes` before them.
pub(crate) fn seal(bytes: &[u8]) -> Vec<u8> {
    let mut sealed = Digest::of(bytes).hex().into_bytes();
    sealed.push(b'\n');
    sealed.extend_from_slice(bytes);
    sealed
}

/// Returns what was sealed, `None` if it is not whole.
pub(crate) fn unseal(mut sealed: Vec<u8>) -> Option<Vec<u8>> {
    let bytes = sealed.get(DIGEST_LENGTH + 1..)?;
    if sealed[..DIGEST_LENGTH] != *Digest::of(bytes).hex().as_bytes() {
        return None;
    }
    sealed.drain(..=DIGEST_LENGTH);
    Some(sealed)
}
