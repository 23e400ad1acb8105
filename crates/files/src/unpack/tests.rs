use xbuild_layer::{LayerWriter, Mtime};
use xbuild_testkit::folders::listing;
use xbuild_testkit::layers::layer;

use super::*;

/// Ordinary users cannot give files away.
pub(crate) fn owners() -> Owners {
    if rustix::process::geteuid().is_root() { Owners::Real } else { Owners::Recorded }
}

fn unpacked(lines: &[&str]) -> (tempfile::TempDir, Root, Result<Unpacked, UnpackError>) {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().join("top");
    std::fs::create_dir(&top).unwrap();
    let root = Root::open(&top).unwrap();
    let bytes = layer(lines);
    let result = unpack(LayerReader::new(&bytes[..]), &root, owners());
    (temp, root, result)
}

#[test]
fn a_layer_becomes_a_folder() {
    for (lines, expected) in [
        (&["f a/b/c x"][..], &["a/ 755", "a/b/ 755", "a/b/c 644 x"][..]),
        (&["f a/f x", "d a 700"], &["a/ 700", "a/f 644 x"]),
        (&["d a 511", "f a/f x", "d a/b 1777"], &["a/ 511", "a/b/ 1777", "a/f 644 x"]),
        (&["l l /etc/passwd", "p p"], &["l -> /etc/passwd", "p pipe"]),
        (
            &["w gone", "w d/gone", "f d/here x"],
            &["d/ 755", "d/gone gone", "d/here 644 x", "gone gone"],
        ),
        (&["d d 755", "o d", "f d/x 1"], &["d/ 755 opaque", "d/x 644 1"]),
        (&["f a/x 1", "o a"], &["a/ 755 opaque", "a/x 644 1"]),
        (&["f a 1", "h b a"], &["a 644 1", "b 644 1"]),
    ] {
        let (temp, _, result) = unpacked(lines);
        result.unwrap();
        assert_eq!(listing(&temp.path().join("top")), expected, "{lines:?}");
    }
}

#[test]
fn the_last_entry_of_a_path_wins() {
    for (lines, expected) in [
        (&["f a 1", "f a 2"][..], &["a 644 2"][..]),
        (&["d a 700", "f a/f 1", "f a 2"], &["a 644 2"]),
        (&["d a 700", "d a/b 711", "f a 2", "d a 750"], &["a/ 750"]),
        (&["f a 1", "d a 700"], &["a/ 700"]),
        (&["d a 700", "f a/f 1", "d a 711"], &["a/ 711", "a/f 644 1"]),
        (&["f a 1", "h b a", "f b 2"], &["a 644 1", "b 644 2"]),
        (&["f a 1", "f b 2", "h b a"], &["a 644 1", "b 644 1"]),
        (&["f a 1", "f a/b 2"], &["a/ 755", "a/b 644 2"]),
    ] {
        let (temp, _, result) = unpacked(lines);
        result.unwrap();
        assert_eq!(listing(&temp.path().join("top")), expected, "{lines:?}");
    }
}

#[test]
fn whiteouts_hide_only_other_layers() {
    for (lines, expected) in [
        (&["f a 1", "w a"][..], &["a 644 1"][..]),
        (&["w a", "f a 1"], &["a 644 1"]),
        (&["w a", "d a 700"], &["a/ 700 opaque"]),
        (&["d a 700", "f a/f 1", "w a"], &["a/ 700 opaque", "a/f 644 1"]),
        (&["w a", "f a/b/f 1"], &["a/ 755 opaque", "a/b/ 755", "a/b/f 644 1"]),
        (&["w a", "w a/b"], &["a/ 755 opaque", "a/b gone"]),
        (&["w a", "w a"], &["a gone"]),
    ] {
        let (temp, _, result) = unpacked(lines);
        result.unwrap();
        assert_eq!(listing(&temp.path().join("top")), expected, "{lines:?}");
    }
}

