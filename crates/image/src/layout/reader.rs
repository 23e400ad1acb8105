//! Reading an OCI layout.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use oci_spec::image::{ANNOTATION_REF_NAME, MediaType, OciLayout, SCHEMA_VERSION};
use xbuild_model::{BlobSource, Descriptor, Digest, Index, Platform, ResolvedImage};

use crate::document::{Document, MAX_CONFIG, MAX_MANIFEST, check_bytes, check_limit};
use crate::error::{DocumentError, LayoutError, ResolveError, ValidateError};
use crate::inspect::{Inspection, inspect};
use crate::layout::files::{self, Files, LayoutBlob};
use crate::printable::printable;
use crate::resolve::{Documents, resolve};
use crate::validate::{Validated, validate};

/// The annotation in which containerd keeps the whole reference.
pub(super) const IMAGE_NAME: &str = "io.containerd.image.name";
/// Bytes of `oci-layout` that are read: it holds a version.
const MAX_MARKER: u64 = 4 << 10;

/// An OCI layout.
///
/// ```no_run
/// use xbuild_image::Layout;
///
/// let layout = Layout::open("images/base".as_ref())?;
/// let image = layout.resolve(Some("latest"), &"linux/arm64".parse()?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Layout {
    path: PathBuf,
    files: Files,
    index: Index,
}

impl Layout {
    /// Opens the layout in the folder or tar archive `path` and reads its index.
    ///
    /// **Errors** — [`LayoutError::Io`], [`LayoutError::NotALayout`], [`LayoutError::File`].
    pub fn open(path: &Path) -> Result<Self, LayoutError> {
        let files = Files::open(path)?;
        let not = |reason| LayoutError::NotALayout { path: path.to_owned(), reason };
        let mut layout = Self { path: path.to_owned(), files, index: empty_index() };
        let marker = layout.read("oci-layout", MAX_MARKER)?;
        let marker: OciLayout = serde_json::from_slice(&marker)
            .map_err(|_| not("its file oci-layout does not tell a version"))?;
        if !marker.image_layout_version().starts_with("1.") {
            return Err(not("its version is not 1"));
        }
        let index = layout.read("index.json", MAX_MANIFEST)?;
        layout.index =
            serde_json::from_slice(&index).map_err(|_| not("its index.json is not an index"))?;
        Ok(layout)
    }

    /// Returns the index of the layout.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Returns the image of a name for a platform.
    ///
    /// `name` is a tag or a digest. Without a name the image is the only one, or the one with the
    /// tag `latest`.
    ///
    /// **Errors** — [`LayoutError::NoImage`], [`LayoutError::Image`], and those of reading files.
    pub fn resolve(
        &self,
        name: Option<&str>,
        platform: &Platform,
    ) -> Result<ResolvedImage, LayoutError> {
        resolve(&self.named(name)?, platform)
    }

    /// Returns the documents of the image of a name: index, manifests, configurations.
    ///
    /// **Errors** — those of [`Layout::resolve`].
    pub fn inspect(&self, name: Option<&str>) -> Result<Inspection, LayoutError> {
        inspect(&self.named(name)?)
    }

