//! Documents that are refused, and keys that are none.

use std::io;

use xbuild_layer::LayerError;
use xbuild_model::Digest;
use xbuild_wording::quoted;

/// Why a document of a cache is not used. The step is then not in the cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheDocumentError {
    /// It has too many bytes.
    #[error("it has more than {limit} bytes")]
    TooLarge {
        /// The bytes that it may have.
        limit: u64,
    },
    /// It is no JSON, or not that of a manifest.
    #[error("it is not a manifest")]
    Json {
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A part of it is missing or wrong.
    #[error("{what}")]
    Shape {
        /// The fault.
        what: &'static str,
    },
    /// It says that it is of another scope, step or build.
    #[error(
        "it is for the {what} {found}, not {expected}",
        found = quoted(.found), expected = quoted(.expected)
    )]
    Other {
        /// What it is for: `scope`, `step`, `build`.
        what: &'static str,
        /// What it says, shortened.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// It is not signed, and a signature is wanted.
    #[error("it is not signed")]
    Unsigned,
    /// None of the wanted keys made its signature.
    #[error("none of the given keys made its signature")]
    Signature,
    /// A part of it is not what its digest says.
    #[error("a part of it is not what {digest} names")]
    Digest {
        /// The digest.
        digest: Digest,
    },
    /// The layer that holds its parts cannot be read.
    #[error("its parts cannot be read")]
    Layer {
        /// The cause.
        #[source]
        source: LayerError,
    },
}

impl CacheDocumentError {
    /// Returns whether the document lacks a signature that counts, which its reader wants told.
    pub fn is_about_signature(&self) -> bool {
        matches!(self, Self::Unsigned | Self::Signature)
    }
}

impl From<LayerError> for CacheDocumentError {
    fn from(source: LayerError) -> Self {
        Self::Layer { source }
    }
}

impl From<io::Error> for CacheDocumentError {
    fn from(source: io::Error) -> Self {
        Self::Layer { source: LayerError::Read { source } }
    }
}

/// Why a file is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It has no PEM block of the wanted kind.
    #[error("it has no PEM block {label}", label = quoted(.label))]
    NoBlock {
        /// The label of the block.
        label: &'static str,
    },
    /// The block holds another thing.
    #[error("it is not an Ed25519 key; `openssl genpkey -algorithm ed25519` makes one")]
    NotEd25519,
}
