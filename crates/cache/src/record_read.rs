//! Reading records that somebody else may have written.

use xbuild_layer::Encoding;
use xbuild_model::manifest::Compression;
use xbuild_model::{Descriptor, DiffId, Digest};

use crate::bundle::MAX_INDEX;
use crate::document::{self, DIFF_ID, SIGNATURE, is_time, text};
use crate::record::{CREATED, ENCODING, INDEX_OF, KEY, MAX_LAYERS, STEP};
use crate::{CacheDocumentError, Policy, Record, RecordLayer, Scope};

fn shape(what: &'static str) -> CacheDocumentError {
    CacheDocumentError::Shape { what }
}

impl Record {
    /// Reads the manifest that a cache has for the step `key` of `scope`.
    ///
    /// **Errors** — it is malformed, too large, or for another scope or step; or `policy` wants a
    /// signature that it does not have.
    pub fn read(
        bytes: &[u8],
        scope: &Scope,
        key: &Digest,
        policy: &Policy,
    ) -> Result<Self, CacheDocumentError> {
        let manifest = document::read(bytes, scope)?;
        let annotations = &manifest.annotations;
        let found = text(annotations, KEY).ok_or(shape("it is not the record of a step"))?;
        document::is_for("step", found, key.to_string())?;
        let mut layers: Vec<RecordLayer> = Vec::new();
        for blob in manifest.layers {
            match blob.annotations.get(INDEX_OF) {
                Some(of) => {
                    let is_owner = |layer: &&mut RecordLayer| layer.diff_id.to_string() == *of;
                    let owner = layers.iter_mut().find(is_owner);
                    let owner = owner.ok_or(shape("it has the tree index of another layer"))?;
                    owner.index = Some(bare(&blob));
                }
                None => layers.push(layer(&blob)?),
            }
        }
        let record = Self {
            key: key.clone(),
            created: text(annotations, CREATED).unwrap_or_default(),
            description: text(annotations, STEP).unwrap_or_default(),
            layers,
        };
        record.check()?;
        let signature = annotations.get(SIGNATURE).map(String::as_str);
        policy.check(|| record.payload(scope), signature)?;
        Ok(record)
    }

    /// Checks what any record must be.
    pub(crate) fn check(&self) -> Result<(), CacheDocumentError> {
        if self.layers.is_empty() || self.layers.len() > MAX_LAYERS {
            return Err(shape("it has no layer, or too many"));
        }
        if !is_time(&self.created) {
            return Err(shape("it does not say when the step ran"));
        }
        self.layers.iter().try_for_each(RecordLayer::check)
    }
}

impl RecordLayer {
    fn check(&self) -> Result<(), CacheDocumentError> {
        let compression = Compression::of_media_type(&self.blob.media_type)
            .ok_or(shape("one of its layers is none"))?;
        if let Some(encoding) = &self.encoding
            && !is_encoding(encoding, compression)
        {
            return Err(shape("a layer has another encoding than its media type"));
        }
        match &self.index {
            Some(index) if index.size > MAX_INDEX => {
                Err(CacheDocumentError::TooLarge { limit: MAX_INDEX })
            }
            _ => Ok(()),
        }
    }
}

fn layer(blob: &Descriptor) -> Result<RecordLayer, CacheDocumentError> {
    let diff_id = blob.annotations.get(DIFF_ID).and_then(|text| text.parse::<Digest>().ok());
    let diff_id = DiffId(diff_id.ok_or(shape("a layer has no diff ID"))?);
    let encoding = text(&blob.annotations, ENCODING);
    Ok(RecordLayer { diff_id, blob: bare(blob), encoding, index: None })
}

/// Returns a descriptor that says nothing but what the blob is.
fn bare(blob: &Descriptor) -> Descriptor {
    Descriptor::new(&blob.media_type, blob.digest.clone(), blob.size)
}

