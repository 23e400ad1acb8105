use std::io::Write as _;

use xbuild_layer::{Change, LayerReader, Mtime};
use xbuild_model::file_op::FileOp;

use crate::CopyError;
use crate::copy::fixture::{Folder, MADE, describe, folder, lines, prepare, request, run, write};
use crate::copy::{Origin, Prepared};

/// Returns a tar archive of (type flag, name, link target, contents), owned by 3:4.
///
/// Made by hand: layers cannot hold what these archives do.
fn tar(entries: &[(u8, &str, &str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (flag, name, link, contents) in entries {
        let mut block = [0_u8; 512];
        let mut set = |at: usize, text: &str| {
            block[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        set(0, name);
        set(100, if *flag == b'5' { "0000711" } else { "0000640" });
        set(108, "0000003");
        set(116, "0000004");
        set(124, &format!("{:011o}", contents.len()));
        set(136, "00000001750");
        set(148, "        ");
        set(157, link);
        set(257, "ustar\u{0}00");
        block[156] = *flag;
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&block);
        out.extend_from_slice(contents.as_bytes());
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// A context with one file.
fn holding(name: &str, bytes: &[u8]) -> Folder {
    let made = folder("", "");
    std::fs::write(made.dir.path().join(name), bytes).unwrap();
    made
}

fn add(image: &str, archive: &[u8], line: &str) -> Result<String, String> {
    run(&[image], &holding("x", archive), line)
}

fn some_tar() -> Vec<u8> {
    tar(&[(b'0', "f", "", "F"), (b'5', "d", "", ""), (b'2', "d/l", "../f", "")])
}

const SOME: &str = "d out/d 0711 3:4\nl out/d/l ../f\nf out/f 0640 3:4 F";

#[test]
fn contents_decide_what_is_unpacked() {
    let tar = some_tar();
    let zstd = zstd::encode_all(&tar[..], 3).unwrap();
    let skippable = [&b"\x50\x2a\x4d\x18\x03\0\0\0abc"[..], &zstd].concat();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&tar).unwrap();
    for archive in [&tar, &zstd, &skippable, &gzip.finish().unwrap(), &bzip2.finish().unwrap()] {
        let expected = format!("d out 0755 0:0\n{SOME}");
        assert_eq!(add("", archive, "ADD x /out").unwrap(), expected);
    }
    let compressed = zstd::encode_all(&b"no archive"[..], 3).unwrap();
    let cut = &zstd[..zstd.len() / 2];
    let half_empty = [[0; 512], [1; 512]].concat();
    for other in
        [&b"text"[..], b"", &compressed, cut, &[0; 1024], &half_empty, &[0xcc; 2048], &tar[..300]]
    {
        let written = add("", other, "ADD x /out/").unwrap();
        assert!(written.contains("f out/x 0644 0:0"), "{written}");
    }
    let copied = add("", &tar, "COPY x /out/").unwrap();
    assert!(copied.contains("f out/x 0644 0:0"));
    let copied = add("", &tar, "ADD --unpack=false x /out/").unwrap();
    assert!(copied.contains("f out/x 0644 0:0"));
}

/// An archive made by xz(1): one file `f` with the contents `F`.
#[test]
fn xz_archives_are_unpacked() {
    let mut xz = xz_of(&tar(&[(b'0', "f", "", "F")]));
    assert_eq!(add("", &xz, "ADD x /").unwrap(), "f f 0640 3:4 F");
    let at = xz.len() / 2;
    xz[at] ^= 1;
    let written = add("", &xz, "ADD x /");
    assert!(!written.is_ok_and(|written| written.contains("f f ")), "the check sum is wrong");
}

/// Returns an xz stream that holds `data` uncompressed (xz file format 1.2.1, LZMA2 chunks of
/// type 1).
fn xz_of(data: &[u8]) -> Vec<u8> {
    let crc = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_le_bytes()
    };
    let flags = [0_u8, 1];
    let mut out = [&b"\xfd7zXZ\0"[..], &flags, &crc(&flags)].concat();
    let header = [2_u8, 0, 0x21, 1, 0x16, 0, 0, 0];
    let start = out.len();
    out.extend([&header[..], &crc(&header)].concat());
    for chunk in data.chunks(0x1_0000) {
        let control = if out.len() == start + 12 { 1 } else { 2 };
        out.push(control);
        out.extend(((chunk.len() - 1) as u16).to_be_bytes());
        out.extend(chunk);
    }
    out.push(0);
    let unpadded = out.len() - start + 4;
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(crc(data));
    let number = |mut value: usize| {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    };
    let mut index = [vec![0, 1], number(unpadded), number(data.len())].concat();
    index.resize(index.len().next_multiple_of(4), 0);
    index.extend(crc(&index));
    let backward = [&((index.len() as u32 / 4 - 1).to_le_bytes())[..], &flags].concat();
    out.extend([&index[..], &crc(&backward), &backward, b"YZ"].concat());
    out
}

#[test]
fn names_stay_below_the_destination() {
    for (entries, expected) in [
        (
            &[(b'0', "/abs/f", "", "1"), (b'0', "../../up", "", "2"), (b'5', "./", "", "")][..],
            "d out 0755 0:0\nd out/abs 0755 0:0\nf out/abs/f 0640 3:4 1\nf out/up 0640 3:4 2",
        ),
        (
            &[(b'5', "etc", "", ""), (b'2', "l", "../../../etc", ""), (b'0', "l/f", "", "1")],
            "d out 0755 0:0\nd out/etc 0711 3:4\nf out/etc/f 0640 3:4 1\nl out/l ../../../etc",
        ),
        (
            &[(b'2', "l", "/made", ""), (b'0', "l/f", "", "1")],
            "d out 0755 0:0\nl out/l /made\nd out/made 0755 0:0\nf out/made/f 0640 3:4 1",
        ),
        (
            &[(b'0', "a", "", "1"), (b'1', "d/b", "../../a", ""), (b'1', "c", "/d/b", "")],
            "d out 0755 0:0\nf out/a 0640 3:4 1\nh out/c out/a\nd out/d 0755 0:0\nh out/d/b out/a",
        ),
    ] {
        assert_eq!(add("d etc 0755", &tar(entries), "ADD x /out/").unwrap(), expected);
    }
    for entries in [
        &[(b'0', "a", "", "1"), (b'1', "b", "../etc/passwd", "")][..],
        &[(b'1', "b", "gone", "")],
        &[(b'2', "a", "a", ""), (b'0', "a/b", "", "x")],
        &[(b'0', "a", "", "x"), (b'0', "a/b", "", "x")],
    ] {
        let image = "d etc 0755\nf etc/passwd 0644 0:0 secret";
        assert!(add(image, &tar(entries), "ADD x /out/").is_err(), "{entries:?}");
    }
}

/// Row 39 of the threat table.
#[test]
fn row_39_a_destination_behind_an_absolute_link_is_in_the_image() {
    let host = tempfile::tempdir().unwrap();
    let target = host.path().to_str().unwrap();
    let archive = tar(&[(b'0', "f", "", "1"), (b'1', "g", "f", "")]);
    let written = add(&format!("l opt {target}"), &archive, "ADD x /opt/").unwrap();
    let inside = target.trim_start_matches('/');
    assert!(written.contains(&format!("f {inside}/f 0640 3:4 1")), "{written}");
    assert_eq!(std::fs::read_dir(host.path()).unwrap().count(), 0);
}

/// Row 38 of the threat table: files that an archive replaces are removed from the image, and no
/// others.
#[test]
fn row_38_entries_replace_what_is_there() {
    let image = "
        d out 0755
        d out/d 0700 9:9
        f out/d/f 0600 9:9 old
        f out/d/keep 0600 9:9 keep
        l out/l ../real
        d real 0755
        f victim 0644 0:0 x";
    let archive = tar(&[
        (b'5', "d", "", ""),
        (b'0', "d/f", "", "new"),
        (b'5', "l", "", ""),
        (b'0', "l/x", "", "1"),
    ]);
    assert_eq!(
        add(&lines(image), &archive, "ADD x /out/").unwrap(),
        "d out 0755 0:0\nd out/d 0711 3:4\nf out/d/f 0640 3:4 new\nd out/l 0711 3:4\nf out/l/x 0640 3:4 1"
    );
    // A file replaces a folder, then a folder replaces the file: nothing of the old folder is left.
    let archive = tar(&[(b'0', "d", "", "1"), (b'5', "d", "", ""), (b'0', "d/n", "", "2")]);
    assert_eq!(
        add(&lines(image), &archive, "ADD x /out/").unwrap(),
        "d out 0755 0:0\no out/d\nd out/d 0711 3:4\nf out/d/n 0640 3:4 2"
    );
    let archive = tar(&[(b'0', "d", "", "1")]);
    assert_eq!(
        add(&lines(image), &archive, "ADD x /out/").unwrap(),
        "d out 0755 0:0\nf out/d 0640 3:4 1"
    );
    let archive = tar(&[(b'0', ".wh.victim", "", ""), (b'0', "other", "", "o")]);
    assert_eq!(add(&lines(image), &archive, "ADD x /").unwrap(), "f other 0640 3:4 o\nw victim");
}

#[test]
fn flags_hold_for_entries_as_in_the_reference() {
    let archive = some_tar();
    assert_eq!(
        add("", &archive, "ADD --chmod=0700 --exclude=f x /out/").unwrap(),
        format!("d out 0755 0:0\n{SOME}")
    );
    assert_eq!(
        add("", &archive, "ADD --chown=5:6 x /out/").unwrap(),
        format!("d out 0755 5:6\n{}", SOME.replace("3:4", "5:6"))
    );
    assert_eq!(
        add("d out 0700 1:1", &archive, "ADD --link x /out/").unwrap(),
        format!("d out 0755 0:0\n{SOME}")
    );
}

#[test]
fn a_file_that_stands_twice_is_the_last_one() {
    let archive = tar(&[(b'0', "a", "", "first"), (b'1', "b", "a", ""), (b'0', "a", "", "last!")]);
    // The name `b` is still the first file.
    assert_eq!(add("", &archive, "ADD x /").unwrap(), "f a 0640 3:4 last!\nf b 0640 3:4 first");
}

fn prepared(made: &Folder, line: &str) -> Result<Prepared, CopyError> {
    let origin = Origin::Context(made.context.clone());
    prepare(None, Some(origin), &FileOp::Copy(request(line)))
}

#[test]
fn an_archive_that_is_cut_short_is_an_error() {
    let tar = some_tar();
    let made = holding("x", &tar[..600]);
    let error = prepared(&made, "ADD x /").unwrap_err();
    assert!(matches!(error, CopyError::Archive { .. }), "{error:?}");
}

/// Behind the end of the archive, where a reader of entries alone does not come.
#[test]
fn the_check_sum_of_a_gzip_file_is_checked() {
    // The padding is longer than what is read with the last entry.
    let mut tar = some_tar();
    tar.resize(tar.len() + (1 << 20), 0);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let gzip = gzip.finish().unwrap();
    let expected = format!("d out 0755 0:0\n{SOME}");
    for tail in [&b""[..], &[0; 512], b"garbage"] {
        let written = add("", &[&gzip, tail].concat(), "ADD x /out");
        assert_eq!(written.unwrap(), expected, "{tail:?}");
    }
    for at in [gzip.len() - 1, gzip.len() - 5, gzip.len() - 8] {
        let mut flipped = gzip.clone();
        flipped[at] ^= 1;
        for damaged in [&flipped[..], &gzip[..at]] {
            let error = prepared(&holding("x", damaged), "ADD x /").unwrap_err();
            assert_eq!(error.to_string(), "cannot unpack \"x\"", "{at}");
        }
    }
}

#[test]
fn an_archive_that_changes_meanwhile_is_an_error() {
    let made = holding("x", &some_tar());
    let selected = prepared(&made, "ADD x /").unwrap();
    std::fs::write(made.dir.path().join("x"), tar(&[(b'0', "f", "", "G")])).unwrap();
    assert!(matches!(write(&selected), Err(CopyError::Changed { .. })));
    let again = prepared(&made, "ADD x /").unwrap();
    assert_ne!(again.key(), selected.key());
    assert_eq!(describe(&write(&again).unwrap()), "f f 0640 3:4 G");
}

#[test]
fn times_of_entries_are_kept_and_others_made() {
    let layer = write(&prepared(&holding("x", &tar(&[(b'0', "d/f", "", "")])), "ADD x /").unwrap());
    let layer = layer.unwrap();
    let mut reader = LayerReader::new(&layer[..]);
    let mut times = Vec::new();
    while let Some(Change::Put(entry)) = reader.next().unwrap() {
        times.push(entry.meta.mtime);
    }
    assert_eq!(times, [MADE, Mtime { secs: 0o1750, nanos: 0 }]);
}

/// The layer of an ADD can be read back, whatever its archive held.
#[test]
fn file_capabilities_are_kept_and_other_attributes_dropped() {
    let value = [&0x0200_0001_u32.to_le_bytes()[..], &[0; 16]].concat();
    let record = |key: &str, value: &[u8]| {
        let mut length = key.len() + value.len() + 3;
        while length.to_string().len() + key.len() + value.len() + 3 != length {
            length = length.to_string().len() + key.len() + value.len() + 3;
        }
        [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
    };
    let records = [
        record("SCHILY.xattr.security.capability", &value),
        record("SCHILY.xattr.user.note", b"hello"),
    ]
    .concat();
    // The records hold bytes that are not text. They replace a text of the same length.
    let filler = "x".repeat(records.len());
    let mut archive = tar(&[(b'x', "pax", "", &filler), (b'0', "f", "", "F")]);
    archive[512..512 + records.len()].copy_from_slice(&records);
    let layer = write(&prepared(&holding("x", &archive), "ADD x /").unwrap()).unwrap();
    let Some(Change::Put(entry)) = LayerReader::new(&layer[..]).next().unwrap() else {
        panic!("no entry");
    };
    assert_eq!(entry.meta.xattrs, [(b"security.capability".to_vec(), value)]);
}
