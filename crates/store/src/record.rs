//! Records: small documents that tie names and keys to digests.

use std::io::{self, BufWriter, Seek, Write};

use serde::{Deserialize, Serialize};
use xbuild_model::Digest;

use crate::Hashed;

/// The outcome of a COPY's selection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectionRecord {
    /// A hash of everything that the selection looked at.
    pub survey: Digest,
    /// The content key of the selected files.
    pub content: Digest,
}

const DIGEST_LENGTH: usize = 64;

/// Puts the digest of `bytes` before them.
pub(crate) fn seal(bytes: &[u8]) -> Vec<u8> {
    let mut sealed = Digest::of(bytes).hex().into_bytes();
    sealed.push(b'\n');
    sealed.extend_from_slice(bytes);
    sealed
}

/// Writes a sealed record to an empty file, as [`seal`] makes it, without holding the bytes that
/// `write` writes.
pub(crate) fn seal_to(
    file: &mut (impl Write + Seek),
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    file.write_all(&[b' '; DIGEST_LENGTH])?;
    file.write_all(b"\n")?;
    let mut output = BufWriter::with_capacity(BUFFER, Hashed::new(file));
    write(&mut output)?;
    let (file, digest) = output.into_inner()?.finish();
    file.rewind()?;
    file.write_all(digest.hex().as_bytes())
}

/// Hashes and writes this many bytes at a time.
const BUFFER: usize = 64 << 10;

/// Returns the bytes of a sealed record, `None` if it is damaged.
pub(crate) fn unseal(mut sealed: Vec<u8>) -> Option<Vec<u8>> {
    let bytes = sealed.get(DIGEST_LENGTH + 1..)?;
    if sealed[..DIGEST_LENGTH] != *Digest::of(bytes).hex().as_bytes() {
        return None;
    }
    sealed.drain(..=DIGEST_LENGTH);
    Some(sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_pieces_is_sealed_alike() {
        for length in [0, 1, BUFFER, 3 * BUFFER + 7] {
            let bytes: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let mut file = io::Cursor::new(Vec::new());
            seal_to(&mut file, |output| {
                bytes.chunks(1000).try_for_each(|piece| output.write_all(piece))
            })
            .unwrap();
            assert_eq!(file.get_ref(), &seal(&bytes), "{length}");
            assert_eq!(unseal(file.into_inner()), Some(bytes));
        }
    }
}