/// Returns whether a name is that of an encoding with a compression.
fn is_encoding(name: &str, compression: Compression) -> bool {
    let (kind, level) = match name.split_once('-') {
        Some((kind, level)) => (kind, level.parse().ok()),
        None => (name, None),
    };
    let expected = match compression {
        Compression::None => "tar",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    };
    kind == expected
        && Encoding::new(compression, level).is_some_and(|encoding| encoding.to_string() == name)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use proptest::prelude::*;
    use xbuild_image::validate;
    use xbuild_layer::LayerIndex;
    use xbuild_model::manifest::{OCI_LAYER_GZIP, OCI_LAYER_ZSTD};

    use crate::signature::tests::{OTHER, PRIVATE, PUBLIC};
    use crate::{Document, PackedIndex, PublicKey, Signer};

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn scope() -> Scope {
        Scope::new("main").unwrap()
    }

    /// Returns a record, and the tar stream of its layer, which is its blob as well.
    fn record() -> Record {
        let layer = RecordLayer {
            diff_id: DiffId(Digest::of(b"layer")),
            blob: Descriptor::of(OCI_LAYER_GZIP, b"blob"),
            encoding: Some("gzip-3".to_owned()),
            index: None,
        };
        Record {
            key: Digest::of(b"key"),
            created: "2026-11-29T10:00:00Z".to_owned(),
            description: "[2/3] RUN make".to_owned(),
            layers: vec![layer],
        }
    }

    fn index() -> PackedIndex {
        PackedIndex::new(&LayerIndex::new(Vec::new()).unwrap()).unwrap()
    }

    fn written(signer: Option<&Signer>) -> Document {
        record().document(&scope(), &[Some(index())], signer, NOW)
    }

    fn read(bytes: &[u8]) -> Result<Record, CacheDocumentError> {
        Record::read(bytes, &scope(), &record().key, &Policy::Any)
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut expected = record();
        assert_eq!(read(&expected.document(&scope(), &[None], None, NOW).bytes).unwrap(), expected);
        expected.layers[0].index = Some(index().blob);
        assert_eq!(read(&written(None).bytes).unwrap(), expected);
    }

    #[test]
    fn a_record_is_a_valid_image() {
        let index = index();
        let mut record = record();
        // A layer whose bytes are at hand.
        record.layers[0].blob = index.blob.clone();
        record.layers[0].diff_id = index.diff_id.clone();
        let document = record.document(&scope(), &[Some(index)], None, NOW);
        let read = |blob: &Descriptor| -> std::io::Result<Box<dyn std::io::Read>> {
            let mut all = document.blobs.iter().map(|(found, bytes)| (found, bytes));
            let found = all.find(|(found, _)| found.digest == blob.digest);
            let bytes = found.map_or(&document.bytes, |(_, bytes)| bytes).clone();
            Ok(Box::new(std::io::Cursor::new(bytes)))
        };
        validate(&document.descriptor, &read).unwrap();
    }

    #[test]
    fn the_record_of_another_step_or_scope_is_refused() {
        let bytes = written(None).bytes;
        let other = Scope::new("other").unwrap();
        let key = Digest::of(b"another key");
        let of_scope = Record::read(&bytes, &other, &record().key, &Policy::Any).unwrap_err();
        assert_eq!(of_scope.to_string(), r#"it is for the scope "main", not "other""#);
        let of_key = Record::read(&bytes, &scope(), &key, &Policy::Any).unwrap_err();
        assert!(matches!(of_key, CacheDocumentError::Other { what: "step", .. }), "{of_key}");
    }

    #[test]
    fn only_the_wanted_signature_counts() {
        let signer = Signer::from_pem(PRIVATE).unwrap();
        let keys = |text| Policy::Signed(PublicKey::from_pem(text).unwrap());
        let (own, other) = (keys(PUBLIC), keys(OTHER));
        let signed = written(Some(&signer)).bytes;
        let read = |bytes: &[u8], policy| Record::read(bytes, &scope(), &record().key, policy);
        read(&signed, &own).unwrap();
        read(&signed, &Policy::Any).unwrap();
        assert!(matches!(read(&signed, &other), Err(CacheDocumentError::Signature)));
        let unsigned = written(None).bytes;
        assert!(matches!(read(&unsigned, &own), Err(CacheDocumentError::Unsigned)));
        // Whatever the record says is covered.
        let text = String::from_utf8(signed).unwrap();
        let (blob, diff_id) = (Digest::of(b"blob").to_string(), Digest::of(b"layer").to_string());
        let poison = Digest::of(b"poison").to_string();
        for (part, by) in [
            (blob.as_str(), poison.as_str()),
            (&diff_id, &poison),
            (OCI_LAYER_GZIP, OCI_LAYER_ZSTD),
            ("gzip-3", "gzip-9"),
            ("RUN make", "RUN fake"),
            ("2026-11", "2025-11"),
        ] {
            let changed = text.replace(part, by);
            assert_ne!(changed, text, "{part}");
            assert!(read(changed.as_bytes(), &own).is_err(), "{part}");
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        let text = String::from_utf8(written(None).bytes).unwrap();
        read(text.as_bytes()).unwrap();
        for (part, by) in [
            (OCI_LAYER_GZIP, "application/x-thing"),
            (INDEX_OF, "xbuild.cache.else"),
            (DIFF_ID, "xbuild.cache.else"),
            (KEY, "xbuild.cache.else"),
            (CREATED, "xbuild.cache.else"),
            ("2026-11-29", "yesterday"),
            ("gzip-3", "zstd-3"),
            ("gzip-3", "gzip-03"),
            ("\"layers\":[", "\"layers\":[],\"x\":["),
        ] {
            let changed = text.replace(part, by);
            assert_ne!(changed, text, "{part}");
            assert!(read(changed.as_bytes()).is_err(), "{part} by {by}");
        }
        assert!(read(&vec![b' '; 5 << 20]).is_err());
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_refused_or_harmless(at in 0_usize..2000, by in any::<u8>()) {
            let signer = Signer::from_pem(PRIVATE).unwrap();
            let own = Policy::Signed(vec![signer.public()]);
            let mut bytes = written(Some(&signer)).bytes;
            let at = at % bytes.len();
            bytes[at] = by;
            if let Ok(found) = Record::read(&bytes, &scope(), &record().key, &own) {
                let mut expected = record();
                expected.layers[0].index = Some(index().blob);
                prop_assert_eq!(found, expected);
            }
        }
    }
}
