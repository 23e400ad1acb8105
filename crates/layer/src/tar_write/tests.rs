use std::fs;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use xbuild_model::Digest;

use super::*;
use crate::{Change, LayerReader, TarReader, capability, clamp_times};

fn entry(path: &str, kind: Kind) -> Entry {
    let meta = Meta {
        mode: 0o644,
        uid: 1,
        gid: 2,
        mtime: Mtime { secs: 1_000_000_000, nanos: 0 },
        xattrs: Vec::new(),
    };
    Entry { path: path.into(), kind, meta }
}

fn file(path: &str, size: usize) -> Entry {
    entry(path, Kind::File { size: size as u64 })
}

/// Writes entries; the contents of files are repeated `x`.
fn write(entries: &[Entry]) -> Result<Vec<u8>, LayerError> {
    let mut writer = LayerWriter::new(Vec::new());
    for entry in entries {
        let size = if let Kind::File { size } = entry.kind { size } else { 0 };
        writer.put(entry, &mut io::repeat(b'x').take(size))?;
    }
    writer.finish()
}

fn read(archive: &[u8]) -> Vec<Entry> {
    let mut layer = LayerReader::new(archive);
    let mut entries = Vec::new();
    while let Some(change) = layer.next().unwrap() {
        let Change::Put(entry) = change else { panic!("{change:?}") };
        if let Kind::File { size } = entry.kind {
            let mut contents = Vec::new();
            layer.read_to_end(&mut contents).unwrap();
            assert!(contents.len() as u64 == size && contents.iter().all(|&byte| byte == b'x'));
        }
        entries.push(entry);
    }
    layer.finish().unwrap();
    entries
}

