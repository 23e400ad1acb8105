//! Keys in PEM files, as `openssl genpkey` and `openssl pkey -pubout` write them.
//!
//! **Source** — RFC 7468 (PEM), RFC 8410 (Ed25519 in PKCS#8 and SubjectPublicKeyInfo).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::KeyError;

/// The bytes before the key in a SubjectPublicKeyInfo for Ed25519.
const PUBLIC_HEAD: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Returns the PKCS#8 document of a private key.
pub(crate) fn private(text: &str) -> Result<Vec<u8>, KeyError> {
    let label = "PRIVATE KEY";
    blocks(text, label).next().ok_or(KeyError::NoBlock { label })
}

/// Returns the public keys of a file; at least one.
pub(crate) fn public(text: &str) -> Result<Vec<[u8; 32]>, KeyError> {
    let label = "PUBLIC KEY";
    let key = |block: Vec<u8>| {
        let key = block.strip_prefix(&PUBLIC_HEAD[..]).and_then(|key| key.try_into().ok());
        key.ok_or(KeyError::NotEd25519)
    };
    let keys: Vec<_> = blocks(text, label).map(key).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(KeyError::NoBlock { label }) } else { Ok(keys) }
}

/// Returns the contents of the PEM blocks with a label. A block that is not base64 is left out.
fn blocks<'t>(text: &'t str, label: &str) -> impl Iterator<Item = Vec<u8>> + use<'t> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&begin)?;
        let (body, after) = after.split_once(&end)?;
        rest = after;
        Some(body.split_ascii_whitespace().collect::<String>())
    })
    .filter_map(|body| STANDARD.decode(body).ok())
}
