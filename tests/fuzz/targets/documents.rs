//! Invariant: reading any bytes as the documents of an image ends in an error with a printable
//! message, or in documents that
//! - written, read back the same;
//! - resolve to an image with as many layers as its configuration has, or to an error.
//!
//! The input is four parts with a NUL between them: the media type that the server claims, the root
//! document, the document of each descriptor of a manifest, and that of each configuration.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use xbuild_image::document::Document;
use xbuild_image::{Documents, ResolveError, inspect, resolve};
use xbuild_model::{BlobSource, Descriptor, ImageConfig, Platform};
use xbuild_registry::Detail;

/// Serves the same document for every descriptor.
struct Served {
    root: (Descriptor, Bytes),
    manifest: Bytes,
    config: Bytes,
}

impl Documents for Served {
    type Error = ResolveError;

    fn name(&self) -> &str {
        "name"
    }

    fn blob_source(&self) -> BlobSource {
        BlobSource::Layout { path: "/layout".into() }
    }

    fn root(&self) -> Result<(Descriptor, Bytes), ResolveError> {
        Ok(self.root.clone())
    }

    fn manifest(&self, _: &Descriptor) -> Result<Bytes, ResolveError> {
        Ok(self.manifest.clone())
    }

    fn config(&self, _: &Descriptor) -> Result<Bytes, ResolveError> {
        Ok(self.config.clone())
    }

    fn is_of_document(error: &ResolveError) -> bool {
        matches!(error, ResolveError::Document { .. })
    }
}

fn check_printable(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(4, |&byte| byte == 0).map(Bytes::copy_from_slice);
    let mut part = || parts.next().unwrap_or_default();
    let (claimed, root, manifest, config) = (part(), part(), part(), part());
    let detail = Detail::of_body(&root).to_string();
    check_printable(&detail);
    if let Ok(config) = serde_json::from_slice::<ImageConfig>(&config) {
        let written = serde_json::to_vec(&config).expect("a configuration is JSON");
        let again: ImageConfig =
            serde_json::from_slice(&written).expect("what is written reads back");
        assert_eq!(again, config);
    }
    let claimed = std::str::from_utf8(&claimed).ok();
    let (document, media_type) = match Document::parse(claimed, &root) {
        Ok(found) => found,
        Err(error) => return check_printable(&error.to_string()),
    };
    let written = match &document {
        Document::Index(index) => serde_json::to_vec(index),
        Document::Manifest(manifest) => serde_json::to_vec(manifest),
    };
    let written = written.expect("a document is JSON");
    let again = Document::parse(Some(media_type.as_ref()), &written);
    assert_eq!(again.expect("what is written reads back"), (document, media_type.clone()));

    let root = (Descriptor::of(media_type.as_ref(), &root), root);
    let served = Served { root, manifest, config };
    let _ = inspect(&served);
    let platform: Platform = "linux/arm64".parse().expect("is a platform");
    match resolve(&served, &platform) {
        Ok(image) => assert_eq!(image.layers.len(), image.config.rootfs.diff_ids.len()),
        Err(error) => check_printable(&error.to_string()),
    }
});
