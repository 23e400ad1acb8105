//! Reading trails that somebody else may have written.

use xbuild_image::document::{MAX_CONFIG, MAX_MANIFEST};
use xbuild_layer::LayerIndex;
use xbuild_model::{Descriptor, DiffId, Digest};

use crate::bundle::{MAX_INDEX, unpack};
use crate::document::{self, SIGNATURE, text};
use crate::trail::{DOCUMENTS, ID, INDEXES, LIST, List, MAX_UNPACKED, NAME, STEPS, payload};
use crate::{CacheDocumentError, MAX_TRAIL, Policy, Scope, Trail, TrailId, TrailIndex};

/// Steps that a trail may have.
const MAX_RECORDS: usize = 10_000;
/// Documents and indexes that a trail may have.
const MAX_FILES: usize = 10_000;

/// The manifest of a trail: where its parts are.
#[derive(Debug, Clone, PartialEq)]
pub struct TrailManifest {
    /// The blob with its parts.
    pub blob: Descriptor,
    /// The build as people know it.
    pub name: String,
    /// The number of its steps.
    pub steps: usize,
}

impl TrailManifest {
    /// Reads the manifest that a cache has for the build `id` of `scope`.
    ///
    /// **Errors** — it is malformed, too large, or for another scope or build; or `policy` wants a
    /// signature that it does not have.
    pub fn read(
        bytes: &[u8],
        scope: &Scope,
        id: &TrailId,
        policy: &Policy,
    ) -> Result<Self, CacheDocumentError> {
        let (found, trail, signature) = parse(bytes, scope)?;
        document::is_for("build", found, id.hex())?;
        policy.check(|| payload(scope, id, &trail.blob), signature.as_deref())?;
        Ok(trail)
    }

    /// Reads a manifest for a list; it is the trail of any build of the scope.
    pub fn list(bytes: &[u8], scope: &Scope) -> Result<Self, CacheDocumentError> {
        parse(bytes, scope).map(|(_, trail, _)| trail)
    }
}

/// Returns the identity of the build, the trail and its signature.
fn parse(
    bytes: &[u8],
    scope: &Scope,
) -> Result<(String, TrailManifest, Option<String>), CacheDocumentError> {
    let manifest = document::read(bytes, scope)?;
    let annotations = &manifest.annotations;
    let shape = |what| CacheDocumentError::Shape { what };
    let id = text(annotations, ID).ok_or(shape("it is not the trail of a build"))?;
    let blob = manifest.layers.into_iter().next().ok_or(shape("it has no layer"))?;
    if blob.size > MAX_TRAIL {
        return Err(CacheDocumentError::TooLarge { limit: MAX_TRAIL });
    }
    let name = text(annotations, NAME).unwrap_or_default();
    let steps = text(annotations, STEPS).and_then(|text| text.parse().ok()).unwrap_or(0);
    let signature = annotations.get(SIGNATURE).cloned();
    let blob = Descriptor::new(&blob.media_type, blob.digest, blob.size);
    Ok((id, TrailManifest { blob, name, steps }, signature))
}

impl Trail {
    /// Reads the blob of a trail, whose digest was compared with that of its manifest.
    ///
    /// **Errors** — it is malformed, or swells, or a part is not what its name says. Files that are
    /// unknown are left out: they are of a later version.
    pub fn read(manifest: &TrailManifest, blob: &[u8]) -> Result<Self, CacheDocumentError> {
        let mut trail = Self { name: manifest.name.clone(), ..Self::default() };
        let mut list = None;
        let mut count = 0;
        unpack(blob, MAX_UNPACKED, |name, bytes| {
            let name = std::str::from_utf8(name).unwrap_or_default();
            count += 1;
            if count > MAX_FILES {
                return Err(CacheDocumentError::Shape { what: "it has too many files" });
            }
            if name == LIST {
                let read = serde_json::from_slice::<List>(&bytes);
                list = Some(read.map_err(|source| CacheDocumentError::Json { source })?);
            } else if let Some(hex) = name.strip_prefix(DOCUMENTS) {
                trail.documents.push(document_of(hex, bytes)?);
            } else if let Some(hex) = name.strip_prefix(INDEXES) {
                // An index of another version is made again.
                if let Ok(index) = LayerIndex::decode_foreign(&bytes) {
                    trail.indexes.push((DiffId(digest(hex)?), TrailIndex::Here(index)));
                }
            }
            Ok(())
        })?;
        let List { records, indexes } =
            list.ok_or(CacheDocumentError::Shape { what: "it has no list" })?;
        if records.len() > MAX_RECORDS || indexes.len() > MAX_FILES {
            return Err(CacheDocumentError::Shape { what: "it has too many steps" });
        }
        records.iter().try_for_each(crate::Record::check)?;
        if indexes.iter().any(|beside| beside.blob.size > MAX_INDEX) {
            return Err(CacheDocumentError::TooLarge { limit: MAX_INDEX });
        }
        let beside = indexes.into_iter().map(|one| (one.of, TrailIndex::Beside(one.blob)));
        trail.indexes.extend(beside);
        trail.records = records;
        Ok(trail)
    }
}