fn put_fault(entry: &Entry) -> Option<EntryFault> {
    match write(std::slice::from_ref(entry)) {
        Ok(_) => None,
        Err(LayerError::Entry { fault, .. }) => Some(fault),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn what_fits_has_plain_headers() {
    let long = format!("{}/{}", "d".repeat(155), "f".repeat(100));
    let archive = write(&[entry("", Kind::Dir), entry("d", Kind::Dir), file(&long, 600)]).unwrap();
    assert_eq!(archive.len(), 3 * 512 + 1024 + 1024);
    assert_eq!(&archive[..3], b"./\0");
    assert_eq!(&archive[512..515], b"d/\0");
    assert_eq!(&archive[100..108], b"0000644\0");
    assert_eq!(&archive[257..265], b"ustar\x0000");
    // No names of owners, no device numbers.
    assert!(archive[265..500].iter().all(|&byte| byte == 0));
    assert_eq!(read(&archive)[2].path, long.as_bytes());
}

#[test]
fn what_does_not_fit_goes_into_an_extended_header() {
    for (change, plain) in [
        ((|_: &mut Entry| {}) as fn(&mut Entry), true),
        (|entry| entry.meta.uid = 0o7_777_777, true),
        (|entry| entry.meta.uid = 0o10_000_000, false),
        (|entry| entry.meta.gid = u32::MAX - 1, false),
        (|entry| entry.meta.mtime.secs = -1, false),
        (|entry| entry.meta.mtime.secs = i64::MAX, false),
        (|entry| entry.meta.mtime.nanos = 999, true),
        (|entry| entry.path = [b'a'; 101].to_vec(), false),
        (|entry| entry.path = b"\xff\xfe".to_vec(), true),
        (|entry| entry.kind = Kind::Symlink { target: vec![b'/'; 100] }, true),
        (|entry| entry.kind = Kind::Symlink { target: vec![b'/'; 101] }, false),
        (|entry| entry.kind = Kind::HardLink { target: vec![b'a'; 101] }, false),
    ] {
        let mut entry = file("f", 0);
        change(&mut entry);
        let archive = write(std::slice::from_ref(&entry)).unwrap();
        assert_eq!(archive[156] != b'x', plain, "{entry:?}");
        entry.meta.mtime.nanos = 0;
        assert_eq!(read(&archive), [entry]);
    }
}

/// Digests of layers must not change, since all digests of images depend on them.
#[test]
fn a_layer_is_what_it_always_was() {
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(90));
    let mut entries = vec![
        entry("", Kind::Dir),
        entry("d", Kind::Dir),
        file("d/f", 700),
        file(&long, 0),
        file(&"n".repeat(101), 1),
        entry("s", Kind::Symlink { target: b"../d".to_vec() }),
        entry("t", Kind::Symlink { target: vec![b't'; 120] }),
        entry("h", Kind::HardLink { target: b"d/f".to_vec() }),
        entry("c", Kind::CharDevice { major: 4095, minor: 1_048_575 }),
        entry("b", Kind::BlockDevice { major: 7, minor: 0 }),
        entry("p", Kind::Fifo),
    ];
    for (uid, secs) in [(0o7_777_777, 0o77_777_777_777), (0o10_000_000, -1), (0, i64::MIN)] {
        let mut odd = file(&format!("odd{uid}"), 512);
        odd.meta = Meta { mode: 0o6755, uid, gid: u32::MAX - 1, ..odd.meta };
        odd.meta.mtime.secs = secs;
        entries.push(odd);
    }
    let digest = Digest::of(&write(&entries).unwrap());
    let expected = "sha256:40cc332e133ea27fd113234618bfbae8c4d3144815df27c5fb13f5e4f79f53f8";
    assert_eq!(digest.to_string(), expected);
}

#[test]
fn huge_files_are_announced() {
    struct Head(Vec<u8>);
    impl Write for Head {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.len() >= 4096 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for (size, plain) in [(0o77_777_777_777, true), (0o100_000_000_000, false)] {
        let mut writer = LayerWriter::new(Head(Vec::new()));
        let huge = entry("f", Kind::File { size });
        assert!(writer.put(&huge, &mut io::repeat(0)).is_err());
        let head = writer.output.0;
        assert_eq!(head[156] != b'x', plain);
        let raw = TarReader::new(&head[..]).next().unwrap().unwrap();
        assert_eq!(raw.kind, Kind::File { size });
    }
    assert_eq!(put_fault(&entry("f", Kind::File { size: 1 << 63 })), Some(EntryFault::Size));
}

#[test]
fn attributes_of_an_image_are_written() {
    let mut v2 = vec![1, 0, 0, 2];
    v2.extend_from_slice(&[0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let v3 = capability::to_v3(&v2, 100_000).unwrap();
    let mut tool = file("tool", 0);
    tool.meta.xattrs = vec![
        (capability::NAME.to_vec(), v3),
        (b"security.selinux".to_vec(), b"label".to_vec()),
        (b"user.note".to_vec(), b"hello".to_vec()),
    ];
    let back = read(&write(&[tool]).unwrap());
    let note = (b"user.note".to_vec(), b"hello".to_vec());
    assert_eq!(back[0].meta.xattrs, [(capability::NAME.to_vec(), v2), note]);
    for (name, value, fault) in [
        (&b"user.a=b"[..], &b""[..], EntryFault::AttributeName),
        (b"user.big", &[0; 600 << 10], EntryFault::Attributes),
    ] {
        let mut odd = file("odd", 0);
        odd.meta.xattrs = vec![(name.to_vec(), value.to_vec())];
        assert_eq!(put_fault(&odd), Some(fault));
    }
}

#[test]
fn what_a_reader_refuses_is_not_written() {
    let symlink = |target: &[u8]| entry("s", Kind::Symlink { target: target.to_vec() });
    let link = |target: &str| entry("h", Kind::HardLink { target: target.into() });
    let device = |major, minor| entry("c", Kind::CharDevice { major, minor });
    let mut nobody = file("f", 0);
    nobody.meta.uid = u32::MAX;
    for (entry, expected) in [
        (file("", 0), EntryFault::RootKind),
        (file("/a", 0), EntryFault::NotClean),
        (file("a/../b", 0), EntryFault::NotClean),
        (file("a\0b", 0), EntryFault::Nul),
        (file(&"a".repeat(256), 0), EntryFault::PartTooLong),
        (file(".wh.", 0), EntryFault::Whiteout),
        (file(".wh...", 0), EntryFault::Whiteout),
        (file(".wh.a/b", 0), EntryFault::Whiteout),
        (file(".wh..wh.aufs", 0), EntryFault::Whiteout),
        (entry(".wh.a", Kind::Dir), EntryFault::Whiteout),
        (symlink(b""), EntryFault::SymlinkTarget),
        (symlink(&[b'a'; 4096]), EntryFault::SymlinkTarget),
        (symlink(b"a\0"), EntryFault::Nul),
        (link(""), EntryFault::LinkTarget),
        (link("h"), EntryFault::LinkTarget),
        (link("../a"), EntryFault::NotClean),
        (device(0, 0), EntryFault::OverlayWhiteout),
        (device(1 << 12, 0), EntryFault::DeviceNumber),
        (nobody, EntryFault::Owner),
    ] {
        assert_eq!(put_fault(&entry), Some(expected), "{entry:?}");
    }
    assert!(LayerWriter::new(Vec::new()).whiteout(b"").is_err());
    assert!(LayerWriter::new(Vec::new()).whiteout(b"..").is_err());
}

#[test]
fn whiteouts_are_written() {
    let mut writer = LayerWriter::new(Vec::new());
    writer.whiteout(b"a/b").unwrap();
    writer.opaque(b"a").unwrap();
    writer.opaque(b"").unwrap();
    let archive = writer.finish().unwrap();
    let mut layer = LayerReader::new(&archive[..]);
    let changes: Vec<_> = std::iter::from_fn(|| layer.next().unwrap()).collect();
    let expected = [
        Change::Whiteout(b"a/b".to_vec()),
        Change::Opaque(b"a".to_vec()),
        Change::Opaque(Vec::new()),
    ];
    assert_eq!(changes, expected);
}

#[test]
fn contents_have_the_size_announced() {
    let put =
        |contents: &mut dyn Read| LayerWriter::new(Vec::new()).put(&file("f", 1000), contents);
    assert!(put(&mut io::repeat(0).take(1000)).is_ok());
    for length in [0, 999, 1001] {
        let result = put(&mut io::repeat(0).take(length));
        assert!(matches!(result, Err(LayerError::SizeChanged { expected: 1000, .. })));
    }
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
    assert!(matches!(put(&mut Broken), Err(LayerError::Contents { .. })));
}

fn gnu_tar(folder: &Path, args: &[&str]) -> Option<String> {
    let run = Command::new("tar").args(args).current_dir(folder).env("TZ", "UTC").output().ok()?;
    let complaints = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success() && complaints.is_empty(), "{complaints}");
    Some(String::from_utf8_lossy(&run.stdout).into_owned())
}

/// Returns whether there is a GNU tar to compare with.
fn has_gnu_tar() -> bool {
    let version = Command::new("tar").arg("--version").output();
    let found = version.is_ok_and(|run| run.stdout.starts_with(b"tar (GNU tar)"));
    if !found {
        eprintln!("skip: no GNU tar");
    }
    found
}

#[test]
fn gnu_tar_reads_what_is_written() {
    if !has_gnu_tar() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let long = format!("{}/{}", "long".repeat(40), "name".repeat(40));
    let mut old = file("old", 3);
    old.meta.mtime.secs = -86_400;
    old.meta.uid = 4_000_000;
    let archive = write(&[
        entry("d", Kind::Dir),
        file("d/f", 1000),
        file(&long, 5),
        old,
        entry("s", Kind::Symlink { target: b"any/../where".to_vec() }),
        entry("l", Kind::Symlink { target: vec![b'z'; 150] }),
        entry("h", Kind::HardLink { target: long.clone().into() }),
        entry("c", Kind::CharDevice { major: 1, minor: 3 }),
        entry("p", Kind::Fifo),
    ])
    .unwrap();
    fs::write(folder.path().join("a.tar"), archive).unwrap();
    let args = ["--numeric-owner", "--full-time", "-tvf", "a.tar"];
    let listing = gnu_tar(folder.path(), &args).unwrap();
    let lines: Vec<String> =
        listing.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let target = "z".repeat(150);
    assert_eq!(
        lines,
        [
            "drw-r--r-- 1/2 0 2001-09-09 01:46:40 d/".to_owned(),
            "-rw-r--r-- 1/2 1000 2001-09-09 01:46:40 d/f".to_owned(),
            format!("-rw-r--r-- 1/2 5 2001-09-09 01:46:40 {long}"),
            "-rw-r--r-- 4000000/2 3 1969-12-31 00:00:00 old".to_owned(),
            "lrw-r--r-- 1/2 0 2001-09-09 01:46:40 s -> any/../where".to_owned(),
            format!("lrw-r--r-- 1/2 0 2001-09-09 01:46:40 l -> {target}"),
            format!("hrw-r--r-- 1/2 0 2001-09-09 01:46:40 h link to {long}"),
            "crw-r--r-- 1/2 1,3 2001-09-09 01:46:40 c".to_owned(),
            "prw-r--r-- 1/2 0 2001-09-09 01:46:40 p".to_owned(),
        ]
    );
}

#[test]
fn what_gnu_tar_writes_is_read() {
    if !has_gnu_tar() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let long = "n".repeat(200);
    let mut sparse = vec![0; 1 << 20];
    for at in [0, 200_000, 400_000, 600_000, 800_000, 1_000_000] {
        sparse[at..at + 5].copy_from_slice(b"bytes");
    }
    fs::write(folder.path().join(&long), b"long").unwrap();
    // Written with holes, so that GNU tar finds some.
    let file = fs::File::create(folder.path().join("sparse")).unwrap();
    file.set_len(sparse.len() as u64).unwrap();
    for at in [0, 200_000, 400_000, 600_000, 800_000, 1_000_000] {
        std::os::unix::fs::FileExt::write_all_at(&file, b"bytes", at).unwrap();
    }
    for form in [
        &["--format=v7", "sparse"][..],
        &["--format=ustar", "sparse"],
        &["--format=oldgnu", "-S", &long, "sparse"],
        &["--format=gnu", "-S", &long, "sparse"],
        &["--format=posix", "-S", "--sparse-version=0.0", &long, "sparse"],
        &["--format=posix", "-S", "--sparse-version=0.1", &long, "sparse"],
        &["--format=posix", "-S", "--sparse-version=1.0", &long, "sparse"],
    ] {
        let args = [&["-cf", "../a.tar", "-C", "."], form].concat();
        let work = folder.path().join("work");
        fs::create_dir_all(&work).unwrap();
        let args: Vec<&str> =
            args.iter().map(|arg| if *arg == "." { ".." } else { *arg }).collect();
        gnu_tar(&work, &args).unwrap();
        let archive = fs::read(folder.path().join("a.tar")).unwrap();
        assert_eq!(form.contains(&"-S"), archive.len() < 200_000, "{form:?}");
        let mut layer = LayerReader::new(&archive[..]);
        let mut names = Vec::new();
        while let Some(change) = layer.next().unwrap() {
            let Change::Put(entry) = change else { panic!("{change:?}") };
            let mut contents = Vec::new();
            layer.read_to_end(&mut contents).unwrap();
            let expected = if entry.path == b"sparse" { &sparse[..] } else { b"long" };
            assert!(contents == expected, "{form:?}");
            names.push(String::from_utf8(entry.path).unwrap());
        }
        layer.finish().unwrap();
        assert_eq!(names, form[form.len() - names.len()..], "{form:?}");
        assert!(names.contains(&"sparse".to_owned()));
    }
}

fn any_part() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("reserved", |byte| !matches!(byte, 0 | b'/'));
    proptest::collection::vec(byte, 1..120)
        .prop_filter("reserved", |part| !part.starts_with(b".wh.") && part != b"." && part != b"..")
}

fn any_path() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any_part(), 1..5).prop_map(|parts| parts.join(&b'/'))
}

