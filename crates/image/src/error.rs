//! Errors: one enum for each family of operations.
//!
//! No message holds unescaped text of a document: it passes through
//! [`printable`](crate::printable::printable) first.

use std::io;
use std::path::PathBuf;

use xbuild_model::{Digest, FailureKind, Platform, StepFailure, WrongBytes};
use xbuild_wording::quoted;

/// The fault of a manifest, index or configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The bytes have another digest.
    #[error("the digest is {actual}, not {expected}")]
    Digest {
        /// The digest in the descriptor.
        expected: Digest,
        /// The digest of the bytes.
        actual: Digest,
    },
    /// The size is not that of the descriptor.
    #[error("{actual} bytes long, not {expected}, as its descriptor says")]
    Size {
        /// The size in the descriptor, in bytes.
        expected: u64,
        /// The number of bytes that came.
        actual: u64,
    },
    /// The document is larger than its kind may be.
    #[error("{size} bytes long, more than the limit of {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The document is not JSON of the right shape.
    #[error("invalid JSON")]
    Json {
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// Header and document, or document and shape, have different media types.
    #[error(
        "the claimed type is {claimed}, but the document is {actual}",
        claimed = quoted(.claimed)
    )]
    MediaType {
        /// The media type in the header, the descriptor or the document.
        claimed: String,
        /// The kind of the document by its own media type or members.
        actual: String,
    },
    /// The manifest is not that of a container image, or too old.
    #[error("not a container image: {what}")]
    NotAnImage {
        /// The kind of the document.
        what: String,
    },
    /// Layers and diff IDs do not match one to one.
    #[error("{layers} layers, but {diff_ids} diff IDs")]
    LayerCount {
        /// The number of layers in the manifest.
        layers: usize,
        /// The number of diff IDs in the configuration.
        diff_ids: usize,
    },
    /// A layer has an unsupported media type.
    #[error(
        "layer {digest} has the media type {media_type}, which is not supported",
        media_type = quoted(.media_type)
    )]
    LayerType {
        /// The layer.
        digest: Digest,
        /// Its media type.
        media_type: String,
    },
    /// The platforms of the index entry and of the image differ.
    #[error("the index says {index}, but the image is for {config}")]
    Platform {
        /// The platform of the index entry.
        index: Box<Platform>,
        /// The platform of the configuration.
        config: Box<Platform>,
    },
    /// An index has entries that cannot be read, so it cannot be copied as a whole.
    #[error("{count} of its entries cannot be read")]
    Entries {
        /// Their number.
        count: usize,
    },
    /// There are too many documents below an index.
    #[error("more than {limit} manifests")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// Indexes are nested too deep.
    #[error("indexes nested more than {limit} deep")]
    Nesting {
        /// The depth that is followed.
        limit: usize,
    },
}

/// Why an image for a platform could not be found in documents that were read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// A document of the image is not valid.
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
    /// The image is not for the requested platform.
    #[error("no match for platform {platform} in {name}: it is for {available}")]
    NoPlatform {
        /// The image.
        name: String,
        /// The requested platform.
        platform: Platform,
        /// The platforms of the image, joined by commas.
        available: String,
    },
}

/// Why an OCI layout could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A file could not be read or written.
    #[error("OCI layout: cannot read or write {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The folder is not an OCI layout of a known version.
    #[error("{} is not an OCI layout: {reason}", path.display())]
    NotALayout {
        /// The folder.
        path: PathBuf,
        /// The reason.
        reason: &'static str,
    },
    /// A file of the layout is a link, a device or a folder, or has the wrong size.
    #[error("{} in the OCI layout is not usable: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: &'static str,
    },
    /// The layout does not have an image of that name.
    #[error(
        "no image {name} in the OCI layout {}: {available}",
        path.display(), name = quoted(.name)
    )]
    NoImage {
        /// The folder.
        path: PathBuf,
        /// The requested tag.
        name: String,
        /// The tags of the layout, for display.
        available: String,
    },
    /// The documents of the image are not valid, or it is not for the platform.
    #[error(transparent)]
    Image {
        /// The cause.
        #[from]
        source: ResolveError,
    },
    /// The archive of `docker save` cannot hold an image.
    #[error("an archive for Docker cannot hold {name}: {reason}")]
    NotDocker {
        /// The image.
        name: String,
        /// The reason.
        reason: &'static str,
    },
    /// The bytes of a layer to write could not be found.
    #[error("cannot find the bytes of layer {digest}")]
    Layer {
        /// The layer.
        digest: Digest,
        /// The cause.
        #[source]
        source: StepFailure,
    },
    /// The bytes of a layer to write do not have the size and digest of its descriptor.
    #[error(transparent)]
    LayerBytes {
        /// The layer, and where its bytes came from.
        source: WrongBytes,
    },
}