/// Checks a document of a base image by the digest that names it.
fn document_of(hex: &str, bytes: Vec<u8>) -> Result<Vec<u8>, CacheDocumentError> {
    let limit = MAX_MANIFEST.max(MAX_CONFIG);
    if bytes.len() as u64 > limit {
        return Err(CacheDocumentError::TooLarge { limit });
    }
    let digest = digest(hex)?;
    match Digest::of(&bytes) == digest {
        true => Ok(bytes),
        false => Err(CacheDocumentError::Digest { digest }),
    }
}

fn digest(hex: &str) -> Result<Digest, CacheDocumentError> {
    let digest = format!("sha256:{hex}").parse();
    digest.map_err(|_| CacheDocumentError::Shape { what: "a part has no digest for a name" })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use proptest::prelude::*;
    use xbuild_layer::Change;
    use xbuild_model::manifest::OCI_LAYER_GZIP;

    use crate::bundle::Bundle;
    use crate::signature::tests::{OTHER, PRIVATE, PUBLIC};
    use crate::{Document, PublicKey, Record, RecordLayer, Signer};

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn scope() -> Scope {
        Scope::new("main").unwrap()
    }

    fn id() -> TrailId {
        TrailId::new("Dockerfile", None, &"linux/arm64".parse().unwrap(), &[])
    }

    fn index(path: &str) -> LayerIndex {
        LayerIndex::new(vec![(Change::Whiteout(path.as_bytes().to_vec()), None)]).unwrap()
    }

    fn trail(steps: usize) -> Trail {
        let record = |number: usize| Record {
            key: Digest::of(&number.to_be_bytes()),
            created: "2026-11-29T10:00:00Z".to_owned(),
            description: format!("[{number}/9] RUN make"),
            layers: vec![RecordLayer {
                diff_id: DiffId(Digest::of(&[number as u8, 1])),
                blob: Descriptor::of(OCI_LAYER_GZIP, &[number as u8]),
                encoding: None,
                index: None,
            }],
        };
        let beside = Descriptor::of(OCI_LAYER_GZIP, b"beside");
        Trail {
            name: "Dockerfile linux/arm64".to_owned(),
            records: (0..steps).map(record).collect(),
            documents: vec![b"{}".to_vec()],
            indexes: vec![
                (DiffId(Digest::of(b"small")), TrailIndex::Here(index("a"))),
                (DiffId(Digest::of(b"large")), TrailIndex::Beside(beside)),
            ],
        }
    }

    fn document(trail: &Trail, signer: Option<&Signer>) -> Document {
        trail.document(&scope(), &id(), signer, NOW).unwrap()
    }

    fn read(document: &Document, policy: &Policy) -> Result<Trail, CacheDocumentError> {
        let manifest = TrailManifest::read(&document.bytes, &scope(), &id(), policy)?;
        let blob = document.blobs.iter().find(|(blob, _)| *blob == manifest.blob).unwrap();
        Trail::read(&manifest, &blob.1)
    }

    #[test]
    fn a_trail_is_read_as_it_was_written() {
        for steps in [0, 1, 9] {
            let trail = trail(steps);
            let document = document(&trail, None);
            assert_eq!(read(&document, &Policy::Any).unwrap(), trail);
            // The trail and the layers of all steps.
            assert_eq!(document.manifest.layers.len(), 1 + steps);
            let listed = TrailManifest::list(&document.bytes, &scope()).unwrap();
            assert_eq!((listed.steps, listed.name), (steps, trail.name));
        }
    }

    #[test]
    fn a_large_index_has_a_blob_of_its_own() {
        // Hashes cannot be compressed.
        let changes = (0..40_000_u32).map(|n| {
            let path = Digest::of(&n.to_be_bytes()).hex().into_bytes();
            (Change::Whiteout(path), None)
        });
        let index = LayerIndex::new(changes.collect()).unwrap();
        let of = DiffId(Digest::of(b"layer"));
        let indexes = vec![(of.clone(), TrailIndex::Here(index.clone()))];
        let document = document(&Trail { indexes, ..trail(1) }, None);
        let found = read(&document, &Policy::Any).unwrap();
        let [(found, TrailIndex::Beside(blob))] = &found.indexes[..] else { panic!("{found:?}") };
        assert_eq!(*found, of);
        assert!(document.manifest.layers.contains(blob));
        let packed = document.blobs.iter().find(|(found, _)| found == blob).unwrap();
        assert_eq!(crate::unpack_index(&packed.1).unwrap(), index);
    }

    #[test]
    fn the_identity_of_a_build_is_what_stays() {
        let platform = "linux/arm64".parse().unwrap();
        let args = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let with = |list| TrailId::new("Dockerfile", None, &platform, &args(list));
        assert_eq!(with(&[]), id());
        assert_eq!(with(&[("a", "1"), ("b", "2")]), with(&[("b", "2"), ("a", "0"), ("a", "1")]));
        for other in [
            with(&[("a", "1")]),
            TrailId::new("dir/Dockerfile", None, &platform, &[]),
            TrailId::new("Dockerfile", Some("x"), &platform, &[]),
            TrailId::new("Dockerfile", None, &"linux/amd64".parse().unwrap(), &[]),
        ] {
            assert_ne!(other, id());
        }
    }

    #[test]
    fn the_trail_of_another_build_is_refused() {
        let document = document(&trail(1), None);
        let other = TrailId::new("other", None, &"linux/arm64".parse().unwrap(), &[]);
        let read = |scope: Scope, id: &TrailId| {
            TrailManifest::read(&document.bytes, &scope, id, &Policy::Any).is_ok()
        };
        assert!(read(scope(), &id()));
        assert!(!read(scope(), &other));
        assert!(!read(Scope::new("x").unwrap(), &id()));
    }

    #[test]
    fn only_the_wanted_signature_counts() {
        let signer = Signer::from_pem(PRIVATE).unwrap();
        let keys = |text| Policy::Signed(PublicKey::from_pem(text).unwrap());
        let signed = document(&trail(2), Some(&signer));
        read(&signed, &keys(PUBLIC)).unwrap();
        let other = read(&signed, &keys(OTHER)).unwrap_err();
        assert!(matches!(other, CacheDocumentError::Signature), "{other}");
        let unsigned = read(&document(&trail(2), None), &keys(PUBLIC)).unwrap_err();
        assert!(unsigned.is_about_signature());
        // Another blob under the same signature.
        let mut poisoned = signed.clone();
        let blob = document(&trail(3), None).manifest.layers[0].digest.to_string();
        let text = String::from_utf8(poisoned.bytes).unwrap();
        poisoned.bytes = text.replace(&signed.manifest.layers[0].digest.to_string(), &blob).into();
        assert!(read(&poisoned, &keys(PUBLIC)).is_err());
    }

    fn of_files(files: &[(&str, &[u8])]) -> Result<Trail, CacheDocumentError> {
        let packed =
            Bundle::pack(files.iter().map(|(name, bytes)| (name.as_bytes(), *bytes))).unwrap();
        let manifest = TrailManifest { blob: packed.blob, name: String::new(), steps: 0 };
        Trail::read(&manifest, &packed.bytes)
    }

    #[test]
    fn parts_are_what_their_names_say() {
        let list = br#"{"records":[],"indexes":[]}"#;
        let good = format!("documents/{}", Digest::of(b"{}").hex());
        let read = of_files(&[("trail.json", list), (&good, b"{}"), ("later/x", b"?")]).unwrap();
        assert_eq!(read.documents, [b"{}"]);
        for bad in [
            &[(good.as_str(), &b"{}"[..])][..],
            &[("trail.json", list), (&good, b"{ }")],
            &[("trail.json", list), ("documents/x", b"{}")],
            &[("trail.json", b"[]")],
            &[("trail.json", br#"{"records":[{}],"indexes":[]}"#)],
        ] {
            assert!(of_files(bad).is_err(), "{bad:?}");
        }
        // An index that is none is left out; it is made from the layer again.
        let name = format!("indexes/{}", Digest::of(b"").hex());
        assert!(of_files(&[("trail.json", list), (&name, b"?")]).unwrap().indexes.is_empty());
    }

    proptest! {
        #[test]
        fn any_list_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = of_files(&[("trail.json", &bytes)]);
            let _ = TrailManifest::list(&bytes, &scope());
        }
    }
}
