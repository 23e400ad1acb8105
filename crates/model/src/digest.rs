//! Content addresses: of blobs ([`Digest`]), of uncompressed layers ([`DiffId`]) and of stacks of
//! layers ([`Chain`]).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use xbuild_wording::quoted;

/// The digest of a blob as it is stored and sent, `sha256:` and 64 lower-case hexadecimal digits.
///
/// **Source** — OCI image-spec `descriptor.md` § Digests. Only SHA-256 is accepted: registries and
/// peers use no other algorithm.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// The text is not `ALGORITHM:HEX`, or the hexadecimal part has another length or case.
    #[error(
        "invalid digest {text}: expected sha256: and 64 lower-case hexadecimal digits",
        text = quoted(.text)
    )]
    Malformed {
        /// The text.
        text: String,
    },
}

impl Digest {
    /// Returns the digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Returns the digest of a finished SHA-256 hash of 32 bytes.
    pub fn from_sha256(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 64 hexadecimal digits, without the algorithm: a safe file name.
    pub fn hex(&self) -> String {
        self.with_hex(str::to_owned)
    }

    /// Calls a function with the hexadecimal digits. Builds of many layers write them millions of
    /// times.
    fn with_hex<T>(&self, work: impl FnOnce(&str) -> T) -> T {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        work(std::str::from_utf8(&digits).expect("hexadecimal digits are ASCII"))
    }

    /// Returns the first 8 bytes as a number, for comparisons in which a false match does no harm.
    pub fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// Returns the first 12 hexadecimal digits, for display.
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.with_hex(|hex| f.write_str(hex))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let malformed = || DigestError::Malformed { text: text.chars().take(100).collect() };
        let hex = text.strip_prefix("sha256:").ok_or_else(malformed)?.as_bytes();
        if hex.len() != 64 {
            return Err(malformed());
        }
        let nibble = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let (high, low) = nibble(pair[0]).zip(nibble(pair[1])).ok_or_else(malformed)?;
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// The digest of a layer's uncompressed tar stream.
///
/// **Source** — OCI image-spec `config.md` § Layer DiffID.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A stack of layers, the oldest first; empty for `scratch`.
///
/// The result of a build step is such a stack, never a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Chain(pub Vec<DiffId>);

impl Chain {
    /// Returns the identity of the stack: equal stacks have equal ids, `None` for the empty one.
    ///
    /// **Source** — OCI image-spec `config.md` § Layer ChainID.
    pub fn id(&self) -> Option<Digest> {
        self.ids().last()
    }

    /// Returns the ids of the stacks of its first layer, its first two, and so on up to the whole.
    pub fn ids(&self) -> impl Iterator<Item = Digest> {
        self.0.iter().scan(None, |below: &mut Option<Digest>, layer| {
            let id = match below {
                None => layer.0.clone(),
                Some(below) => Digest::of(format!("{below} {layer}").as_bytes()),
            };
            *below = Some(id.clone());
            Some(id)
        })
    }

    /// Returns this stack with one more layer on top.
    pub fn with(&self, layer: DiffId) -> Self {
        Self(self.0.iter().cloned().chain([layer]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_only_the_canonical_form() {
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string().parse(), Ok(digest.clone()));
        let upper = digest.to_string().to_uppercase();
        for bad in ["", "sha256:", "sha256:../../x", "sha512:00", &upper, &format!("{digest}0")] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_is_the_beginning() {
        let digest = Digest::of(b"a");
        assert_eq!(format!("{:016x}", digest.prefix()), digest.hex()[..16]);
    }

    #[test]
    fn chain_ids_follow_the_specification() {
        let layer = |text: &str| DiffId(Digest::of(text.as_bytes()));
        assert_eq!(Chain::default().id(), None);
        let one = Chain(vec![layer("a")]);
        assert_eq!(one.id(), Some(layer("a").0));
        let expected = Digest::of(format!("{} {}", layer("a"), layer("b")).as_bytes());
        let two = one.with(layer("b"));
        assert_eq!(two.id().as_ref(), Some(&expected));
        assert_eq!(two.ids().collect::<Vec<_>>(), [layer("a").0, expected]);
    }
}
