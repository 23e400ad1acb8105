//! Small files packed as a layer: a tar stream compressed with zstd.
//!
//! So registries, scanners and people can look into a cache with the tools that they have.

use std::io::{self, Read, Write as _};

use xbuild_layer::decode::decompress_any;
use xbuild_layer::{Change, Encoder, Encoding, Entry, Kind, LayerError, LayerIndex, LayerReader};
use xbuild_layer::{LayerWriter, Meta};
use xbuild_model::manifest::Compression;
use xbuild_model::{Descriptor, DiffId, Digest};

use crate::CacheDocumentError;

/// Bytes that the blob of a tree index may have. That of a Debian system with compilers has 2 MiB.
pub const MAX_INDEX: u64 = 64 << 20;
/// Bytes that a tree index may have when it is unpacked.
const MAX_UNPACKED_INDEX: u64 = 256 << 20;
/// The file that holds a tree index.
const INDEX_NAME: &[u8] = b"index";

/// Files packed as a layer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bundle {
    /// The descriptor of `bytes`.
    pub(crate) blob: Descriptor,
    /// The digest of the tar stream.
    pub(crate) diff_id: DiffId,
    /// The blob.
    pub(crate) bytes: Vec<u8>,
}

/// A tree index packed as a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedIndex {
    /// The descriptor of `bytes`.
    pub blob: Descriptor,
    /// The digest of the tar stream in it.
    pub diff_id: DiffId,
    /// The blob.
    pub bytes: Vec<u8>,
}

impl PackedIndex {
    /// Packs the tree index of a layer.
    pub fn new(index: &LayerIndex) -> Result<Self, CacheDocumentError> {
        let mut encoded = Vec::new();
        index.encode(&mut encoded)?;
        let Bundle { blob, diff_id, bytes } = Bundle::pack([(INDEX_NAME, encoded.as_slice())])?;
        match blob.size > MAX_INDEX || encoded.len() as u64 > MAX_UNPACKED_INDEX {
            true => Err(CacheDocumentError::TooLarge { limit: MAX_INDEX }),
            false => Ok(Self { blob, diff_id, bytes }),
        }
    }
}

/// Reads a tree index that was packed by [`PackedIndex::new`], perhaps by somebody else: whether it
/// is that of the layer shows when the layer's bytes are read.
pub fn unpack_index(blob: &[u8]) -> Result<LayerIndex, CacheDocumentError> {
    let mut found = None;
    unpack(blob, MAX_UNPACKED_INDEX, |name, bytes| {
        if name == INDEX_NAME {
            found = Some(bytes);
        }
        Ok(())
    })?;
    let found = found.ok_or(CacheDocumentError::Shape { what: "it holds no tree index" })?;
    Ok(LayerIndex::decode_foreign(&found)?)
}

impl Bundle {
    /// Packs files, by name and contents. The bytes depend on the arguments alone.
    pub(crate) fn pack<'f>(
        files: impl IntoIterator<Item = (&'f [u8], &'f [u8])>,
    ) -> Result<Self, CacheDocumentError> {
        let mut tar = LayerWriter::new(Vec::new());
        for (name, mut bytes) in files {
            let kind = Kind::File { size: bytes.len() as u64 };
            let meta = Meta { mode: 0o644, ..Meta::default() };
            tar.put(&Entry { path: name.to_vec(), kind, meta }, &mut bytes)?;
        }
        let tar = tar.finish()?;
        let encoding = Encoding::new(Compression::Zstd, None).unwrap_or_default();
        let mut encoder = Encoder::new(Vec::new(), encoding)?;
        encoder.write_all(&tar)?;
        let bytes = encoder.finish()?;
        let media_type = encoding.compression().oci_media_type();
        let blob = Descriptor::of(media_type, &bytes);
        Ok(Self { blob, diff_id: DiffId(Digest::of(&tar)), bytes })
    }
}

/// Calls `visit` with name and contents of each file of a bundle. Together they may have `limit`
/// bytes.
pub(crate) fn unpack(
    blob: &[u8],
    limit: u64,
    mut visit: impl FnMut(&[u8], Vec<u8>) -> Result<(), CacheDocumentError>,
) -> Result<(), CacheDocumentError> {
    let tar = decompress_any(blob)?;
    let mut reader = LayerReader::new(Limited { inner: tar, left: limit });
    while let Some(change) = reader.next()? {
        let Change::Put(Entry { path, kind: Kind::File { size }, .. }) = change else {
            return Err(CacheDocumentError::Shape { what: "it holds something beside files" });
        };
        // A sparse file may be larger than all that was read.
        if size > limit {
            return Err(CacheDocumentError::TooLarge { limit });
        }
        let mut bytes = Vec::new();
        reader.by_ref().take(limit).read_to_end(&mut bytes).map_err(LayerError::from_read)?;
        visit(&path, bytes)?;
    }
    Ok(())
}

/// A reader that fails after so many bytes.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Files = Vec<(Vec<u8>, Vec<u8>)>;

    fn files(blob: &[u8], limit: u64) -> Result<Files, CacheDocumentError> {
        let mut files = Vec::new();
        unpack(blob, limit, |name, bytes| {
            files.push((name.to_vec(), bytes));
            Ok(())
        })?;
        Ok(files)
    }

    #[test]
    fn files_are_read_as_they_were_packed() {
        let packed = Bundle::pack([(&b"a"[..], &b"1"[..]), (b"d/b", b"")]).unwrap();
        assert_eq!(
            packed.blob,
            Descriptor::of(xbuild_model::manifest::OCI_LAYER_ZSTD, &packed.bytes)
        );
        let found = files(&packed.bytes, 1 << 20).unwrap();
        assert_eq!(found, [(b"a".to_vec(), b"1".to_vec()), (b"d/b".to_vec(), Vec::new())]);
        assert!(files(&packed.bytes, 512).is_err());
        assert!(files(&packed.bytes[..packed.bytes.len() - 1], 1 << 20).is_err());
    }

    #[test]
    fn a_blob_that_swells_is_refused() {
        let packed = Bundle::pack([(&b"a"[..], &vec![0; 1 << 20][..])]).unwrap();
        assert!(packed.blob.size < 2000);
        assert!(files(&packed.bytes, 1 << 19).is_err());
        assert_eq!(files(&packed.bytes, 2 << 20).unwrap().len(), 1);
    }

    #[test]
    fn an_index_survives() {
        let index = LayerIndex::new(vec![(Change::Whiteout(b"gone".to_vec()), None)]).unwrap();
        let packed = PackedIndex::new(&index).unwrap();
        assert_eq!(unpack_index(&packed.bytes).unwrap(), index);
        let other = Bundle::pack([(&b"other"[..], &b"x"[..])]).unwrap();
        assert!(unpack_index(&other.bytes).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = files(&bytes, 1 << 20);
            let _ = unpack_index(&bytes);
        }
    }
}