fn any_kind() -> impl Strategy<Value = Kind> {
    let target = proptest::collection::vec(1..=255_u8, 1..300);
    prop_oneof![
        Just(Kind::Dir),
        Just(Kind::Fifo),
        (0..3000_u64).prop_map(|size| Kind::File { size }),
        target.prop_map(|target| Kind::Symlink { target }),
        any_path().prop_map(|target| Kind::HardLink { target }),
        (1..4096_u32, 0..1_048_576_u32)
            .prop_map(|(major, minor)| Kind::CharDevice { major, minor }),
        (0..4096_u32, 0..1_048_576_u32)
            .prop_map(|(major, minor)| Kind::BlockDevice { major, minor }),
    ]
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let meta = (0..=0o7777_u32, 0..u32::MAX, 0..u32::MAX, any::<i64>()).prop_map(
        |(mode, uid, gid, secs)| {
            // The one number without an absolute value.
            let mtime = Mtime { secs: secs.max(-i64::MAX), nanos: 0 };
            Meta { mode, uid, gid, mtime, xattrs: Vec::new() }
        },
    );
    (any_path(), any_kind(), meta).prop_map(|(path, kind, meta)| Entry { path, kind, meta })
}

proptest! {
    #[test]
    fn what_is_written_is_read(mut entries in proptest::collection::vec(any_entry(), 0..8)) {
        // A name that goes through a link of another entry would be read back resolved.
        for (number, entry) in entries.iter_mut().enumerate() {
            entry.path = path::join(number.to_string().as_bytes(), &entry.path);
        }
        let archive = write(&entries).unwrap();
        prop_assert_eq!(archive.len() % BLOCK, 0);
        prop_assert_eq!(&write(&entries).unwrap(), &archive);
        prop_assert_eq!(read(&archive), entries);
    }

    #[test]
    fn only_later_times_are_clamped(
        mut entries in proptest::collection::vec(any_entry(), 0..8),
        latest in any::<i64>(),
    ) {
        for (number, entry) in entries.iter_mut().enumerate() {
            entry.path = path::join(number.to_string().as_bytes(), &entry.path);
        }
        let archive = write(&entries).unwrap();
        let clamped = clamp_times(&archive[..], latest.max(-i64::MAX), Vec::new()).unwrap();
        for entry in &mut entries {
            entry.meta.mtime.secs = entry.meta.mtime.secs.min(latest.max(-i64::MAX));
        }
        prop_assert_eq!(&write(&entries).unwrap(), &clamped);
        let same = clamp_times(&archive[..], i64::MAX, Vec::new()).unwrap();
        prop_assert_eq!(same, archive);
    }

    #[test]
    fn garbage_is_an_error_or_an_archive(
        entries in proptest::collection::vec(any_entry(), 1..4),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        fix in any::<bool>(),
    ) {
        let mut archive = write(&entries).unwrap();
        for (at, byte) in flips {
            let at = at.index(archive.len());
            archive[at] = byte;
            if fix {
                let block = &mut archive[at / BLOCK * BLOCK..][..BLOCK];
                block[148..156].fill(b' ');
                let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
                block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            }
        }
        let mut layer = LayerReader::new(&archive[..]);
        while let Ok(Some(change)) = layer.next() {
            if let Change::Put(entry) = change {
                prop_assert_eq!(path::check(&entry.path), Ok(()));
            }
        }
    }
}
