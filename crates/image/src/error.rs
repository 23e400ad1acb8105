//! What can go wrong, by family of operation.
//!
//! No message holds unescaped text of a document: it passes through
//! [`printable`](crate::printable::printable) first.

use std::io;
use std::path::PathBuf;

use xbuild_model::{Digest, FailureKind, Platform, StepFailure};

/// Why the bytes of a manifest, index or configuration are not what they should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The bytes hash to something else.
    #[error("the digest is {actual}, not {expected}")]
    Digest {
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The size is not the descriptor's.
    #[error("{actual} bytes, not the {expected} that the descriptor says")]
    Size {
        /// From the descriptor.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// Larger than any such document may be.
    #[error("{size} bytes, more than the {limit} that are read of such a document")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Not JSON of the right shape.
    #[error("invalid JSON")]
    Json {
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// Header and document, or document and shape, tell different media types.
    #[error("said to be {claimed:?}, but the document is {actual}")]
    MediaType {
        /// The claim, from the header, the descriptor or the document.
        claimed: String,
        /// What the document is by its own words or members.
        actual: String,
    },
    /// A manifest of a kind that is no container image, or one that is too old.
    #[error("not a container image: {what}")]
    NotAnImage {
        /// What it is instead.
        what: String,
    },
    /// Layers and diff IDs do not match one to one.
    #[error("{layers} layers, but {diff_ids} diff IDs")]
    LayerCount {
        /// In the manifest.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
    /// A layer of a media type that cannot be read.
    #[error("layer {digest} has the media type {media_type:?}, which is not supported")]
    LayerType {
        /// The layer.
        digest: Digest,
        /// Its media type.
        media_type: String,
    },
    /// The index says one platform, the image another.
    #[error("the index says {index}, but the image is for {config}")]
    Platform {
        /// From the index entry.
        index: Box<Platform>,
        /// From the configuration.
        config: Box<Platform>,
    },
    /// Indexes in indexes in indexes.
    #[error("indexes nested more than {limit} deep")]
    Nesting {
        /// How deep is followed.
        limit: usize,
    },
}

/// Why documents that were read do not give an image for a platform.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// A document of the image is wrong.
    #[error("{name}: {what} {digest} is not valid")]
    Document {
        /// The image.
        name: String,
        /// `manifest`, `index` or `configuration`.
        what: &'static str,
        /// Its digest.
        digest: Digest,
        /// The cause.
        #[source]
        source: Box<DocumentError>,
    },
    /// The image exists, but not for the platform.
    #[error("no match for platform {platform} in {name}: it is for {available}")]
    NoPlatform {
        /// The image.
        name: String,
        /// What was asked for.
        platform: Platform,
        /// What there is, joined by commas.
        available: String,
    },
}

/// Why an OCI layout could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A file could not be read or written.
    #[error("OCI layout: {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The folder is no OCI layout of a known version.
    #[error("{} is not an OCI layout: {reason}", path.display())]
    NotALayout {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        reason: &'static str,
    },
    /// A file of the layout is a link, a device, a folder, or of a wrong size.
    #[error("{} in the OCI layout is not usable: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The layout holds no image of that name.
    #[error("no image {name:?} in the OCI layout {}: {available}", path.display())]
    NoImage {
        /// The folder.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// What there is.
        available: String,
    },
    /// The documents of the image are wrong, or it is not for the platform.
    #[error(transparent)]
    Image {
        /// The cause.
        #[from]
        source: ResolveError,
    },
    /// A layer that was to be written could not be had.
    #[error("layer {digest} is not at hand")]
    Layer {
        /// The layer.
        digest: Digest,
        /// The cause.
        #[source]
        source: StepFailure,
    },
    /// A layer that was to be written is not what its descriptor says.
    #[error("the bytes of layer {digest} are not what its descriptor says")]
    LayerBytes {
        /// The layer.
        digest: Digest,
    },
}

impl From<LayoutError> for StepFailure {
    fn from(error: LayoutError) -> Self {
        match &error {
            LayoutError::Layer { source, .. } => source.clone(),
            _ => Self::new(FailureKind::User, error),
        }
    }
}

/// Why images cannot be assembled. Each is a defect of the caller.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// An image that was asked for is not there.
    #[error("no image was built for {platform}")]
    Missing {
        /// Its platform.
        platform: Platform,
    },
    /// Two images for one platform, or one that nobody asked for.
    #[error("the image for {platform} was not asked for, or is there twice")]
    Unexpected {
        /// Its platform.
        platform: Platform,
    },
    /// No platform at all.
    #[error("no platform was asked for")]
    Empty,
    /// Layers and diff IDs do not match one to one.
    #[error("the image for {platform} has {layers} layers, but {diff_ids} diff IDs")]
    LayerCount {
        /// Its platform.
        platform: Platform,
        /// Descriptors.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
    /// A layer of a media type that has no OCI spelling.
    #[error("layer {digest} has the media type {media_type:?}, which has no OCI equivalent")]
    LayerType {
        /// The layer.
        digest: Digest,
        /// Its media type.
        media_type: String,
    },
}

/// What is wrong with an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValidateError {
    /// A blob cannot be read.
    #[error("{what} {digest} cannot be read")]
    Read {
        /// `index`, `manifest`, `configuration` or `layer`.
        what: &'static str,
        /// Its digest.
        digest: Digest,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A document, or the bytes of a layer, are wrong.
    #[error("{what} {digest}")]
    Document {
        /// `index`, `manifest`, `configuration` or `layer`.
        what: &'static str,
        /// Its digest.
        digest: Digest,
        /// The cause.
        #[source]
        source: DocumentError,
    },
    /// A layer unpacks to other bytes than its diff ID says.
    #[error("layer {digest} has the diff ID {actual}, not {expected}")]
    DiffId {
        /// The blob.
        digest: Digest,
        /// From the configuration.
        expected: Digest,
        /// Of the bytes.
        actual: Digest,
    },
    /// The history does not name as many layers as there are.
    #[error("the history of {digest} names {history} layers, but there are {layers}")]
    History {
        /// The configuration.
        digest: Digest,
        /// Entries that are not `empty_layer`.
        history: usize,
        /// Layers.
        layers: usize,
    },
    /// Two entries of an index are for the same platform.
    #[error("the index has two images for {platform}")]
    DuplicatePlatform {
        /// The platform.
        platform: Platform,
    },
}