/// Rows 1, 2, 11, 12, 13 and 20 of the threat table.
#[test]
fn links_of_a_layer_lead_nowhere_outside() {
    for lines in [
        &["l d ../outside", "f d/new x"][..],
        &["l d ../outside", "d d/newdir 777"],
        &["l d ../outside", "d d 777"],
        &["l d ../outside", "w d/kept"],
        &["l d ../outside", "o d"],
        &["l a b", "l b ..", "f a/outside/new x"],
        &["d a 755", "l a/up ..", "l e a/up/../..", "f e/outside/new x"],
        &["l d ../outside/kept", "f d x"],
        &["l d ../outside/kept", "h e d"],
        &["l d ../outside", "h e d/kept"],
        &["l d ../outside", "p d/pipe"],
        &["l d ../outside", "l d/l x"],
    ] {
        let temp = tempfile::tempdir().unwrap();
        let outside = temp.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::create_dir(temp.path().join("top")).unwrap();
        std::fs::write(outside.join("kept"), "kept").unwrap();
        let watched = Root::open(temp.path()).unwrap();
        watched.chmod(b"outside", 0o700).unwrap();
        let before = (watched.stat(b"outside").unwrap(), watched.stat(b"outside/kept").unwrap());
        let root = Root::open(&temp.path().join("top")).unwrap();
        let bytes = layer(lines);
        // It may stay inside or be refused.
        let _ = unpack(LayerReader::new(&bytes[..]), &root, owners());
        let after = (watched.stat(b"outside").unwrap(), watched.stat(b"outside/kept").unwrap());
        assert_eq!(before, after, "{lines:?}");
        assert_eq!(watched.read_dir(b"outside").unwrap().len(), 1, "{lines:?}");
        assert_eq!(watched.xattr(b"outside", OPAQUE).unwrap(), None);
    }
}

#[test]
fn metadata_is_kept() {
    let mut writer = LayerWriter::new(Vec::new());
    let capability = [&0x0200_0001_u32.to_le_bytes()[..], &[4, 0, 0, 0], &[0; 12]].concat();
    let meta = Meta {
        mode: 0o6755,
        uid: 1234,
        gid: 50,
        mtime: Mtime { secs: 1_234_567_890, nanos: 0 },
        xattrs: vec![(xbuild_layer::capability::NAME.to_vec(), capability.clone())],
    };
    let mut entry = Entry { path: b"f".to_vec(), kind: Kind::File { size: 1 }, meta };
    writer.put(&entry, &mut &b"x"[..]).unwrap();
    entry.meta.xattrs.clear();
    for (path, kind) in [
        (&b"d"[..], Kind::Dir),
        (b"l", Kind::Symlink { target: b"x".to_vec() }),
        (b"p", Kind::Fifo),
    ] {
        writer
            .put(&Entry { path: path.to_vec(), kind, ..entry.clone() }, &mut io::empty())
            .unwrap();
    }
    let bytes = writer.finish().unwrap();
    let temp = tempfile::tempdir().unwrap();
    let root = Root::open(temp.path()).unwrap();
    unpack(LayerReader::new(&bytes[..]), &root, owners()).unwrap();
    for path in ["f", "d", "l", "p"] {
        let stat = root.stat(path.as_bytes()).unwrap();
        assert_eq!(stat.mtime, entry.meta.mtime, "{path}");
        if path != "l" {
            assert_eq!(stat.mode, 0o6755, "{path}");
        }
        if owners() == Owners::Real {
            assert_eq!((stat.uid, stat.gid), (1234, 50), "{path}");
        }
    }
    if owners() == Owners::Real {
        assert_eq!(root.xattr(b"f", "security.capability").unwrap(), Some(capability));
    }
}

#[test]
fn runs_of_zeros_become_holes() {
    use std::os::linux::fs::MetadataExt as _;
    let zeros = 4 << 20;
    for tail in [&b""[..], b"end"] {
        let mut writer = LayerWriter::new(Vec::new());
        let size = zeros + tail.len() as u64;
        let kind = Kind::File { size };
        let entry = Entry { path: b"f".to_vec(), kind, meta: Meta::default() };
        writer.put(&entry, &mut io::repeat(0).take(zeros).chain(tail)).unwrap();
        let bytes = writer.finish().unwrap();
        let temp = tempfile::tempdir().unwrap();
        let root = Root::open(temp.path()).unwrap();
        unpack(LayerReader::new(&bytes[..]), &root, Owners::Recorded).unwrap();
        root.chmod(b"f", 0o600).unwrap();
        let contents = std::fs::read(temp.path().join("f")).unwrap();
        assert_eq!(contents.len() as u64, size);
        assert!(contents.ends_with(tail));
        let on_disk = std::fs::metadata(temp.path().join("f")).unwrap().st_blocks() * 512;
        assert!(on_disk < 1 << 20, "{on_disk}");
    }
}

