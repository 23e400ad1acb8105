//! Extended header records: `LENGTH KEY=VALUE\n`.
//!
//! **Source** — POSIX.1-2017 `pax` § pax Header Block. The `SCHILY.xattr` records come from star.

use std::collections::HashSet;

use crate::{Mtime, TarFault, attributes};

use super::numbers::unsigned;
use super::sparse::SparseRecords;

/// Bytes of an extended attribute's name (XATTR_NAME_MAX) and value (XATTR_SIZE_MAX).
const MAX_XATTR_NAME: usize = 255;
const MAX_XATTR_VALUE: usize = 64 << 10;

/// The prefix of record keys that hold extended attributes.
pub(crate) const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// The statements of an extended header about the next entry.
#[derive(Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link_path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) mtime: Option<Mtime>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Option<SparseRecords>,
}

impl Pax {
    /// Reads the body of an extended header.
    pub(super) fn parse(body: &[u8]) -> Result<Self, TarFault> {
        let mut pax = Self::default();
        for (key, value) in records(body)? {
            let bad = || TarFault::PaxValue { key: shown(key) };
            match key {
                b"path" => pax.path = Some(text(value).ok_or_else(bad)?),
                b"linkpath" => pax.link_path = Some(text(value).ok_or_else(bad)?),
                b"size" => pax.size = Some(unsigned(value).ok_or_else(bad)?),
                b"uid" => pax.uid = Some(unsigned(value).ok_or_else(bad)?.cast_signed()),
                b"gid" => pax.gid = Some(unsigned(value).ok_or_else(bad)?.cast_signed()),
                b"mtime" => pax.mtime = Some(time(value).ok_or_else(bad)?),
                _ => {
                    if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
                        if name.is_empty()
                            || name.len() > MAX_XATTR_NAME
                            || value.len() > MAX_XATTR_VALUE
                        {
                            return Err(bad());
                        }
                        if !attributes::is_internal(name) {
                            pax.xattrs.push((name.to_vec(), value.to_vec()));
                        }
                    } else if let Some(name) = key.strip_prefix(b"GNU.sparse.") {
                        let sparse = pax.sparse.get_or_insert_default();
                        sparse.add(name, value).ok_or_else(bad)?;
                    }
                }
            }
        }
        pax.xattrs.sort_unstable();
        Ok(pax)
    }
}

/// Checks the body of a global extended header. Like other engines, xbuild uses none of its
/// records. Records that would change the place or the end of an entry are refused, since other
/// readers use them.
pub(super) fn check_global(body: &[u8]) -> Result<(), TarFault> {
    for (key, _) in records(body)? {
        if matches!(key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.sparse.") {
            return Err(TarFault::PaxGlobal { key: shown(key) });
        }
    }
    Ok(())
}

/// A key and its value.
type Record<'b> = (&'b [u8], &'b [u8]);

fn records(mut body: &[u8]) -> Result<Vec<Record<'_>>, TarFault> {
    let mut records = Vec::new();
    let mut keys = HashSet::new();
    while !body.is_empty() {
        let (record, rest) = record(body).ok_or(TarFault::PaxRecord)?;
        // Sparse format 0.0 writes its map as pairs of these keys.
        let repeats = matches!(record.0, b"GNU.sparse.offset" | b"GNU.sparse.numbytes");
        if !repeats && !keys.insert(record.0) {
            return Err(TarFault::PaxDuplicate { key: shown(record.0) });
        }
        records.push(record);
        body = rest;
    }
    Ok(records)
}

/// Splits the first record off `body`.
fn record(body: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let space = body.iter().position(|&byte| byte == b' ')?;
    let length = usize::try_from(unsigned(&body[..space])?).ok()?;
    let (record, rest) = body.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    (!key.is_empty() && !key.contains(&0)).then_some(((key, value), rest))
}

/// Reads seconds since the epoch, with a sign and a fraction. Nine digits of the fraction count.
fn time(value: &[u8]) -> Option<Mtime> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let (whole, fraction) = match value.iter().position(|&byte| byte == b'.') {
        Some(point) => (&value[..point], &value[point + 1..]),
        None => (value, &b""[..]),
    };
    let secs = unsigned(whole)?.cast_signed();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanos = digits.fold(0, |nanos: u32, &digit| nanos * 10 + u32::from(digit - b'0'));
    Some(match (negative, nanos) {
        (false, _) => Mtime { secs, nanos },
        (true, 0) => Mtime { secs: -secs, nanos },
        (true, _) => Mtime { secs: -secs - 1, nanos: 1_000_000_000 - nanos },
    })
}

