use super::*;
use crate::tar_write::pax_record;
use crate::{LayerIndex, Mtime, TarFault, index_layer};

/// An unfinished archive.
#[derive(Default)]
struct Archive(Vec<u8>);

/// Changes of a header before its checksum is computed.
type Patch<'p> = &'p [(usize, &'p [u8])];

impl Archive {
    fn entry(mut self, flag: u8, name: &[u8], link: &[u8], body: &[u8]) -> Self {
        let size = format!("{:011o}", body.len());
        self.header(flag, name, &[(157, link), (124, size.as_bytes())]);
        self.body(body)
    }

    fn header(&mut self, flag: u8, name: &[u8], patch: Patch<'_>) {
        let mut block = [0; BLOCK];
        block[..name.len()].copy_from_slice(name);
        block[156] = flag;
        for (at, bytes) in
            [(100, &b"0000644"[..]), (108, b"0000001"), (116, b"0000002"), (136, b"00000000003")]
                .iter()
                .chain(&[(257, &b"ustar\x0000"[..])])
                .chain(patch)
        {
            block[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0.extend_from_slice(&block);
    }

    fn patched(mut self, flag: u8, name: &[u8], patch: Patch<'_>) -> Self {
        self.header(flag, name, patch);
        self
    }

    fn body(mut self, body: &[u8]) -> Self {
        self.0.extend_from_slice(body);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    fn file(self, name: &str, body: &str) -> Self {
        self.entry(b'0', name.as_bytes(), b"", body.as_bytes())
    }

    fn dir(self, name: &str) -> Self {
        self.entry(b'5', name.as_bytes(), b"", b"")
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(b'2', name.as_bytes(), target.as_bytes(), b"")
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.entry(b'1', name.as_bytes(), target.as_bytes(), b"")
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let body: Vec<u8> =
            records.iter().flat_map(|(key, value)| pax_record(key.as_bytes(), value)).collect();
        self.entry(b'x', b"pax", b"", &body)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 2 * BLOCK]);
        self.0
    }
}

/// Returns the changes of a layer, a line for each.
fn listing(archive: &[u8]) -> Result<Vec<String>, LayerError> {
    let mut layer = LayerReader::new(archive);
    let mut lines = Vec::new();
    while let Some(change) = layer.next()? {
        lines.push(match change {
            Change::Whiteout(path) => format!("whiteout {}", path.escape_ascii()),
            Change::Opaque(path) => format!("opaque {}", path.escape_ascii()),
            Change::Put(entry) => {
                let path = entry.path.escape_ascii();
                match entry.kind {
                    Kind::Dir => format!("dir {path}"),
                    Kind::File { size } => {
                        let mut contents = Vec::new();
                        layer.read_to_end(&mut contents).map_err(LayerError::from_read)?;
                        assert_eq!(contents.len() as u64, size);
                        format!("file {path} {}", contents.escape_ascii())
                    }
                    Kind::Symlink { target } => format!("{path} -> {}", target.escape_ascii()),
                    Kind::HardLink { target } => format!("{path} = {}", target.escape_ascii()),
                    other => format!("{path} {other:?}"),
                }
            }
        });
    }
    layer.finish()?;
    Ok(lines)
}

fn fault(archive: Vec<u8>) -> TarFault {
    match listing(&archive) {
        Err(LayerError::Malformed { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

fn entry_fault(archive: Archive) -> EntryFault {
    match listing(&archive.end()) {
        Err(LayerError::Entry { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn plain_archives_are_read() {
    let archive = Archive::default()
        .dir("./")
        .dir("./a/")
        .file("/a/f", "hello")
        .entry(0, b"old/", b"", b"")
        .entry(b'7', b"a/contiguous", b"", b"x")
        .symlink("s", "../any/../thing")
        .link("h", "./a/f")
        .entry(b'6', b"p", b"", b"")
        .patched(b'3', b"c", &[(329, b"0000001"), (337, b"0000003")])
        .patched(b'4', b"b", &[(329, b"0000007"), (337, b"0000000")])
        .patched(b'0', b"name", &[(345, b"some/prefix")])
        .end();
    assert_eq!(
        listing(&archive).unwrap(),
        [
            "dir ",
            "dir a",
            "file a/f hello",
            "dir old",
            "file a/contiguous x",
            "s -> ../any/../thing",
            "h = a/f",
            "p Fifo",
            "c CharDevice { major: 1, minor: 3 }",
            "b BlockDevice { major: 7, minor: 0 }",
            "file some/prefix/name ",
        ]
    );
}

#[test]
fn the_magic_says_which_fields_there_are() {
    let prefix = [b'p'; 140];
    for (patch, expected) in [
        // POSIX, in any version.
        (&[(345, &b"p"[..])][..], "file p/n "),
        (&[(345, b"p"), (263, b"\0\0")], "file p/n "),
        (&[(345, b"p"), (263, b" 1")], "file p/n "),
        // The star variant: times where the prefix ends.
        (
            &[(345, &prefix), (476, b"00000000003\0"), (508, b"tar\0")],
            &format!("file {}/n ", "p".repeat(131)),
        ),
        // GNU and Seventh Edition.
        (&[(345, b"p"), (257, b"ustar  \0")], "file n "),
        (&[(345, b"p"), (257, &[0; 8])], "file n "),
    ] {
        let archive = Archive::default().patched(b'0', b"n", patch).end();
        assert_eq!(listing(&archive).unwrap(), [expected], "{patch:?}");
    }
    let device = Archive::default().patched(b'3', b"c", &[(257, &[0; 8]), (329, b"0000001")]);
    assert_eq!(fault(device.end()), TarFault::Number { field: "devmajor" });
}

#[test]
fn metadata_is_read() {
    let records = [
        ("uid", &b"3000000"[..]),
        ("mtime", b"5.25"),
        ("SCHILY.xattr.user.x", b"1"),
        ("uname", b"somebody"),
    ];
    let archive = Archive::default()
        .pax(&records)
        .patched(b'0', b"a", &[(100, b"0104755"), (116, b"\x80\0\0\0\0\x01\0\0")])
        .patched(b'0', b"b", &[(136, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfb")])
        .end();
    let mut tar = TarReader::new(&archive[..]);
    let meta = tar.next().unwrap().unwrap().meta;
    assert_eq!((meta.mode, meta.uid, meta.gid), (0o4755, 3_000_000, 65_536));
    assert_eq!(meta.mtime, Mtime { secs: 5, nanos: 250_000_000 });
    assert_eq!(meta.xattrs, [(b"user.x".to_vec(), b"1".to_vec())]);
    let meta = tar.next().unwrap().unwrap().meta;
    assert_eq!((meta.uid, meta.gid, meta.mtime.secs), (1, 2, -5));
    assert!(meta.xattrs.is_empty());
    assert!(tar.next().unwrap().is_none());
}

#[test]
fn long_names_are_read_in_every_form() {
    let long = "d/".repeat(100) + "f";
    let with_nul = [long.as_bytes(), b"\0"].concat();
    let archive = Archive::default()
        .entry(b'L', b"././@LongLink", b"", &with_nul)
        .file("d/d/d", "1")
        .entry(b'K', b"././@LongLink", b"", &with_nul)
        .entry(b'L', b"././@LongLink", b"", b"l")
        .symlink("x", "y")
        .pax(&[("path", b"h"), ("linkpath", long.as_bytes())])
        .link("x", "y")
        .end();
    assert_eq!(
        listing(&archive).unwrap(),
        [format!("file {long} 1"), format!("l -> {long}"), format!("h = {long}")]
    );
}

/// Rows 1, 11, 12, 13, 20 and 39 of the threat table: links never lead outside.
#[test]
fn entries_go_through_links_of_the_layer_inside_the_root() {
    for (links, name, expected) in [
        (&[("d", "/host")][..], "d/x", "host/x"),
        (&[("d", "../../../host")], "d/x", "host/x"),
        (&[("a", "b"), ("b", "..")], "a/x", "x"),
        (&[("a/b/up", "../.."), ("e", "a/b/up/../..")], "e/x", "x"),
        (&[("lib", "usr/lib"), ("usr/lib/m", "/opt")], "lib/m/y/x", "opt/y/x"),
        (&[("d", ".")], "d/x", "x"),
        (&[("d", "/")], "d/x", "x"),
    ] {
        let archive =
            || links.iter().fold(Archive::default(), |archive, (l, t)| archive.symlink(l, t));
        let last = |archive: Archive| listing(&archive.end()).unwrap().pop().unwrap();
        assert_eq!(last(archive().file(name, "")), format!("file {expected} "));
        assert_eq!(last(archive().dir(name)), format!("dir {expected}"));
        assert_eq!(last(archive().link("h", name)), format!("h = {expected}"));
        let whiteout = name.replace('x', ".wh.x");
        assert_eq!(last(archive().file(&whiteout, "")), format!("whiteout {expected}"));
        let opaque = name.replace('x', ".wh..wh..opq");
        let folder = expected.strip_suffix('x').unwrap().trim_end_matches('/');
        assert_eq!(last(archive().file(&opaque, "")), format!("opaque {folder}"));
    }
    let circle = Archive::default().symlink("a", "b").symlink("b", "a").file("a/x", "");
    assert_eq!(entry_fault(circle), EntryFault::LinkLoop);
    for target in [".wh.", "a/.wh.b", ".wh..wh.plnk"] {
        for name in ["s/x", "s/.wh.x", "s/.wh..wh..opq"] {
            let archive = Archive::default().symlink("s", target).file(name, "");
            assert_eq!(entry_fault(archive), EntryFault::Whiteout, "{target} {name}");
        }
    }
}

/// Row 12 of the threat table.
#[test]
fn what_replaces_a_link_is_no_link_any_more() {
    for (replace, expected) in [
        (Archive::default().symlink("l", "/host").dir("l"), "file l/x "),
        (Archive::default().symlink("l", "/host").dir("l/."), "file l/x "),
        (Archive::default().symlink("l", "/a").symlink("l", "/b"), "file b/x "),
        (Archive::default().symlink("s", "/a").link("l", "s"), "file a/x "),
        (Archive::default().symlink("l", "/a").file("l", ""), "file l/x "),
        (Archive::default().symlink("l/x", "/a").file("l", "").dir("l"), "file l/x "),
    ] {
        let lines = listing(&replace.file("l/x", "").end()).unwrap();
        assert_eq!(lines.last().unwrap(), expected);
    }
    let below = Archive::default().symlink("l/m", "/a").file("l", "").dir("l").file("l/m/x", "");
    assert_eq!(listing(&below.end()).unwrap().last().unwrap(), "file l/m/x ");
}

/// Rows 2, 10 and 19 of the threat table.
#[test]
fn hard_links_stay_inside() {
    let inside = Archive::default().file("a", "").link("b", "/a").link("c", "./a").end();
    assert_eq!(listing(&inside).unwrap(), ["file a ", "b = a", "c = a"]);
    for (target, expected) in [
        ("../../host", EntryFault::Climbs),
        ("a/../../host", EntryFault::Climbs),
        ("", EntryFault::LinkTarget),
        ("/", EntryFault::LinkTarget),
        ("h", EntryFault::LinkTarget),
        (".wh.a", EntryFault::LinkTarget),
    ] {
        assert_eq!(entry_fault(Archive::default().link("h", target)), expected, "{target}");
    }
    let dangling = Archive::default().link("h", "secret").end();
    assert!(LayerIndex::read(&mut LayerReader::new(&dangling[..])).is_err());
}

/// Row 9 of the threat table.
#[test]
fn the_root_is_a_folder() {
    for name in ["", ".", "./", "/", "/."] {
        assert_eq!(entry_fault(Archive::default().symlink(name, "/host")), EntryFault::RootKind);
        assert_eq!(entry_fault(Archive::default().link(name, "a")), EntryFault::RootKind);
        assert_eq!(listing(&Archive::default().dir(name).end()).unwrap(), ["dir "]);
    }
    assert_eq!(entry_fault(Archive::default().file(".", "")), EntryFault::RootKind);
}

/// Rows 14 and 15 of the threat table.
#[test]
fn the_size_of_the_extended_header_wins() {
    let inner = Archive::default().file("inner", "secret").end();
    let size = inner.len().to_string();
    let smuggled = Archive::default()
        .pax(&[("size", size.as_bytes())])
        .patched(b'0', b"outer", &[(124, b"00000000000")])
        .body(&inner)
        .file("after", "")
        .end();
    let lines = listing(&smuggled).unwrap();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], format!("file outer {}", inner.escape_ascii()));
    for (told, real) in [("00000001000", 1024), ("00000002000", 512)] {
        let body = vec![b'x'; real];
        let archive = Archive::default()
            .pax(&[("size", real.to_string().as_bytes())])
            .patched(b'0', b"f", &[(124, told.as_bytes())])
            .body(&body)
            .end();
        let expected = format!("file f {}", body.escape_ascii());
        assert_eq!(listing(&archive).unwrap(), [expected]);
    }
}

/// Row 17 of the threat table.
#[test]
fn headers_that_contradict_each_other_are_refused() {
    let new = Archive::default;
    let long = |flag| new().entry(flag, b"long", b"", b"name");
    for archive in [
        new().pax(&[("comment", b"1")]).pax(&[("comment", b"2")]).file("f", ""),
        long(b'L').entry(b'L', b"long", b"", b"other").file("f", ""),
        long(b'K').entry(b'K', b"long", b"", b"other").symlink("f", "x"),
        long(b'L').pax(&[("path", b"p")]).file("f", ""),
        new().pax(&[("path", b"p")]).entry(b'L', b"long", b"", b"name").file("f", ""),
        long(b'K').pax(&[("linkpath", b"p")]).symlink("f", "x"),
        new().pax(&[("comment", b"1")]).entry(b'g', b"g", b"", b"").file("f", ""),
        new().pax(&[("comment", b"1")]),
        long(b'L'),
        long(b'K'),
        new().entry(b'L', b"long", b"", b"a\0b").file("f", ""),
        new().entry(b'L', b"long", b"", b"").file("f", ""),
        new().pax(&[("GNU.sparse.major", b"1")]).dir("d"),
    ] {
        assert_eq!(fault(archive.end()), TarFault::StrayExtension);
    }
    let fine = long(b'L').pax(&[("mtime", b"1")]).file("f", "");
    assert_eq!(listing(&fine.end()).unwrap(), ["file name "]);
    let global = pax_record(b"comment", b"of git");
    let fine = new().file("a", "").entry(b'g', b"g", b"", &global).file("b", "");
    assert_eq!(listing(&fine.end()).unwrap(), ["file a ", "file b "]);
    let global = new().entry(b'g', b"g", b"", &pax_record(b"path", b"x")).end();
    assert!(matches!(fault(global), TarFault::PaxGlobal { .. }));
}

#[test]
fn entries_without_contents_announce_none() {
    for flag in b"23456" {
        let archive = Archive::default().entry(*flag, b"e", b"t", b"body").end();
        assert_eq!(fault(archive), TarFault::UnexpectedContents);
    }
    let old_folder = Archive::default().entry(b'0', b"d/", b"", b"body").end();
    assert_eq!(fault(old_folder), TarFault::UnexpectedContents);
    let link = |archive: Archive| {
        archive.patched(b'1', b"h", &[(157, b"a"), (124, b"00000000004")]).file("b", "")
    };
    let told = link(Archive::default().file("a", "1234")).end();
    assert_eq!(listing(&told).unwrap(), ["file a 1234", "h = a", "file b "]);
    let told = link(Archive::default().pax(&[("size", b"4")])).end();
    assert_eq!(fault(told), TarFault::UnexpectedContents);
}

#[test]
fn malformed_archives_are_refused() {
    let good = Archive::default().file("f", "hello").end();
    for length in [1, 511, 513, 600, 1023, 1025] {
        assert_eq!(fault(good[..length].to_vec()), TarFault::Truncated, "{length}");
    }
    // A stream may end without an end marker, or in the middle of it.
    for length in [0, 1024, 1536] {
        assert!(listing(&good[..length]).is_ok());
    }
    let mut flipped = good.clone();
    flipped[0] ^= 1;
    assert_eq!(fault(flipped), TarFault::Checksum);
    let lone = [&[0; BLOCK], &good[..]].concat();
    assert_eq!(fault(lone), TarFault::LoneZeroBlock);
    for flag in b"MVDNXAz\xff" {
        let archive = Archive::default().entry(*flag, b"e", b"", b"").end();
        assert_eq!(fault(archive), TarFault::Type { flag: char::from(*flag) });
    }
    for (at, name) in [(100, "mode"), (108, "uid"), (116, "gid"), (124, "size"), (136, "mtime")] {
        let archive = Archive::default().patched(b'0', b"f", &[(at, b"0x00644")]).end();
        assert_eq!(fault(archive), TarFault::Number { field: name });
    }
    let huge = Archive::default().patched(b'x', b"f", &[(124, b"77777777777")]).end();
    assert!(matches!(fault(huge), TarFault::TooLong { .. }));
}

/// Row 36 of the threat table.
#[test]
fn what_follows_the_end_is_read_but_not_believed() {
    let layer = Archive::default().file("f", "").end();
    let longer = [&layer[..], &Archive::default().file("g", "").end(), b"garbage"].concat();
    assert_eq!(listing(&longer).unwrap(), ["file f "]);
    let (prefix, index) = index_layer(&layer[..], None).unwrap();
    let (whole, same_index) = index_layer(&longer[..], None).unwrap();
    assert_eq!(index, same_index);
    assert_ne!(prefix, whole);
    assert_eq!(whole.0, xbuild_model::Digest::of(&longer));
}

/// Row 40 of the threat table; the names are in a table of `whiteout`.
#[test]
fn whiteouts_are_read() {
    let archive = Archive::default()
        .file(".wh.a", "")
        .file("d/.wh.b", "contents do not matter")
        .link("d/.wh.c", ".wh..wh.aufs")
        .file("d/.wh..wh..opq", "")
        .file(".wh..wh.aufs", "")
        .dir(".wh..wh.plnk")
        .file(".wh..wh.plnk/1.2", "")
        .end();
    let expected = ["whiteout a", "whiteout d/b", "whiteout d/c", "opaque d"];
    assert_eq!(listing(&archive).unwrap(), expected);
    for name in [".wh..", ".wh...", ".wh.", "a/.wh.", ".wh.a/b"] {
        let archive = Archive::default().file(name, "");
        assert_eq!(entry_fault(archive), EntryFault::Whiteout, "{name}");
    }
    assert_eq!(entry_fault(Archive::default().dir(".wh.a")), EntryFault::Whiteout);
}

/// Row 41 of the threat table; the attributes are in a table of `pax`.
#[test]
fn overlay_whiteouts_are_refused() {
    let device = Archive::default().patched(b'3', b"c", &[(329, b"0000000"), (337, b"0000000")]);
    assert_eq!(entry_fault(device), EntryFault::OverlayWhiteout);
    let block = Archive::default().patched(b'4', b"c", &[(329, b"0000000"), (337, b"0000000")]);
    assert!(listing(&block.end()).is_ok());
    let huge = Archive::default().patched(b'4', b"c", &[(329, b"0010000"), (337, b"0000000")]);
    assert_eq!(entry_fault(huge), EntryFault::DeviceNumber);
}

/// Row 43 of the threat table.
#[test]
fn odd_names_are_kept_or_refused() {
    for name in [&b"new\nline"[..], b"\xff\xfe", b"back\\slash", b"CON", b"dot.", b" ", b"-rf"] {
        let archive = Archive::default().entry(b'0', name, b"", b"").end();
        assert_eq!(listing(&archive).unwrap(), [format!("file {} ", name.escape_ascii())]);
        let archive = Archive::default().pax(&[("path", name)]).file("f", "").end();
        assert_eq!(listing(&archive).unwrap(), [format!("file {} ", name.escape_ascii())]);
    }
    let pax = |name: &[u8]| Archive::default().pax(&[("path", name)]).file("f", "");
    assert_eq!(entry_fault(pax(&[b'a'; 256])), EntryFault::PartTooLong);
    assert_eq!(entry_fault(pax(&b"ab/".repeat(1366))), EntryFault::PathTooLong);
    assert_eq!(entry_fault(pax(&b"a/".repeat(10_000))), EntryFault::PathTooLong);
    assert_eq!(entry_fault(pax(b"a/../b")), EntryFault::Climbs);
    let target = |target: &[u8]| Archive::default().pax(&[("linkpath", target)]).symlink("s", "");
    assert!(listing(&target(&[b'a'; 4095]).end()).is_ok());
    assert_eq!(entry_fault(target(&[b'a'; 4096])), EntryFault::SymlinkTarget);
    assert_eq!(entry_fault(Archive::default().symlink("s", "")), EntryFault::SymlinkTarget);
    // Links whose targets get longer and longer.
    let deep = "d/".repeat(1500);
    let long = Archive::default()
        .pax(&[("linkpath", deep.as_bytes())])
        .symlink("s", "")
        .pax(&[("path", format!("s/{deep}").as_bytes())])
        .file("f", "");
    assert_eq!(entry_fault(long), EntryFault::PathTooLong);
}

#[test]
fn owners_are_in_range() {
    for (field, fine) in [
        (b"\x80\0\0\0\xff\xff\xff\xfe", true),
        (b"\x80\0\0\0\xff\xff\xff\xff", false),
        (b"\x80\0\0\x01\0\0\0\0", false),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff", false),
    ] {
        for at in [108, 116] {
            let archive = Archive::default().patched(b'0', b"f", &[(at, field)]);
            assert_eq!(listing(&archive.end()).is_ok(), fine);
        }
    }
}

fn old_sparse(map: &[(u64, u64)], size: &str, body: &[u8]) -> Archive {
    let map: Vec<u8> = map
        .iter()
        .flat_map(|(at, length)| format!("{at:011o}\0{length:011o}\0").into_bytes())
        .collect();
    let stored = format!("{:011o}", body.len());
    Archive::default()
        .patched(
            b'S',
            b"s",
            &[(257, b"ustar  \0"), (124, stored.as_bytes()), (386, &map), (483, size.as_bytes())],
        )
        .body(body)
}

/// The forms of GNU tar itself are compared in `tar_write`.
#[test]
fn sparse_files_read_with_their_holes() {
    let archive = old_sparse(&[(2, 3), (6, 1), (8, 0)], "00000000010", b"abcd").file("f", "").end();
    let expected = ["file s \\x00\\x00abc\\x00d\\x00", "file f "];
    assert_eq!(listing(&archive).unwrap(), expected);
    // The reader skips the stored bytes, not the holes.
    let mut layer = LayerReader::new(&archive[..]);
    layer.next().unwrap();
    layer.read_exact(&mut [0; 3]).unwrap();
    assert!(matches!(layer.next(), Ok(Some(Change::Put(entry))) if entry.path == b"f"));
    let records = |map: &[u8]| {
        Archive::default()
            .pax(&[("GNU.sparse.size", b"8"), ("GNU.sparse.map", map), ("GNU.sparse.name", b"n")])
            .file("s", "abcd")
            .end()
    };
    let expected = ["file n \\x00\\x00abc\\x00d\\x00"];
    assert_eq!(listing(&records(b"2,3,6,1")).unwrap(), expected);
    assert!(matches!(fault(records(b"2,3,6")), TarFault::SparseMap));
    assert!(matches!(fault(records(b"2,3,6,x")), TarFault::PaxValue { .. }));
}

/// Row 18 of the threat table.
#[test]
fn sparse_maps_are_checked_and_bounded() {
    for map in [&[(4, 2), (0, 2)][..], &[(0, 3), (2, 1)], &[(6, 4)], &[(0, 3)], &[(0, 5)], &[]] {
        let archive = old_sparse(map, "00000000010", b"abcd").end();
        assert_eq!(fault(archive), TarFault::SparseMap, "{map:?}");
    }
    // Many holes of 8 GiB are allowed, but not any number.
    let mut archive = Archive::default();
    for _ in 0..2049 {
        archive.0.extend(old_sparse(&[(0, 4)], "77777777777", b"abcd").0);
    }
    let mut tar = TarReader::new(&archive.0[..]);
    let error = std::iter::from_fn(|| tar.next().transpose()).find_map(Result::err).unwrap();
    assert!(matches!(error, LayerError::Malformed { fault: TarFault::SparseHoles { .. }, .. }));
    let in_contents = |count: &str, rest: &str| {
        let body = format!("{count}\n{rest}");
        Archive::default()
            .pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.realsize", b"9223372036854775807"),
            ])
            .entry(b'0', b"f", b"", format!("{body:\0<1024}").as_bytes())
            .end()
    };
    assert!(matches!(fault(in_contents("1000000000", "")), TarFault::TooLong { .. }));
    assert_eq!(fault(in_contents("x", "")), TarFault::SparseMap);
    assert_eq!(fault(in_contents("123456789012345678901234", "")), TarFault::SparseMap);
    assert_eq!(fault(in_contents("3", "0\n1\n")), TarFault::SparseMap);
    assert!(matches!(fault(in_contents("1", "0\n512\n")), TarFault::SparseHoles { .. }));
}

#[test]
fn unread_contents_are_skipped() {
    let archive = Archive::default().file("a", &"x".repeat(5000)).file("b", "y").end();
    let mut layer = LayerReader::new(&archive[..]);
    layer.next().unwrap();
    layer.read_exact(&mut [0; 700]).unwrap();
    assert!(matches!(layer.next(), Ok(Some(Change::Put(entry))) if entry.path == b"b"));
    let mut rest = String::new();
    layer.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "y");
    assert!(layer.next().unwrap().is_none());
    assert!(layer.next().unwrap().is_none());
    assert_eq!(layer.read(&mut [0; 10]).unwrap(), 0);
}
