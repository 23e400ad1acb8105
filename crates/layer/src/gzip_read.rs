//! Reading gzip files as gzip(1) does.
//!
//! **Source** — RFC 1952 § 2.2; GNU gzip 1.13, `gzip.c`: what follows the last member is ignored.

use std::io::{self, BufRead, Chain, Cursor, Read};

use flate2::bufread::GzDecoder;

/// The first bytes of a member.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A member behind the bytes of it that were looked at.
type Member<R> = GzDecoder<Chain<Cursor<Vec<u8>>, R>>;

/// Reads the members that begin a stream. Zeros, or anything else that is no member, may follow them.
pub(crate) struct Members<R> {
    /// The member that is read; `None` behind the last.
    member: Option<Member<R>>,
}

impl<R: BufRead> Members<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { member: Some(member(Vec::new(), input)) }
    }
}

fn member<R: BufRead>(head: Vec<u8>, input: R) -> Member<R> {
    GzDecoder::new(Cursor::new(head).chain(input))
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(current) = &mut self.member {
            let count = current.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let Some((_, mut input)) = self.member.take().map(|old| old.into_inner().into_inner())
            else {
                break;
            };
            let mut head = Vec::new();
            input.by_ref().take(MAGIC.len() as u64).read_to_end(&mut head)?;
            self.member = (head == MAGIC).then(|| member(head, input));
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        // A reader that gives single bytes shows every place where two reads could meet.
        let bytes = io::BufReader::with_capacity(1, bytes);
        Members::new(bytes).read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn what_follows_the_members_is_ignored() {
        let two = [gzip(b"one "), gzip(b"two")].concat();
        for tail in [&b""[..], &[0; 3000], b"garbage", b"\x1f", b"\x1fx", &[0, 0x1f, 0x8b, 8]] {
            assert_eq!(read(&[&two, tail].concat()).unwrap(), b"one two", "{tail:?}");
        }
        assert_eq!(read(&[gzip(b""), two].concat()).unwrap(), b"one two");
    }

    #[test]
    fn damage_within_a_member_is_an_error() {
        let one = gzip(b"one ");
        let two = [one.clone(), gzip(b"two")].concat();
        for length in (1..two.len()).filter(|length| *length != one.len()) {
            // One byte of a second member could be anything.
            let is_read = read(&two[..length]).is_ok();
            assert_eq!(is_read, length == one.len() + 1, "{length}");
        }
        for trailer in 1..=8 {
            let mut flipped = one.clone();
            let at = flipped.len() - trailer;
            flipped[at] ^= 1;
            assert!(read(&flipped).is_err(), "{trailer}");
        }
        assert!(read(b"").is_err() && read(b"no gzip").is_err());
    }
}