impl From<LayoutError> for StepFailure {
    fn from(error: LayoutError) -> Self {
        match &error {
            LayoutError::Layer { source, .. } => source.clone(),
            LayoutError::LayerBytes { source } => Self::new(source.kind, error),
            _ => Self::new(FailureKind::User, error),
        }
    }
}

/// Why images cannot be assembled. Each is a defect of the caller.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// There is no image for a requested platform.
    #[error("no image was built for {platform}")]
    Missing {
        /// Its platform.
        platform: Platform,
    },
    /// There are two images for a platform, or an image for a platform that was not requested.
    #[error("there are two images for {platform}, or it was not requested")]
    Unexpected {
        /// Its platform.
        platform: Platform,
    },
    /// There is no platform.
    #[error("no platform was requested")]
    Empty,
    /// Layers and diff IDs do not match one to one.
    #[error("the image for {platform} has {layers} layers, but {diff_ids} diff IDs")]
    LayerCount {
        /// Its platform.
        platform: Platform,
        /// The number of layers.
        layers: usize,
        /// The number of diff IDs in the configuration.
        diff_ids: usize,
    },
    /// A layer is compressed with zstd, for which Docker has no media type.
    #[error("layer {digest} is compressed with zstd, for which Docker has no media type")]
    DockerZstd {
        /// The layer.
        digest: Digest,
    },
    /// A layer has a media type without an OCI equivalent.
    #[error(
        "layer {digest} has the media type {media_type}, which has no OCI equivalent",
        media_type = quoted(.media_type)
    )]
    LayerType {
        /// The layer.
        digest: Digest,
        /// Its media type.
        media_type: String,
    },
}

/// The fault that validation found in an image.
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
    /// A document, or the bytes of a layer, are not valid.
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
    /// The uncompressed bytes of a layer do not have its diff ID.
    #[error("layer {digest} has the diff ID {actual}, not {expected}")]
    DiffId {
        /// The blob.
        digest: Digest,
        /// The diff ID in the configuration.
        expected: Digest,
        /// The digest of the uncompressed bytes.
        actual: Digest,
    },
    /// The history has another number of layers than the manifest.
    #[error("the history of {digest} names {history} layers, but there are {layers}")]
    History {
        /// The configuration.
        digest: Digest,
        /// The number of entries without `empty_layer`.
        history: usize,
        /// The number of layers.
        layers: usize,
    },
    /// Two entries of an index are for the same platform.
    #[error("the index has two images for {platform}")]
    DuplicatePlatform {
        /// The platform.
        platform: Platform,
    },
}

/// Why an index cannot be put together or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// Entries of an index cannot be read, so they would be lost.
    #[error("{count} of the entries of {name} cannot be read")]
    Unreadable {
        /// The index.
        name: String,
        /// Their number.
        count: usize,
    },
    /// Two sources have different images for one platform.
    #[error("both {first} and {second} have an image for {platform}")]
    SamePlatform {
        /// The platform.
        platform: Box<Platform>,
        /// A source.
        first: String,
        /// The other one.
        second: String,
    },
    /// No entry has that digest or platform.
    #[error("the index has no entry {entry}: it has {}", if available.is_empty() {
        "none with a platform"
    } else {
        available
    })]
    NoEntry {
        /// The digest or platform.
        entry: String,
        /// The platforms that it has, joined by commas.
        available: String,
    },
    /// Several entries have that platform.
    #[error("several entries of the index are for {entry}: {digests}")]
    SeveralEntries {
        /// The platform.
        entry: String,
        /// Their digests, joined by commas.
        digests: String,
    },
    /// No entry is left.
    #[error("the index would have no entries, and nobody could pull it")]
    Empty,
    /// No registry takes an index of that size.
    #[error("the index would have {size} bytes; registries take {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
}
