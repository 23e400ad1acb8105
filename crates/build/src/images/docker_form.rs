//! Images as an archive for Docker holds them: one platform, no layer of zstd.

use std::collections::HashMap;
use std::io::{self, Write as _};

use xbuild_image::{BlobPlace, Built, Content, Document};
use xbuild_layer::decode::decompress_any;
use xbuild_layer::{Encoder, Encoding, LayerError};
use xbuild_model::manifest::{Compression, OCI_MANIFEST};
use xbuild_model::{Descriptor, FailureKind, Manifest, StepFailure, WrongBytes};
use xbuild_registry::Client;
use xbuild_store::Store;

/// Returns an image whose layers of zstd are compressed with gzip instead; `None` if there are none.
/// Its manifest is another one then; its configuration, and so the image ID, is the same.
pub(crate) fn without_zstd<'a>(
    (store, client): (&'a Store, &'a Client),
    built: &Built<'_>,
) -> Result<Option<Built<'a>>, StepFailure> {
    let root = built.content.root();
    let parsed = Document::parse(Some(&root.descriptor.media_type), &root.bytes);
    let Ok((Document::Manifest(mut manifest), _)) = parsed else { return Ok(None) };
    if !manifest.layers.iter().any(is_zstd) {
        return Ok(None);
    }
    let mut places = HashMap::new();
    for layer in manifest.layers.iter_mut() {
        if is_zstd(layer) {
            *layer = again(built, layer, || gzip(store, built, layer))?;
            places.insert(layer.digest.clone(), BlobPlace::Stored(None));
        } else if let Some(place) = built.place(layer) {
            places.insert(layer.digest.clone(), place.clone());
        }
    }
    let config = &manifest.config;
    store.put_blob(&again(built, config, || read(built, config))?)?;
    places.insert(manifest.config.digest.clone(), BlobPlace::Stored(None));
    let content = content(manifest);
    let stored = |digest: &xbuild_model::Digest| Ok(store.open_sound(digest)?);
    Ok(Some(Built::of(content, places, stored, client)))
}

fn content(manifest: Manifest) -> Content {
    let manifest = Manifest { media_type: Some(OCI_MANIFEST.to_owned()), ..manifest };
    let bytes = serde_json::to_vec(&manifest).expect("a manifest has string keys only");
    Content::of_manifest(Descriptor::of(OCI_MANIFEST, &bytes), bytes, manifest)
}

fn is_zstd(layer: &Descriptor) -> bool {
    Compression::of_media_type(&layer.media_type) == Some(Compression::Zstd)
}

/// Does work with a blob, once more if other bytes came: a proxy may have changed some. Bytes of mirrors
/// do not count, as the next place is asked after them.
fn again<T>(
    built: &Built<'_>,
    blob: &Descriptor,
    work: impl Fn() -> Result<T, StepFailure>,
) -> Result<T, StepFailure> {
    let mut is_second = false;
    loop {
        let failure = match work() {
            Err(failure) if WrongBytes::within(failure.cause()).is_some() => failure,
            done => return done,
        };
        if !built.distrust(blob) && std::mem::replace(&mut is_second, true) {
            return Err(failure);
        }
    }
}

/// Returns the failure to read, or to write in the store.
fn failed(error: io::Error) -> StepFailure {
    let kind = WrongBytes::within(&error).map_or(FailureKind::Internal, |wrong| wrong.kind);
    StepFailure::new(kind, error)
}

/// Compresses a layer with gzip.
fn gzip(store: &Store, built: &Built<'_>, layer: &Descriptor) -> Result<Descriptor, StepFailure> {
    let unreadable = |error: LayerError| StepFailure::new(FailureKind::Remote, error);
    let found = built.find(layer)?.open_checked()?;
    let mut plain = decompress_any(found).map_err(unreadable)?;
    let encoding = Encoding::default();
    let mut encoder = Encoder::new(store.blob_writer()?, encoding).map_err(failed)?;
    io::copy(&mut plain, &mut encoder).map_err(failed)?;
    encoder.flush().map_err(failed)?;
    let (digest, size) = encoder.finish().map_err(failed)?.commit(None)?;
    let media_type = encoding.compression().oci_media_type();
    let annotations = layer.annotations.clone();
    Ok(Descriptor { annotations, ..Descriptor::new(media_type, digest, size) })
}

fn read(built: &Built<'_>, blob: &Descriptor) -> Result<Vec<u8>, StepFailure> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut built.find(blob)?.open_checked()?, &mut bytes).map_err(failed)?;
    Ok(bytes)
}
