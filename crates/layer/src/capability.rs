//! File capabilities, and their two forms.
//!
//! The kernel stores an attribute that is set inside a user namespace as version 3, with the host
//! id of the namespace's root. That id means nothing on another machine, so a layer always has
//! version 2.
//!
//! **Source** — capabilities(7) § File capability extended attribute versioning,
//! `linux/capability.h`.

/// The name of the attribute.
pub const NAME: &[u8] = b"security.capability";

/// The top byte of the first little-endian word is the version; the lowest bit is the effective
/// bit.
const VERSION_MASK: u32 = 0xff00_0000;
const VERSION_2: u32 = 0x0200_0000;
const VERSION_3: u32 = 0x0300_0000;

/// Bytes of version 2: the first word, then permitted and inheritable, each in two words.
const LEN_2: usize = 20;
/// Bytes of version 3: version 2, then the root's id.
const LEN_3: usize = 24;

/// Returns the attribute's value as version 2; `None` if it is neither version 2 nor 3.
pub fn to_v2(value: &[u8]) -> Option<Vec<u8>> {
    let word = first_word(value)?;
    let version = match (word & VERSION_MASK, value.len()) {
        (VERSION_2, LEN_2) => word,
        (VERSION_3, LEN_3) => word & !VERSION_MASK | VERSION_2,
        _ => return None,
    };
    let mut out = version.to_le_bytes().to_vec();
    out.extend_from_slice(&value[4..LEN_2]);
    Some(out)
}

/// Returns the attribute's value as version 3, for the namespace whose root is `root_uid` on the
/// host; `None` if it is neither version 2 nor 3.
pub fn to_v3(value: &[u8], root_uid: u32) -> Option<Vec<u8>> {
    let mut out = to_v2(value)?;
    let word = first_word(&out)? & !VERSION_MASK | VERSION_3;
    out[..4].copy_from_slice(&word.to_le_bytes());
    out.extend_from_slice(&root_uid.to_le_bytes());
    Some(out)
}

/// Returns the attributes that a layer of COPY or ADD carries: file capabilities, as version 2.
///
/// BuildKit drops all others too: they mean something only on the machine where they were set.
pub fn exported(xattrs: &[(Vec<u8>, Vec<u8>)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    xattrs
        .iter()
        .filter(|(name, _)| name == NAME)
        .filter_map(|(name, value)| Some((name.clone(), to_v2(value)?)))
        .collect()
}

fn first_word(value: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(*value.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2() -> Vec<u8> {
        let mut value = 0x0200_0001_u32.to_le_bytes().to_vec();
        for word in [1_u32 << 10, 0, 0, 0] {
            value.extend_from_slice(&word.to_le_bytes());
        }
        value
    }

    #[test]
    fn version_3_loses_its_root_id() {
        let v3 = to_v3(&v2(), 100_000).unwrap();
        assert_eq!(v3.len(), LEN_3);
        assert_eq!(v3[..4], 0x0300_0001_u32.to_le_bytes());
        assert_eq!(v3[20..], 100_000_u32.to_le_bytes());
        assert_eq!(to_v2(&v3).unwrap(), v2());
        assert_eq!(to_v2(&v2()).unwrap(), v2());
    }

    #[test]
    fn other_values_are_none() {
        for value in [&b""[..], b"\x01", &[0; 20], &v2()[..19], &[v2(), vec![0; 5]].concat()] {
            assert_eq!(to_v2(value), None);
        }
    }

    #[test]
    fn only_capabilities_are_exported() {
        let xattrs = vec![
            (NAME.to_vec(), to_v3(&v2(), 7).unwrap()),
            (b"security.selinux".to_vec(), b"x".to_vec()),
            (b"user.note".to_vec(), b"hello".to_vec()),
        ];
        assert_eq!(exported(&xattrs), [(NAME.to_vec(), v2())]);
    }
}
