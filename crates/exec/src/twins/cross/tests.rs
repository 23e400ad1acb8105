//! Tests with files as the script writes them, and programs that have no code.

use super::headers::with_folders_of;
use super::*;

const TRIPLET: &str = "aarch64-linux-gnu";
const START: u64 = 0x40_0000;
/// The size of the segments with headers and with everything else.
const SIZES: (usize, usize) = (0x800, 0x3000);

/// A program for fixed addresses, of this machine's processor; the rest of its second segment follows the
/// first page.
fn elf(rest: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 0x1000];
    out[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    let machine = Arch::host().unwrap().machine();
    let words = [(16, 2), (18, machine), (54, 56), (56, 2)];
    for (at, word) in words {
        out[at..at + 2].copy_from_slice(&u16::to_le_bytes(word));
    }
    out[32] = 64;
    let segments = [(4, 0, SIZES.0), (6, 0x1000, SIZES.1)];
    for (number, (flags, offset, size)) in segments.into_iter().enumerate() {
        let at = 64 + 56 * number;
        out[at] = 1;
        out[at + 4] = flags;
        let (offset, size) = (offset as u64, size as u64);
        for (word, value) in
            [(8, offset), (16, START + offset), (32, size), (40, size), (48, 0x1000)]
        {
            out[at + word..at + word + 8].copy_from_slice(&value.to_le_bytes());
        }
    }
    out.extend_from_slice(rest);
    out.resize(0x1000 + SIZES.1, 0);
    out
}

/// The rows of a table: names and bytes.
fn rows(base: &str) -> Vec<(String, [u8; 4])> {
    let tools = format!("{base}/../../../../{TRIPLET}/include");
    [
        (format!("{tools}/c++/14"), [1, 1, 0, 0]),
        (format!("{tools}/c++/14/{TRIPLET}"), [1, 1, 0, 1]),
        (format!("{tools}/c++/14/backward"), [1, 1, 0, 0]),
        (format!("{tools}/c++/v1"), [2, 1, 0, 0]),
        (format!("{base}/include"), [0, 0, 0, 0]),
        ("/usr/local/include".to_owned(), [0, 1, 1, 2]),
        (format!("{base}/include-fixed"), [0, 0, 0, 2]),
        (format!("{base}/include-fixed"), [0, 0, 0, 0]),
        (tools, [0, 1, 0, 0]),
        ("/usr/include".to_owned(), [0, 0, 1, 2]),
        ("/usr/include".to_owned(), [0, 0, 1, 0]),
    ]
    .to_vec()
}

/// A compiler with a table of these rows at 0x2000. Equal names are one text.
fn compiler(rows: &[(String, [u8; 4])]) -> Vec<u8> {
    let (mut texts, mut table) = (b"x\0".to_vec(), Vec::new());
    for (name, bytes) in rows {
        let text = format!("\0{name}\0").into_bytes();
        let at = memchr::memmem::find(&texts, &text).map(|at| at + 1).unwrap_or_else(|| {
            texts.extend_from_slice(&text[1..]);
            texts.len() + 1 - text.len()
        });
        table.extend((START + 0x1000 + at as u64).to_le_bytes());
        table.extend([0; 8]);
        table.extend([*bytes, [0; 4]].concat());
    }
    texts.resize(0x1000, 0);
    elf(&[texts, table].concat())
}

/// Reads the table of a compiler.
fn table(program: &[u8]) -> Vec<(String, [u8; 4])> {
    let rows = program[0x2000..].chunks_exact(24).take_while(|row| row[..8] != [0; 8]);
    rows.map(|row| {
        let address = u64::from_le_bytes(row[..8].try_into().unwrap());
        let text = &program[usize::try_from(address - START).unwrap()..];
        let name = String::from_utf8(text.split(|byte| *byte == 0).next().unwrap().to_vec());
        (name.unwrap(), row[16..20].try_into().unwrap())
    })
    .collect()
}

/// The folders of Debian's compilers, with zeros after them.
fn native() -> Vec<u8> {
    let base = format!("/usr/lib/gcc/{TRIPLET}/14");
    let include = format!("{base}/../../../../include");
    [
        format!("{include}/c++/14"),
        format!("{include}/{TRIPLET}/c++/14"),
        format!("{include}/c++/14/backward"),
        format!("{base}/include"),
        "/usr/local/include".to_owned(),
        format!("{base}/include-fixed"),
        format!("{base}/../../../../{TRIPLET}/include"),
        "/usr/include".to_owned(),
    ]
    .map(|name| format!("{name}\0"))
    .concat()
    .into_bytes()
}

