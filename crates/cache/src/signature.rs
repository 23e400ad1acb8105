//! Ed25519 signatures of documents, and the readers that want them.
//!
//! **Source** — RFC 8032.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::payload::Payload;
use crate::{CacheDocumentError, KeyError, key_file};

/// Signs documents.
pub struct Signer(Ed25519KeyPair);

/// A key that checks signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// The documents that count for a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// All that are well formed.
    Any,
    /// Those that one of these keys has signed.
    Signed(Vec<PublicKey>),
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signer").field(&self.public()).finish()
    }
}

impl Signer {
    /// Reads the private key of a PEM file (PKCS#8).
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let document = key_file::private(text)?;
        // The document need not hold the public key as well: openssl writes none.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&document);
        pair.map(Self).map_err(|_| KeyError::NotEd25519)
    }

    /// Returns the key that checks its signatures.
    pub fn public(&self) -> PublicKey {
        let bytes = self.0.public_key().as_ref().try_into();
        PublicKey(bytes.expect("a public key of Ed25519 has 32 bytes"))
    }

    /// Returns the signature of a payload, in base64.
    pub(crate) fn sign(&self, payload: &Payload) -> String {
        STANDARD.encode(self.0.sign(payload.bytes()))
    }
}

impl PublicKey {
    /// Reads the public keys of a PEM file; at least one.
    pub fn from_pem(text: &str) -> Result<Vec<Self>, KeyError> {
        Ok(key_file::public(text)?.into_iter().map(Self).collect())
    }
}

impl Policy {
    /// Checks the signature of a payload.
    pub(crate) fn check(
        &self,
        payload: impl FnOnce() -> Payload,
        signature: Option<&str>,
    ) -> Result<(), CacheDocumentError> {
        let Self::Signed(keys) = self else { return Ok(()) };
        let signature = signature.ok_or(CacheDocumentError::Unsigned)?;
        let signature = STANDARD.decode(signature).map_err(|_| CacheDocumentError::Signature)?;
        let payload = payload();
        let made = |key: &PublicKey| {
            UnparsedPublicKey::new(&ED25519, key.0).verify(payload.bytes(), &signature).is_ok()
        };
        if keys.iter().any(made) { Ok(()) } else { Err(CacheDocumentError::Signature) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Made by `openssl genpkey -algorithm ed25519` for these tests.
    pub(crate) const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIMrezcJfxG31srqN5kKqLbliV4WEZCW6myv3fNwLBmWR\n-----END PRIVATE KEY-----\n";
    pub(crate) const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAqvpwXi2X8CoZH592K8EduIpms/kgJshvq8WWj5a4Lm4=\n-----END PUBLIC KEY-----\n";
    pub(crate) const OTHER: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAt4o4TSYL07bWi6KQLUdCxfCFhymKfvA/Tjx0HmeZkVo=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn only_the_wanted_keys_count() {
        let signer = Signer::from_pem(PRIVATE).unwrap();
        let (own, other) =
            (PublicKey::from_pem(PUBLIC).unwrap(), PublicKey::from_pem(OTHER).unwrap());
        assert_eq!(own, [signer.public()]);
        let payload = |text| move || Payload::new("test").text(text);
        let signature = signer.sign(&payload("a")());
        let check = |keys: &[PublicKey], text, signature| {
            Policy::Signed(keys.to_vec()).check(payload(text), signature)
        };
        assert!(check(&own, "a", Some(&signature)).is_ok());
        assert!(check(&[&other[..], &own].concat(), "a", Some(&signature)).is_ok());
        for (keys, text, signature) in [
            (&own, "b", signature.as_str()),
            (&other, "a", &signature),
            (&own, "a", "not base64"),
            (&own, "a", ""),
        ] {
            let error = check(keys, text, Some(signature)).unwrap_err();
            assert!(matches!(error, CacheDocumentError::Signature), "{error}");
        }
        assert!(matches!(check(&own, "a", None), Err(CacheDocumentError::Unsigned)));
        assert!(check(&[], "a", Some(&signature)).is_err());
        assert!(Policy::Any.check(payload("a"), None).is_ok());
    }

    #[test]
    fn other_files_are_no_keys() {
        for bad in ["", PUBLIC, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            assert!(Signer::from_pem(bad).is_err(), "{bad}");
        }
        for bad in ["", PRIVATE, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
            assert!(PublicKey::from_pem(bad).is_err(), "{bad}");
        }
    }
}
