//! Build contexts that come as a tar archive. They are unpacked into a folder, which is then a
//! context like any other.
//!
//! Names are resolved below the folder: neither `..`, nor an absolute name, nor a symbolic link
//! leads out of it. No entry of an archive removes files. Owners are not kept, as in all contexts.

use std::io::Read;

use xbuild_layer::path::{self, DotDot};
use xbuild_layer::{Change, Entry, Kind, LayerError, Meta, ShownPath, capability};
use xbuild_model::records::Owners;

use crate::unpack::Unpacker;
use crate::{Root, UnpackError, archive};

/// Bytes that tell an archive from a Dockerfile: a tar header and the start of the contents.
pub const SNIFFED: usize = 1024;

/// Returns whether a stream that begins with these bytes is a tar archive, compressed or not. There
/// are [`SNIFFED`] of them, or all.
///
/// ```
/// assert!(!xbuild_files::context_tar::is_archive(b"FROM scratch\n"));
/// assert!(xbuild_files::context_tar::is_archive(b"\x1f\x8b\x08..."));
/// ```
pub fn is_archive(head: &[u8]) -> bool {
    archive::is_archive(head)
}

/// Unpacks an archive (plain, gzip, bzip2, xz or zstd) into the empty folder `root`.
///
/// **Errors** — leave a half-filled folder, which the caller removes.
pub fn unpack(input: impl Read + Send, root: &Root) -> Result<(), UnpackError> {
    let mut input = input;
    let mut head = Vec::new();
    let sniffed = input.by_ref().take(SNIFFED as u64).read_to_end(&mut head);
    sniffed.map_err(|source| LayerError::Read { source })?;
    let mut reader = archive::read(head, input)?;
    let entry_fault =
        |path: Vec<u8>| move |source| UnpackError::Entry { path: ShownPath(path.clone()), source };
    let mut unpacker = Unpacker::new(root, Owners::Recorded).map_err(entry_fault(Vec::new()))?;
    while let Some(raw) = reader.tar.next()? {
        let clean = |name: &[u8]| {
            path::clean(name, DotDot::Clamp).map_err(|fault| LayerError::entry(name, fault))
        };
        let name = clean(&raw.name)?;
        let kind = match raw.kind {
            Kind::HardLink { target } => Kind::HardLink { target: clean(&target)? },
            kind => kind,
        };
        // Without these bits, only root could continue unpacking or remove the folder.
        let enter = if kind == Kind::Dir { 0o700 } else { 0 };
        let xattrs = capability::exported(&raw.meta.xattrs);
        let mode = raw.meta.mode | enter;
        let meta = Meta { mode, uid: 0, gid: 0, xattrs, mtime: raw.meta.mtime };
        let change = Change::Put(Entry { path: name.clone(), kind, meta });
        unpacker.apply(&change, &mut reader.tar).map_err(entry_fault(name))?;
    }
    reader.finish()?;
    unpacker.finish().map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    /// Returns a plain archive of (name, kind, text). The text of a link is its target.
    fn tar(entries: &[(&str, u8, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, kind, text) in entries {
            let mut header = [0; 512];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[100..107].copy_from_slice(if *kind == b'5' { b"0000000" } else { b"0000600" });
            let size = if *kind == b'0' { text.len() } else { 0 };
            header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
            header[136..147].copy_from_slice(b"00000000007");
            header[156] = *kind;
            if *kind != b'0' {
                header[157..157 + text.len()].copy_from_slice(text.as_bytes());
            }
            header[257..265].copy_from_slice(b"ustar\x0000");
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            bytes.extend(header);
            if *kind == b'0' {
                bytes.extend(text.as_bytes());
                bytes.resize(bytes.len().next_multiple_of(512), 0);
            }
        }
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    #[test]
    fn whatever_an_archive_says_stays_in_the_folder() {
        let temp = tempfile::tempdir().unwrap();
        let (inside, outside) = (temp.path().join("in"), temp.path().join("out"));
        fs::create_dir(&inside).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("mark"), "mark").unwrap();
        let out = outside.to_str().unwrap();
        let archive = tar(&[
            ("./d/", b'5', ""),
            ("d/f", b'0', "text"),
            ("../../up", b'0', "up"),
            ("/absolute", b'0', "absolute"),
            ("link", b'2', out),
            ("link/mark", b'0', "over"),
            ("Dockerfile", b'2', &format!("{out}/mark")),
            ("hard", b'1', "../d/f"),
            (".wh.gone", b'0', "plain"),
        ]);
        assert!(is_archive(&archive[..SNIFFED]));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&archive).unwrap();
        let gzip = gzip.finish().unwrap();
        let unpack = |bytes: &[u8]| unpack(bytes, &Root::open(&inside).unwrap());
        for damaged in [&gzip[..gzip.len() - 1], &[&gzip[..gzip.len() - 8], &[0; 8]].concat()] {
            let error = unpack(damaged).unwrap_err();
            assert!(matches!(error, UnpackError::Layer { .. }), "{error:?}");
            fs::remove_dir_all(&inside).unwrap();
            fs::create_dir(&inside).unwrap();
        }
        unpack(&[&gzip[..], &[0; 512]].concat()).unwrap();
        let read = |name: &str| fs::read_to_string(inside.join(name)).unwrap();
        for (name, text) in [
            ("d/f", "text"),
            ("hard", "text"),
            ("up", "up"),
            ("absolute", "absolute"),
            ("link/mark", "over"),
            (".wh.gone", "plain"),
        ] {
            assert_eq!(read(name), text, "{name}");
        }
        assert!(inside.join("Dockerfile").is_symlink());
        assert_eq!(fs::read_to_string(outside.join("mark")).unwrap(), "mark");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        let error = unpack(&archive[..700]).unwrap_err();
        assert!(matches!(error, UnpackError::Layer { .. }), "{error:?}");
    }
}