#[test]
fn a_compiler_looks_where_the_other_one_does() {
    let cross = compiler(&rows(&format!("/usr/lib/gcc-cross/{TRIPLET}/14")));
    let (out, folder) = with_folders_of(&cross, &native(), TRIPLET).unwrap();
    assert_eq!(folder, "/usr/include/c++/14/aarch64-linux-gnu");
    let base = "/usr/lib/gcc/aarch64-linux-gnu/14";
    let include = format!("{base}/../../../../include");
    let expected = [
        (format!("{include}/c++/14"), [1, 1, 0, 0]),
        (format!("{include}/aarch64-linux-gnu/c++/14"), [1, 1, 0, 1]),
        (format!("{include}/c++/14/backward"), [1, 1, 0, 0]),
        (format!("{base}/include"), [0, 0, 0, 0]),
        ("/usr/local/include".to_owned(), [0, 1, 1, 2]),
        ("/usr/local/include".to_owned(), [0, 1, 1, 0]),
        (format!("{base}/include-fixed"), [0, 0, 0, 2]),
        (format!("{base}/include-fixed"), [0, 0, 0, 0]),
        (format!("{base}/../../../../aarch64-linux-gnu/include"), [0, 1, 0, 0]),
        ("/usr/include".to_owned(), [0, 0, 1, 2]),
        ("/usr/include".to_owned(), [0, 0, 1, 0]),
    ];
    assert_eq!(table(&out), expected);
    assert_eq!(out[0x1000..0x2000], cross[0x1000..0x2000], "other texts may end there");
}

#[test]
fn a_compiler_of_another_form_stays_as_it_is() {
    let usual = rows(&format!("/usr/lib/gcc-cross/{TRIPLET}/14"));
    let refused = |cross: &[u8], native: &[u8]| with_folders_of(cross, native, TRIPLET).is_none();
    assert!(!refused(&compiler(&usual), &native()));
    for row in 0..usual.len() {
        let mut other = usual.clone();
        other[row].0.push('x');
        assert!(refused(&compiler(&other), &native()), "the name of row {row}");
        let mut other = usual.clone();
        other[row].1[1] ^= 1;
        assert!(refused(&compiler(&other), &native()), "the bytes of row {row}");
        let mut other = usual.clone();
        other.remove(row);
        assert!(refused(&compiler(&other), &native()), "without row {row}");
    }
    let mut full = compiler(&usual);
    full[SIZES.0..0x1000].fill(1);
    assert!(refused(&full, &native()), "no room for names");
    assert!(refused(&compiler(&usual), &native()[20..]), "the other one has another folder");
    assert!(refused(b"", b""));
}

fn fetched(files: &[(&str, &[u8])]) -> FetchedFiles {
    let file = |contents: &[u8]| Fetched { contents: contents.to_vec(), modified: 7 };
    files.iter().map(|(path, contents)| ((*path).to_owned(), file(contents))).collect()
}

#[test]
fn versions_are_the_same_but_for_their_builds() {
    let check = |line: &str| check_versions(&fetched(&[("versions", line.as_bytes())]));
    for (one, other) in [
        ("14.2.0-19", "14.2.0-19cross1"),
        ("14.2.0-19+b2", "14.2.0-19cross12"),
        ("14.2.0-19", "14.2.0-19cross1+b3"),
        ("2.44-3", "2.44-3"),
    ] {
        assert_eq!(check(&format!("cpp {one} cross {other}\n")), Ok(()));
    }
    for (one, other) in [
        ("12.2.0-14+deb12u1", "12.2.0-14cross1"),
        ("2.44-3", "2.44-4"),
        ("2.44-3", "none"),
        ("none", "none"),
        ("1", "1crossx"),
    ] {
        let error = check(&format!("a 1 b 1\ncpp {one} cross {other}\n")).unwrap_err();
        assert!(matches!(error, CrossError::Versions { native, .. } if native == "cpp"));
    }
    for text in ["", "cpp 1 cross", "cpp 1 cross 1 x"] {
        assert_eq!(check(text), Err(CrossError::Form("versions".to_owned())), "{text}");
    }
    let error = check("cpp-12 12.2-1 cpp-12-x none\n").unwrap_err().to_string();
    assert_eq!(error, "cpp-12 is 12.2-1, and its cross compiler cpp-12-x does not exist");
}