#[test]
fn stand_ins_are_made_for_devices() {
    let (temp, root, result) = unpacked(&["c null", "h link null", "f f x", "c f"]);
    assert_eq!(result.unwrap().skipped_devices, 0);
    assert_eq!(listing(&temp.path().join("top")), ["f 644 ", "link 644 ", "null 644 "]);
    for path in [&b"null"[..], b"link", b"f"] {
        assert_eq!(root.xattr(path, ATTRIBUTE).unwrap().as_deref(), Some(&b"c 1 3"[..]));
    }
}

#[test]
fn stand_ins_have_the_modes_of_their_devices() {
    for owners in [owners(), Owners::Recorded] {
        let temp = tempfile::tempdir().unwrap();
        let root = Root::open(temp.path()).unwrap();
        // The owner that this process has needs no change.
        std::fs::write(temp.path().join("own"), "").unwrap();
        let own = root.stat(b"own").unwrap();
        let mut writer = LayerWriter::new(Vec::new());
        for (path, mode) in [(&b"a"[..], 0o666), (b"b", 0o200), (b"c", 0o4711)] {
            let meta = Meta { mode, uid: own.uid, gid: own.gid, ..Meta::default() };
            let kind = Kind::CharDevice { major: 1, minor: 3 };
            writer.put(&Entry { path: path.to_vec(), kind, meta }, &mut io::empty()).unwrap();
        }
        let bytes = writer.finish().unwrap();
        unpack(LayerReader::new(&bytes[..]), &root, owners).unwrap();
        for (path, mode) in [(&b"a"[..], 0o666), (b"b", 0o200)] {
            assert_eq!(root.stat(path).unwrap().mode, mode, "{owners:?}");
        }
        assert_eq!(root.stat(b"c").unwrap().mode & 0o777, 0o711, "{owners:?}");
    }
}

#[test]
fn a_truncated_layer_is_an_error() {
    let bytes = layer(&["f a 1", "f b 2"]);
    let temp = tempfile::tempdir().unwrap();
    let root = Root::open(temp.path()).unwrap();
    let result = unpack(LayerReader::new(&bytes[..1100]), &root, owners());
    assert!(matches!(result, Err(UnpackError::Layer { .. })), "{result:?}");
}

fn with_attribute(
    name: &[u8],
    value: &[u8],
) -> (tempfile::TempDir, Root, Result<Unpacked, UnpackError>) {
    let mut writer = LayerWriter::new(Vec::new());
    let xattrs = vec![(name.to_vec(), value.to_vec())];
    let meta = Meta { mode: 0o770, xattrs, ..Meta::default() };
    for (path, kind) in [(&b"d"[..], Kind::Dir), (b"f", Kind::File { size: 0 })] {
        let entry = Entry { path: path.to_vec(), kind, meta: meta.clone() };
        writer.put(&entry, &mut io::empty()).unwrap();
    }
    let bytes = writer.finish().unwrap();
    let temp = tempfile::tempdir().unwrap();
    let root = Root::open(temp.path()).unwrap();
    let result = unpack(LayerReader::new(&bytes[..]), &root, Owners::Recorded);
    (temp, root, result)
}

#[test]
fn an_access_list_that_cannot_be_set_widens_no_rights() {
    // No kernel takes a list of this version.
    let (_temp, root, result) = with_attribute(xbuild_layer::attributes::ACCESS, b"\x03\0\0\0");
    result.unwrap();
    for path in [&b"d"[..], b"f"] {
        assert_eq!(root.stat(path).unwrap().mode, 0o700);
    }
}

#[test]
fn an_attribute_that_is_too_large_is_named() {
    let (_temp, _root, result) = with_attribute(b"user.big", &[7; 60_000]);
    // Some file systems take it.
    if let Err(error) = result {
        let UnpackError::Entry { path, source } = error else { panic!("{error}") };
        assert!(source.to_string().contains("user.big of 60000 bytes"), "{path}: {source}");
    }
}
