//! Hashing bytes while they are written.

use std::io::{self, Write};

use sha2::{Digest as _, Sha256};
use xbuild_model::Digest;

/// Hashes the bytes that are written to it, and passes them on.
#[derive(Debug)]
pub struct Hashed<W> {
    output: W,
    hash: Sha256,
}

impl<W> Hashed<W> {
    /// Returns a writer that passes bytes on to `output`.
    pub fn new(output: W) -> Self {
        Self { output, hash: Sha256::new() }
    }

    /// Returns the output, and the digest of all bytes that went there.
    pub fn finish(self) -> (W, Digest) {
        (self.output, Digest::from_sha256(self.hash.finalize().into()))
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
