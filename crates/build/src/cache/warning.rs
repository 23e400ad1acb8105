//! What may go wrong with a shared cache. The build goes on.

use std::fmt;

use xbuild_model::DiffId;
use xbuild_wording::quoted;

/// A warning about a shared cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheWarning {
    /// It cannot be read, and is not asked again.
    Unread {
        /// The cache.
        cache: String,
        /// The reason.
        reason: String,
    },
    /// A document of it cannot be read.
    Skipped {
        /// The cache.
        cache: String,
        /// The reason.
        reason: String,
    },
    /// It cannot be written any more.
    Unwritten {
        /// The cache.
        cache: String,
        /// The steps that it did not get so far.
        steps: usize,
        /// The reason.
        reason: String,
    },
    /// The registry limits the rate of requests, so the cache is left alone.
    Limited {
        /// The cache.
        cache: String,
    },
    /// The cache of BuildKit is there.
    OfBuildKit {
        /// The cache.
        cache: String,
    },
    /// A document of the cache does not count.
    Refused {
        /// The cache.
        cache: String,
        /// What it is: a step or a build.
        what: String,
        /// The reason.
        reason: String,
    },
    /// A layer that the cache names cannot be used; its step runs.
    Wrong {
        /// The layer.
        layer: DiffId,
    },
    /// The registry does not let a tag be given again.
    Fixed {
        /// The cache.
        cache: String,
    },
    /// A cache mount has more bytes than it may have.
    MountTooLarge {
        /// Its name.
        id: String,
        /// Its bytes.
        bytes: u64,
        /// The bytes that it may have.
        limit: u64,
    },
    /// Another build uses a cache mount.
    MountBusy {
        /// Its name.
        id: String,
    },
    /// Steps that came from a cache without a signature are not signed.
    NotSigned {
        /// The cache that is written.
        cache: String,
        /// The number of steps.
        steps: usize,
    },
}

impl CacheWarning {
    /// Writes a warning about cache mounts, or about what is not signed.
    fn rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MountTooLarge { id, bytes, limit } => write!(
                f,
                "the cache mount {id} has {bytes} bytes, more than {limit}, and is not written; \
                 max-size= of --cache-mounts-to sets another limit",
                id = quoted(&id)
            ),
            Self::MountBusy { id } => {
                write!(
                    f,
                    "another build uses the cache mount {id}, so it is not written",
                    id = quoted(&id)
                )
            }
            Self::NotSigned { cache, steps } => write!(
                f,
                "{steps} steps came from a cache that is read without keys; they are not signed, \
                 and not written to {cache}"
            ),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for CacheWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread { cache, reason } => {
                write!(
                    f,
                    "the cache {cache} cannot be read, and the build goes on without it: {reason}"
                )
            }
            Self::Skipped { cache, reason } => {
                write!(
                    f,
                    "a document of the cache {cache} cannot be read, and counts as absent: {reason}"
                )
            }
            Self::Unwritten { cache, steps: 0, reason } => {
                write!(f, "the cache {cache} cannot be written: {reason}")
            }
            Self::Unwritten { cache, steps, reason } => {
                write!(f, "{steps} steps are not in the cache {cache}: {reason}")
            }
            Self::Limited { cache } => write!(
                f,
                "the registry limits the rate of requests: the cache {cache} is left alone for the \
                 rest of the build"
            ),
            Self::OfBuildKit { cache } => write!(
                f,
                "{cache} is a cache of BuildKit, which xbuild cannot read; xbuild's own documents \
                 have other tags of the repository"
            ),
            Self::Refused { cache, what, reason } => {
                write!(f, "the cache {cache} has a document for {what} that is not used: {reason}")
            }
            Self::Wrong { layer } => write!(
                f,
                "the layer {layer} of a shared cache is gone or is not what the cache says; its \
                 step runs"
            ),
            Self::Fixed { cache } => write!(
                f,
                "the registry of the cache {cache} does not let a tag be given again, so its trails \
                 get old and later builds ask for each step; let tags t1-* be overwritten"
            ),
            other => other.rest(f),
        }
    }
}
