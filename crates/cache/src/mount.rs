//! Cache mounts: folders that steps keep from build to build, whole.

use std::collections::BTreeMap;
use std::time::SystemTime;

use xbuild_model::manifest::Compression;
use xbuild_model::{Descriptor, DiffId, Digest};

use crate::document::{self, DIFF_ID, Document, Parts, SIGNATURE, text};
use crate::payload::Payload;
use crate::{CacheDocumentError, Policy, Scope, Signer};

/// The annotation with the key of the mount.
const KEY: &str = "xbuild.cache.mount";
/// The annotation with its name.
const NAME: &str = "xbuild.cache.name";

/// The files of a cache mount.
#[derive(Debug, Clone, PartialEq)]
pub struct Mount {
    /// A hash of its name and of what else makes it another folder.
    pub key: Digest,
    /// Its name, for people.
    pub name: String,
    /// The digest of the uncompressed layer with its files.
    pub diff_id: DiffId,
    /// The blob of the layer, without annotations.
    pub blob: Descriptor,
}

impl Mount {
    /// Makes the document of a mount.
    pub fn document(&self, scope: &Scope, signer: Option<&Signer>, now: SystemTime) -> Document {
        let mut annotations: BTreeMap<String, String> =
            [(KEY, self.key.to_string()), (NAME, self.name.clone())]
                .map(|(name, value)| (name.to_owned(), value))
                .into();
        if let Some(signer) = signer {
            annotations.insert(SIGNATURE.to_owned(), signer.sign(&self.payload(scope)));
        }
        let mut blob = self.blob.clone();
        blob.annotations.insert(DIFF_ID.to_owned(), self.diff_id.to_string());
        let layers = vec![(blob, self.diff_id.clone())];
        let title = format!("cache mount {}", self.name);
        Document::new(scope, now, Parts { title, layers, annotations, blobs: Vec::new() })
    }

    /// Reads the manifest that a cache has for the mount `key` of `scope`.
    ///
    /// **Errors** — it is malformed, too large, or for another scope or mount; or `policy` wants a
    /// signature that it does not have.
    pub fn read(
        bytes: &[u8],
        scope: &Scope,
        key: &Digest,
        policy: &Policy,
    ) -> Result<Self, CacheDocumentError> {
        let shape = |what| CacheDocumentError::Shape { what };
        let manifest = document::read(bytes, scope)?;
        let annotations = &manifest.annotations;
        let found = text(annotations, KEY).ok_or(shape("it is not a cache mount"))?;
        document::is_for("cache mount", found, key.to_string())?;
        let [layer] = &manifest.layers[..] else { return Err(shape("it has not one layer")) };
        if Compression::of_media_type(&layer.media_type).is_none() {
            return Err(shape("its layer is none"));
        }
        let diff_id = layer.annotations.get(DIFF_ID).and_then(|text| text.parse().ok());
        let mount = Self {
            key: key.clone(),
            name: text(annotations, NAME).unwrap_or_default(),
            diff_id: DiffId(diff_id.ok_or(shape("its layer has no diff ID"))?),
            blob: Descriptor::new(&layer.media_type, layer.digest.clone(), layer.size),
        };
        let signature = annotations.get(SIGNATURE).map(String::as_str);
        policy.check(|| mount.payload(scope), signature)?;
        Ok(mount)
    }

    fn payload(&self, scope: &Scope) -> Payload {
        Payload::new("xbuild mount 1")
            .text(scope.name())
            .text(&self.key.to_string())
            .text(&self.name)
            .text(&self.diff_id.to_string())
            .descriptor(&self.blob)
    }
}

#[cfg(test)]
mod tests {
    use xbuild_model::manifest::OCI_LAYER_ZSTD;

    use crate::PublicKey;
    use crate::signature::tests::{OTHER, PRIVATE, PUBLIC};

    use super::*;

    #[test]
    fn a_mount_is_read_as_it_was_written() {
        let scope = Scope::new("main").unwrap();
        let mount = Mount {
            key: Digest::of(b"key"),
            name: "/root/.cache".to_owned(),
            diff_id: DiffId(Digest::of(b"layer")),
            blob: Descriptor::of(OCI_LAYER_ZSTD, b"blob"),
        };
        let signer = Signer::from_pem(PRIVATE).unwrap();
        let bytes = mount.document(&scope, Some(&signer), SystemTime::UNIX_EPOCH).bytes;
        let signed = |key| Policy::Signed(PublicKey::from_pem(key).unwrap());
        let read = |bytes: &[u8], policy: &Policy| Mount::read(bytes, &scope, &mount.key, policy);
        assert_eq!(read(&bytes, &Policy::Any).unwrap(), mount);
        assert_eq!(read(&bytes, &signed(PUBLIC)).unwrap(), mount);
        assert!(read(&bytes, &signed(OTHER)).is_err());
        assert!(Mount::read(&bytes, &scope, &Digest::of(b""), &Policy::Any).is_err());
        assert!(Mount::read(&bytes, &Scope::new("x").unwrap(), &mount.key, &Policy::Any).is_err());
        let poisoned = String::from_utf8(bytes).unwrap();
        let poisoned = poisoned.replace(&Digest::of(b"blob").hex(), &Digest::of(b"poison").hex());
        assert!(read(poisoned.as_bytes(), &signed(PUBLIC)).is_err());
        assert!(read(poisoned.as_bytes(), &Policy::Any).is_ok());
    }
}