/// A program for 64-bit Arm with a build ID.
fn foreign() -> Vec<u8> {
    let mut out = vec![0; 5000];
    out[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0");
    out[600..616].copy_from_slice(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0");
    out[616..636].copy_from_slice(b"twenty bytes it has.");
    out
}

#[test]
fn a_program_is_known_by_its_build() {
    let (theirs, ours) = (foreign(), elf(b""));
    let loader = elf(b"/etc/ld.so.cache\0");
    let as_path = "usr/bin/aarch64-linux-gnu-as";
    let files = |there: &[u8], here: &[u8], loader: &[u8]| {
        fetched(&[
            ("versions", b"cpp-14 14.2.0-19 cpp-14-x 14.2.0-19cross1\n"),
            ("ld.so", loader),
            ("lib/libx.so.1", b"library"),
            (&format!("there/{as_path}"), there),
            (&format!("here/{as_path}"), here),
        ])
    };
    let make = |files: &FetchedFiles| make(Arch::Arm64, files, b"emulator".to_vec());
    let (set, files_of_set) = make(&files(&theirs, &ours, &loader)).unwrap();
    let [twin] = &set.twins[..] else { panic!("{set:?}") };
    assert_eq!((&*twin.path, twin.arguments), (as_path, Arguments::Any));
    let build = twin.build.as_ref().unwrap();
    assert_eq!((build.size, build.modified, build.id_at), (5000, 7, 616));
    assert_eq!(build.id, b"twenty bytes it has.");
    let paths: Vec<&str> = files_of_set.iter().map(|file| &*file.path).collect();
    let expected = [
        "emulator",
        "root/ld.so",
        "root/cache",
        "root/lib/libx.so.1",
        "root/usr/bin/aarch64-linux-gnu-as",
        "names/usr/bin/aarch64-linux-gnu-as",
    ];
    assert_eq!(paths, expected);

    let (linker, plugin) =
        ("usr/bin/aarch64-linux-gnu-ld.bfd", "usr/libexec/gcc/x/14/liblto_plugin.so");
    let mut with_linker = files(&theirs, &ours, &loader);
    with_linker.extend(fetched(&[
        (&format!("there/{linker}"), &theirs),
        (&format!("here/{linker}"), &ours),
    ]));
    assert_eq!(make(&with_linker).unwrap_err(), CrossError::Form(linker.to_owned()), "no plugin");
    with_linker.extend(fetched(&[(&format!("here/{plugin}"), b"plugin")]));
    let (set, files_of_set) = make(&with_linker).unwrap();
    let twin = set.twins.iter().find(|twin| twin.path == linker).unwrap();
    let (from, to) = twin.exchanged.as_ref().unwrap();
    assert_eq!((from.len(), &**from), (to.len(), "/usr/libexec/gcc/x/14/liblto_plugin.so"));
    assert!(to.starts_with("/dev/.tool/") && to.ends_with("/liblto_plugin.so"), "{to}");
    assert!(files_of_set.iter().any(|file| file.path == "root/liblto_plugin.so"));

    let refused = |files: &FetchedFiles| make(files).unwrap_err();
    let form = |name: &str| CrossError::Form(name.to_owned());
    assert_eq!(refused(&files(&theirs, &ours, b"")), form("ld.so"));
    assert_eq!(refused(&files(&theirs, &theirs, &loader)), form(as_path));
    assert_eq!(refused(&files(&ours, &ours, &loader)), form(as_path));
    assert_eq!(refused(&files(&theirs[..600], &ours, &loader)), form(as_path));
    let mut anonymous = theirs.clone();
    anonymous[608] = 4;
    assert_eq!(refused(&files(&anonymous, &ours, &loader)), form(as_path));
    let mut without = files(&theirs, &ours, &loader);
    without.retain(|path, _| !path.starts_with("here/"));
    assert_eq!(refused(&without), form(as_path));
}