fn text(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty() && !value.contains(&0)).then(|| value.to_vec())
}

fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(&key[..key.len().min(100)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(records: &[(&[u8], &[u8])]) -> Vec<u8> {
        records.iter().flat_map(|(key, value)| crate::tar_write::pax_record(key, value)).collect()
    }

    #[test]
    fn records_are_read() {
        let pax = Pax::parse(&body(&[
            (b"path", b"a=b\n\xff"),
            (b"size", b"12"),
            (b"mtime", b"-1.25"),
            (b"comment", b""),
            (b"SCHILY.xattr.user.b", b"\0="),
            (b"SCHILY.xattr.user.a", b""),
        ]))
        .unwrap_or_default();
        assert_eq!(pax.path.unwrap(), b"a=b\n\xff");
        assert_eq!(pax.size, Some(12));
        assert_eq!(pax.mtime, Some(Mtime { secs: -2, nanos: 750_000_000 }));
        let expected = [(b"user.a".to_vec(), Vec::new()), (b"user.b".to_vec(), b"\0=".to_vec())];
        assert_eq!(pax.xattrs, expected);
    }

    /// Row 16 of the threat table.
    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"5 a=b\n"[..],
            b"7 a=b\n",
            b"6 a=b\nx",
            b"6 a=bx",
            b"6 abc\n",
            b"5 =b\n",
            b"06 a=b",
            b"+6 a=b\n",
            b" 6 a=b\n",
            b"6\ta=b\n",
            b"0 ",
            b"2 ",
            b"\n",
            b"8 a\0b=c\n",
            b"99999999999999999999 a=b\n",
            b"6 a=b\n\0\0",
        ] {
            let result = Pax::parse(bad).map(|_| ());
            assert_eq!(result, Err(TarFault::PaxRecord), "{}", bad.escape_ascii());
        }
        let twice = body(&[(b"comment", b"1"), (b"comment", b"2")]);
        assert!(matches!(Pax::parse(&twice), Err(TarFault::PaxDuplicate { .. })));
    }

    #[test]
    fn bad_values_are_refused() {
        for (key, value) in [
            (&b"path"[..], &b""[..]),
            (b"path", b"a\0b"),
            (b"linkpath", b"\0"),
            (b"size", b""),
            (b"size", b"-1"),
            (b"size", b"+1"),
            (b"size", b"0x10"),
            (b"size", b" 1"),
            (b"size", b"1.5"),
            (b"size", b"9223372036854775808"),
            (b"uid", b"root"),
            (b"gid", b"-5"),
            (b"mtime", b"1e9"),
            (b"mtime", b".5"),
            (b"mtime", b"1.-5"),
            (b"mtime", b"--1"),
            (b"SCHILY.xattr.", b"x"),
            (b"SCHILY.xattr.user.big", &[0; MAX_XATTR_VALUE + 1]),
        ] {
            let result = Pax::parse(&body(&[(key, value)])).map(|_| ());
            assert!(matches!(result, Err(TarFault::PaxValue { .. })), "{}", key.escape_ascii());
        }
    }

    /// Row 41 of the threat table.
    #[test]
    fn overlay_attributes_are_dropped() {
        let pax = Pax::parse(&body(&[
            (b"SCHILY.xattr.trusted.overlay.opaque", b"y"),
            (b"SCHILY.xattr.user.overlay.redirect", b"/../.."),
            (b"SCHILY.xattr.user.overlay.whiteout", b""),
            (b"SCHILY.xattr.user.fuseoverlayfs.opaque", b"y"),
            (b"SCHILY.xattr.user.containers.override_stat", b"0:0:0644"),
            (b"SCHILY.xattr.user.xbuild.device", b"c 1 3"),
            (b"SCHILY.xattr.user.overlays", b"kept"),
        ]))
        .unwrap_or_default();
        assert_eq!(pax.xattrs, [(b"user.overlays".to_vec(), b"kept".to_vec())]);
    }

    #[test]
    fn global_records_must_not_move_entries() {
        assert_eq!(check_global(&body(&[(b"comment", b"0a1b"), (b"mtime", b"1")])), Ok(()));
        for key in [&b"path"[..], b"linkpath", b"size", b"GNU.sparse.name"] {
            let result = check_global(&body(&[(key, b"1")]));
            assert!(matches!(result, Err(TarFault::PaxGlobal { .. })));
        }
    }
}