    /// Returns the documents of the image of a name.
    ///
    /// **Errors** — [`LayoutError::NoImage`], and those of reading files.
    pub fn documents(
        &self,
        name: Option<&str>,
    ) -> Result<impl Documents<Error = LayoutError> + use<'_>, LayoutError> {
        self.named(name)
    }

    /// Returns the manifest or index that has exactly this tag, as it is; `None` if there is none, or
    /// if its file is gone.
    ///
    /// **Errors** — those of reading files.
    pub fn find_manifest(&self, tag: &str) -> Result<Option<Bytes>, LayoutError> {
        let is_tagged = |entry: &&Descriptor| {
            entry.annotations.get(ANNOTATION_REF_NAME).is_some_and(|name| name == tag)
        };
        let Some(entry) = self.index.manifests.iter().find(is_tagged) else { return Ok(None) };
        match self.image(entry.clone()).document("manifest", entry, MAX_MANIFEST) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if NamedImage::is_of_document(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the tags of the layout, in its order.
    pub fn all_tags(&self) -> impl Iterator<Item = &str> {
        let entries = self.index.manifests.iter();
        entries.filter_map(|entry| Some(entry.annotations.get(ANNOTATION_REF_NAME)?.as_str()))
    }

    /// Checks all images: every blob is read, unpacked and hashed.
    pub fn validate(&self) -> Result<Vec<Validated>, ValidateError> {
        let read = |descriptor: &Descriptor| -> io::Result<Box<dyn Read>> {
            Ok(Box::new(self.open_blob(descriptor).map_err(io::Error::other)?))
        };
        self.index.manifests.iter().map(|root| validate(root, &read)).collect()
    }

    /// Opens a blob and checks its size, not its digest.
    ///
    /// **Errors** — [`LayoutError::Io`], [`LayoutError::File`].
    pub fn open_blob(&self, descriptor: &Descriptor) -> Result<LayoutBlob, LayoutError> {
        let relative = format!("blobs/sha256/{}", descriptor.digest.hex());
        let blob = self.files.get(&self.path, &relative)?;
        if blob.len() != descriptor.size {
            let reason = "its size is not what its descriptor says";
            return Err(LayoutError::File { path: self.path.join(relative), reason });
        }
        Ok(blob)
    }

    fn named(&self, name: Option<&str>) -> Result<NamedImage<'_>, LayoutError> {
        let manifests = &self.index.manifests;
        let tagged = |tag: &str| manifests.iter().find(|entry| has_tag(entry, tag));
        let found = match name {
            Some(name) => match name.parse::<Digest>() {
                // A digest also names images that only an index in the layout names.
                Ok(digest) => return self.by_digest(&digest),
                Err(_) => tagged(name),
            },
            None => match &manifests[..] {
                [only] => Some(only),
                _ => tagged("latest"),
            },
        };
        let root = found.ok_or_else(|| LayoutError::NoImage {
            path: self.path.clone(),
            name: printable(name.unwrap_or("latest"), 200),
            available: self.tags(),
        })?;
        Ok(self.image(root.clone()))
    }

    /// Returns the manifest or index of a digest. Size and media type come from the file.
    fn by_digest(&self, digest: &Digest) -> Result<NamedImage<'_>, LayoutError> {
        if let Some(entry) = self.index.manifests.iter().find(|entry| entry.digest == *digest) {
            return Ok(self.image(entry.clone()));
        }
        let bytes = self.read(&format!("blobs/sha256/{}", digest.hex()), MAX_MANIFEST)?;
        let media_type = Document::parse(None, &bytes).map(|(_, media_type)| media_type.into());
        let media_type: String = media_type.unwrap_or_default();
        Ok(self.image(Descriptor::new(&media_type, digest.clone(), bytes.len() as u64)))
    }

    fn image(&self, root: Descriptor) -> NamedImage<'_> {
        let name = format!("oci-layout://{}@{}", self.path.display(), root.digest);
        NamedImage { layout: self, root, name }
    }

    fn tags(&self) -> String {
        let tags: Vec<&str> = self
            .index
            .manifests
            .iter()
            .filter_map(|entry| entry.annotations.get(ANNOTATION_REF_NAME))
            .map(String::as_str)
            .take(20)
            .collect();
        match &tags[..] {
            [] => "it names no tags".to_owned(),
            tags => printable(&format!("it has {}", tags.join(", ")), 500),
        }
    }

    fn read(&self, relative: &str, limit: u64) -> Result<Vec<u8>, LayoutError> {
        files::read(&self.files, &self.path, relative, limit)
    }
}

/// Returns an index without entries.
pub(super) fn empty_index() -> Index {
    Index {
        schema_version: SCHEMA_VERSION,
        media_type: Some(MediaType::ImageIndex.into()),
        manifests: Vec::new(),
        annotations: Default::default(),
        unreadable: Vec::new(),
    }
}

/// Returns whether an entry of `index.json` has a tag. Writers put a tag or a whole reference
/// there.
fn has_tag(entry: &Descriptor, tag: &str) -> bool {
    let named =
        |name: &String| name == tag || name.rsplit_once(':').is_some_and(|(_, last)| last == tag);
    entry
        .annotations
        .get(ANNOTATION_REF_NAME)
        .or_else(|| entry.annotations.get(IMAGE_NAME))
        .is_some_and(named)
}

/// One image of a layout.
struct NamedImage<'a> {
    layout: &'a Layout,
    root: Descriptor,
    name: String,
}

impl NamedImage<'_> {
    fn document(
        &self,
        what: &'static str,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Bytes, LayoutError> {
        let invalid = |source: DocumentError| {
            LayoutError::from(ResolveError::Document {
                name: self.name.clone(),
                what,
                digest: descriptor.digest.clone(),
                source: Box::new(source),
            })
        };
        check_limit(descriptor, limit).map_err(invalid)?;
        let relative = format!("blobs/sha256/{}", descriptor.digest.hex());
        let bytes = self.layout.read(&relative, limit)?;
        check_bytes(descriptor, &bytes).map_err(invalid)?;
        Ok(bytes.into())
    }
}

impl Documents for NamedImage<'_> {
    type Error = LayoutError;

    fn name(&self) -> &str {
        &self.name
    }

    fn blob_source(&self) -> BlobSource {
        BlobSource::Layout { path: self.layout.path.clone() }
    }

    fn root(&self) -> Result<(Descriptor, Bytes), LayoutError> {
        let bytes = self.manifest(&self.root)?;
        Ok((self.root.clone(), bytes))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Bytes, LayoutError> {
        self.document("manifest", descriptor, MAX_MANIFEST)
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Bytes, LayoutError> {
        self.document("configuration", descriptor, MAX_CONFIG)
    }

    fn is_of_document(error: &LayoutError) -> bool {
        match error {
            LayoutError::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            LayoutError::File { .. } | LayoutError::Image { .. } => true,
            _ => false,
        }
    }
}
