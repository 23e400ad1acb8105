//! What all documents have in common: a manifest whose layers and configuration make a valid image.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use xbuild_image::Document as Parsed;
use xbuild_image::document::MAX_MANIFEST;
use xbuild_model::manifest::{OCI_CONFIG, OCI_MANIFEST};
use xbuild_model::{Descriptor, DiffId, History, ImageConfig, Manifest, RootFs};

use crate::{CacheDocumentError, Scope};

/// The annotation with the name of the scope.
const SCOPE: &str = "xbuild.cache.scope";
/// The annotation with the time of the writing, RFC 3339: what it names is kept from then on.
const WRITTEN: &str = "xbuild.cache.written";
/// The annotation with the signature.
pub(crate) const SIGNATURE: &str = "xbuild.cache.signature";
/// The annotation of a layer with its diff ID.
pub(crate) const DIFF_ID: &str = "xbuild.cache.diff-id";

/// The characters of a text of another writer that are kept, for messages.
pub(crate) const MAX_TEXT: usize = 4096;

/// The oldest time from which a document is kept that does not say when it was written.
pub const KEPT_FROM: SystemTime = SystemTime::UNIX_EPOCH;

/// A document to write: a manifest and the blobs that are in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The descriptor of the manifest.
    pub descriptor: Descriptor,
    /// The bytes of the manifest.
    pub bytes: Vec<u8>,
    /// The manifest.
    pub manifest: Manifest,
    /// The blobs that it names and that are not layers of steps: the configuration, tree indexes and
    /// bundles.
    pub blobs: Vec<(Descriptor, Vec<u8>)>,
}

/// The parts of a document.
pub(crate) struct Parts {
    /// What kind of document it is, for people: `step`, `trail`.
    pub(crate) title: String,
    /// Layers with their diff IDs, oldest first.
    pub(crate) layers: Vec<(Descriptor, DiffId)>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) blobs: Vec<(Descriptor, Vec<u8>)>,
}

impl Document {
    /// Makes the document of a scope, written at `now`.
    pub(crate) fn new(scope: &Scope, now: SystemTime, parts: Parts) -> Self {
        let Parts { title, layers, mut annotations, mut blobs } = parts;
        let written = humantime::format_rfc3339_seconds(now).to_string();
        annotations.insert(SCOPE.to_owned(), scope.name().to_owned());
        annotations.insert(WRITTEN.to_owned(), written);
        let (layers, diff_ids): (Vec<_>, Vec<_>) = layers.into_iter().unzip();
        let history = layers.iter().map(|_| History {
            created_by: Some(title.clone()),
            comment: Some("a part of a build cache; not meant to run".to_owned()),
            ..History::default()
        });
        let config = ImageConfig {
            architecture: "unknown".to_owned(),
            os: "unknown".to_owned(),
            rootfs: RootFs { diff_ids, ..RootFs::default() },
            history: history.collect(),
            ..ImageConfig::default()
        };
        let config = serde_json::to_vec(&config).expect("a configuration has string keys only");
        let descriptor = Descriptor::of(OCI_CONFIG, &config);
        blobs.push((descriptor.clone(), config));
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            config: descriptor,
            layers,
            annotations,
        };
        let bytes = serde_json::to_vec(&manifest).expect("a manifest has string keys only");
        Self { descriptor: Descriptor::of(OCI_MANIFEST, &bytes), bytes, manifest, blobs }
    }
}

/// Reads a manifest of a scope.
pub(crate) fn read(bytes: &[u8], scope: &Scope) -> Result<Manifest, CacheDocumentError> {
    let manifest = manifest(bytes)?;
    let found = text(&manifest.annotations, SCOPE)
        .ok_or(CacheDocumentError::Shape { what: "it is no document of a cache" })?;
    is_for("scope", found, scope.name().to_owned())?;
    Ok(manifest)
}

/// Makes sure that a document is for what was asked for.
pub(crate) fn is_for(
    what: &'static str,
    found: String,
    expected: String,
) -> Result<(), CacheDocumentError> {
    if found == expected {
        return Ok(());
    }
    Err(CacheDocumentError::Other { what, found, expected })
}

/// Reads a manifest.
pub(crate) fn manifest(bytes: &[u8]) -> Result<Manifest, CacheDocumentError> {
    if bytes.len() as u64 > MAX_MANIFEST {
        return Err(CacheDocumentError::TooLarge { limit: MAX_MANIFEST });
    }
    match Parsed::parse(None, bytes) {
        Ok((Parsed::Manifest(manifest), _)) => Ok(manifest),
        _ => Err(CacheDocumentError::Shape { what: "it is not the manifest of an image" }),
    }
}

/// Returns a text of another writer, shortened; `None` if there is none.
pub(crate) fn text(annotations: &BTreeMap<String, String>, name: &str) -> Option<String> {
    annotations.get(name).map(|text| text.chars().take(MAX_TEXT).collect())
}

/// Returns when a document of any scope was written, and its scope; `None` if the manifest is no
/// document of a cache. A time that is none, or in the far future, counts as [`KEPT_FROM`].
pub fn written_at(bytes: &[u8], now: SystemTime) -> Option<(SystemTime, String)> {
    /// Clocks may differ by so much.
    const SKEW: Duration = Duration::from_hours(24);
    let manifest = manifest(bytes).ok()?;
    let scope = text(&manifest.annotations, SCOPE)?;
    let written = text(&manifest.annotations, WRITTEN);
    let written = written.and_then(|text| humantime::parse_rfc3339(&text).ok());
    let written = written.filter(|time| *time <= now + SKEW);
    Some((written.unwrap_or(KEPT_FROM), scope))
}

/// Returns whether a text is a time in RFC 3339.
pub(crate) fn is_time(text: &str) -> bool {
    humantime::parse_rfc3339(text).is_ok()
}
