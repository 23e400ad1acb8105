//! Extended attributes: which of them a layer carries, and what an access list allows.
//!
//! A layer has file capabilities, access lists and the attributes `user.*`: what a command sees, and
//! what the tools that unpack layers set. Owners in access lists are numbers inside the image, since
//! the kernel translates them for the caller.
//!
//! **Source** — xattr(7), acl(5), `linux/posix_acl_xattr.h`.

use crate::capability;

/// The attribute with the access list of a file.
pub const ACCESS: &[u8] = b"system.posix_acl_access";

/// The attribute with the access list that new files of a folder get.
pub const DEFAULT: &[u8] = b"system.posix_acl_default";

/// The version of the form of access lists, and the length of an entry in bytes.
const ACL_VERSION: u32 = 2;
const ACL_ENTRY: usize = 8;

/// Tags of entries: the file's group, and the most that named users and groups get.
const GROUP: u16 = 0x04;
const MASK: u16 = 0x10;

/// Returns whether overlay file systems or xbuild keep their own state in an attribute. From a layer
/// it could forge whiteouts, redirects, owners or devices.
pub fn is_internal(name: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 4] =
        [b"trusted.overlay.", b"user.overlay.", b"user.fuseoverlayfs.", b"user.xbuild."];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name == b"user.containers.override_stat"
}

/// Returns whether a layer carries an attribute.
pub fn is_kept(name: &[u8]) -> bool {
    let is_known = name == capability::NAME || name == ACCESS || name == DEFAULT;
    is_known || (name.starts_with(b"user.") && !is_internal(name))
}

/// Returns the attributes that a layer carries; capabilities as version 2.
pub fn kept(xattrs: &[(Vec<u8>, Vec<u8>)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let value = |name: &[u8], value: &[u8]| match name == capability::NAME {
        true => capability::to_v2(value),
        false => Some(value.to_vec()),
    };
    let kept = xattrs.iter().filter(|(name, _)| is_kept(name));
    kept.filter_map(|(name, bytes)| Some((name.clone(), value(name, bytes)?))).collect()
}

/// Returns the mode of a file that loses its access list. The group's bits of `mode` are those of
/// the list's mask then, which may allow more than the list allows the group.
pub fn narrowed(mode: u32, xattrs: &[(Vec<u8>, Vec<u8>)]) -> u32 {
    match xattrs.iter().find(|(name, _)| name == ACCESS) {
        Some((_, list)) => mode & !0o070 | mode & group_bits(list) << 3,
        None => mode,
    }
}

/// Returns what an access list allows the group, as three bits; nothing if it is malformed.
fn group_bits(list: &[u8]) -> u32 {
    let Some((version, entries)) = list.split_first_chunk() else { return 0 };
    if u32::from_le_bytes(*version) != ACL_VERSION {
        return 0;
    }
    let entries = entries.chunks_exact(ACL_ENTRY).map(|entry| {
        let number = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
        (number(0), u32::from(number(2)) & 7)
    });
    let of = |wanted| entries.clone().find(|(tag, _)| *tag == wanted).map(|(_, bits)| bits);
    of(GROUP).unwrap_or(0) & of(MASK).unwrap_or(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an access list of entries: tag, bits, owner.
    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut list = ACL_VERSION.to_le_bytes().to_vec();
        for (tag, bits, id) in entries {
            list.extend(tag.to_le_bytes().iter().chain(&bits.to_le_bytes()));
            list.extend(id.to_le_bytes());
        }
        list
    }

    #[test]
    fn a_lost_list_never_widens_rights() {
        let user = (2, 7, 33);
        for (entries, mode, expected) in [
            (&[(1, 7, 0), user, (GROUP, 5, 0), (MASK, 7, 0), (0x20, 5, 0)][..], 0o775, 0o755),
            (&[(1, 7, 0), user, (GROUP, 0, 0), (MASK, 7, 0), (0x20, 0, 0)], 0o2770, 0o2700),
            (&[(1, 6, 0), user, (GROUP, 7, 0), (MASK, 4, 0), (0x20, 0, 0)], 0o640, 0o640),
            (&[(1, 6, 0), (GROUP, 4, 0), (0x20, 0, 0)], 0o640, 0o640),
            (&[], 0o777, 0o707),
        ] {
            let xattrs = vec![(ACCESS.to_vec(), list(entries))];
            assert_eq!(narrowed(mode, &xattrs), expected, "{entries:?}");
        }
        for bad in [&b""[..], b"\x03\0\0\0", b"\x02\0\0"] {
            assert_eq!(narrowed(0o775, &[(ACCESS.to_vec(), bad.to_vec())]), 0o705);
        }
        assert_eq!(narrowed(0o775, &[(DEFAULT.to_vec(), Vec::new())]), 0o775);
    }

    /// Row 41 of the threat table.
    #[test]
    fn marks_of_file_systems_are_not_kept() {
        let names: [&[u8]; 9] = [
            b"user.overlay.opaque",
            b"user.overlay.overlay.x",
            b"user.fuseoverlayfs.opaque",
            b"user.containers.override_stat",
            b"user.xbuild.device",
            b"trusted.overlay.opaque",
            b"trusted.other",
            b"security.selinux",
            b"system.other",
        ];
        assert!(names.iter().all(|name| !is_kept(name)));
        assert!(is_kept(b"user.pax.flags") && is_kept(ACCESS) && is_kept(DEFAULT));
    }
}
