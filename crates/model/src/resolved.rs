//! An image that a reference was resolved to: manifest and configuration read, no layer pulled.

use serde::{Deserialize, Serialize};

use crate::{Descriptor, DiffId, Digest, ImageConfig, Platform};

/// A place that a blob can be read from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlobSource {
    /// The store, and no other place.
    Store,
    /// A repository of a registry.
    Registry {
        /// Host and port, as in a [`crate::Reference`].
        registry: String,
        /// The repository.
        repository: String,
    },
    /// A folder that holds an OCI layout.
    Layout {
        /// The folder.
        path: std::path::PathBuf,
    },
}

/// A layer of a resolved image. Its blob need not be in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageLayer {
    /// The digest of the uncompressed layer, from the image configuration.
    pub diff_id: DiffId,
    /// The blob, from the manifest.
    pub descriptor: Descriptor,
    /// The place of the blob.
    pub source: BlobSource,
}

/// The blob of a layer, and the place to open it at.
#[derive(Debug, Clone, PartialEq)]
pub enum LayerBlob {
    /// In the store.
    Stored {
        /// The blob.
        descriptor: Descriptor,
        /// The layer of a base image that has this very blob: the registry that the image came
        /// from need not be sent it.
        base: Option<Box<ImageLayer>>,
    },
    /// Only where a base image came from: nothing needed its bytes.
    Remote(ImageLayer),
}

impl LayerBlob {
    /// Returns the blob.
    pub fn descriptor(&self) -> &Descriptor {
        match self {
            Self::Stored { descriptor, .. } => descriptor,
            Self::Remote(layer) => &layer.descriptor,
        }
    }

    /// Returns the layer of a base image that has this very blob, if there is one.
    pub fn base(&self) -> Option<&ImageLayer> {
        match self {
            Self::Stored { base, .. } => base.as_deref(),
            Self::Remote(layer) => Some(layer),
        }
    }
}

/// A resolved image.
///
/// **Shape** — layers oldest first; as many as the configuration has diff IDs (checked when the
/// image was resolved).
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedImage {
    /// The name that was asked for, for display.
    pub name: String,
    /// The platform of the manifest that was chosen.
    pub platform: Platform,
    /// The manifest.
    pub manifest: Descriptor,
    /// What the name stood for: the index that the manifest was chosen from, or the manifest itself.
    pub root: Digest,
    /// The configuration.
    pub config: ImageConfig,
    /// The layers.
    pub layers: Vec<ImageLayer>,
}
