//! Reading a blob that nobody has checked yet.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};
use xbuild_model::{BlobSource, Descriptor, Digest, WrongBytes};

/// The bytes of a blob from its beginning. The last ones come only if all are those of its digest, so
/// whoever sends them on sends no wrong blob to its end.
pub(crate) struct CheckedRead<R> {
    inner: R,
    blob: Descriptor,
    source: BlobSource,
    hash: Sha256,
    seen: u64,
}

impl<R> CheckedRead<R> {
    pub(crate) fn new(inner: R, blob: &Descriptor, source: &BlobSource) -> Self {
        let (blob, source) = (blob.clone(), source.clone());
        Self { inner, blob, source, hash: Sha256::new(), seen: 0 }
    }
}

impl<R: Read> Read for CheckedRead<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hash.update(&buffer[..length]);
        self.seen += length as u64;
        let is_wrong = self.seen > self.blob.size
            || self.seen == self.blob.size
                && Digest::from_sha256(self.hash.clone().finalize().into()) != self.blob.digest;
        match is_wrong {
            true => Err(io::Error::other(WrongBytes::new(&self.blob, &self.source))),
            false => Ok(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_blob_has_no_end() {
        let source = BlobSource::Registry { registry: "r.example".into(), repository: "a".into() };
        let blob = Descriptor::of("x/y", b"layer");
        let read = |bytes: &[u8]| {
            let mut seen = Vec::new();
            let mut reader = CheckedRead::new(bytes, &blob, &source);
            let mut byte = [0];
            loop {
                match reader.read(&mut byte) {
                    Ok(0) => return (seen, None),
                    Ok(_) => seen.push(byte[0]),
                    Err(error) => return (seen, Some(error)),
                }
            }
        };
        assert!(matches!(read(b"layer"), (seen, None) if seen == b"layer"));
        let (seen, error) = read(b"lAYER");
        let error = error.unwrap();
        assert_eq!(seen, b"lAYE");
        let text = WrongBytes::within(&error).unwrap().to_string();
        assert!(text.contains("from r.example/a") && text.contains(&blob.digest.to_string()));
        assert!(read(b"layer and more").1.is_some());
    }
}
