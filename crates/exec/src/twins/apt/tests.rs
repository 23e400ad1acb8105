use super::*;
use crate::twins::elf::Segment;

/// Where code and texts begin in the file, and how much further texts are in memory.
const CODE: usize = 0x200;
const TEXTS: usize = 0x1000;
const SHIFT: u64 = 0x1000;

/// Returns a library with this code and these texts.
fn library(code: &[u8], texts: &[u8]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([3, 0, 62, 0, 1, 0, 0, 0]);
    file.extend([0, 64, 0].map(u64::to_le_bytes).concat());
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    let segment = |flags, offset: u64, address, size: usize| Segment {
        kind: 1,
        flags,
        offset,
        address,
        file_size: size as u64,
        memory_size: size as u64,
        alignment: 4096,
    };
    file.extend(segment(5, 0, 0, CODE + code.len()).to_bytes());
    file.extend(segment(4, TEXTS as u64, TEXTS as u64 + SHIFT, texts.len()).to_bytes());
    file.resize(CODE, 0);
    file.extend(code);
    file.resize(TEXTS, 0);
    file.extend(texts);
    file.resize(2 * TEXTS, 0);
    file
}

/// Returns an instruction at a place of the code that takes the address of a place in the texts.
fn lea(register: u8, at: usize, text: usize) -> Vec<u8> {
    let distance = TEXTS as u64 + SHIFT + text as u64 - (CODE + at + 7) as u64;
    [&[0x48, 0x8d, register][..], &(distance as u32).to_le_bytes()].concat()
}

const RSI: u8 = 0x35;
const RAX: u8 = 0x05;

/// apt 2.6, as compilers of Debian 12 write it: the name's address, and the value in two parts.
fn in_code() -> Vec<u8> {
    let mut code = lea(RSI, 0, 3);
    code.extend(b"\xc7\x44\x24\x70amd6\x48\x89\xea\x48\x89\x5c\x24\x60\xc6\x44\x24\x744");
    code.extend(b"\x48\xc7\x44\x24\x68\x05\0\0\0\xc6\x44\x24\x75\0\xe8");
    library(&code, b"a\0\0APT::Architecture\0")
}

/// apt 2.2, as those of Debian 11 write it: with places of four bytes.
fn in_wide_code() -> Vec<u8> {
    let mut code = lea(RSI, 0, 0);
    code.extend(b"\x48\x89\xea\xc7\x84\x24\x90\0\0\0amd6\xc6\x84\x24\x94\0\0\x004");
    code.extend(b"\x48\xc7\x84\x24\x88\0\0\0\x05\0\0\0\xc6\x84\x24\x95\0\0\0\0\xe8");
    library(&code, SETTING)
}

/// apt 3.0: the value is a text, and code stores its address and its length.
fn in_text() -> Vec<u8> {
    let texts = [SETTING, b"amd64\0other\0"].concat();
    let mut code = lea(RAX, 0, SETTING.len());
    code.extend(lea(RSI, 7, 0));
    code.extend(b"\x48\x89\x44\x24\x28\x48\xc7\x44\x24\x20\x05\0\0\0\xe8");
    library(&code, &texts)
}

fn told(library: &[u8], other: &str) -> Option<Vec<u8>> {
    tell("libapt-pkg.so.6.0", library, "amd64", other)
}

/// Returns the bytes that differ.
fn changed(before: &[u8], after: &[u8]) -> Vec<u8> {
    assert_eq!(before.len(), after.len());
    before.iter().zip(after).filter(|(old, new)| old != new).map(|(_, new)| *new).collect()
}

/// Returns the value that code stores: letters at their places, and the length.
fn stored(library: &[u8], first: usize, long: bool) -> (Vec<u8>, u8) {
    let (mut name, mut length) = (vec![0; 8], 0);
    let distance = if long { 4 } else { 1 };
    let operand = if long { 0x84 } else { 0x44 };
    for at in CODE..CODE + 80 {
        let code = &library[at..];
        let (kind, prefix) = match code {
            [0xc6, x, 0x24, ..] if *x == operand => (1, 0),
            [0xc7, x, 0x24, ..] if *x == operand => (4, 0),
            [0x48, 0xc7, x, 0x24, ..] if *x == operand => (8, 1),
            _ => continue,
        };
        let place = usize::from(code[prefix + 3]);
        let number = &code[prefix + 3 + distance..];
        match kind {
            8 => length = number[0],
            size if place >= first => {
                name[place - first..][..size].copy_from_slice(&number[..size])
            }
            _ => {}
        }
    }
    (name, length)
}

#[test]
fn a_name_of_as_many_letters_changes_only_letters() {
    for library in [in_code(), in_wide_code()] {
        assert_eq!(changed(&library, &told(&library, "arm64").unwrap()), b"rm");
        assert_eq!(changed(&library, &told(&library, "armhf").unwrap()), b"rmhf");
        assert_eq!(changed(&library, &told(&library, "s390x").unwrap()), b"s390x");
    }
    let library = in_text();
    assert_eq!(changed(&library, &told(&library, "s390x").unwrap()), b"s390x");
}

#[test]
fn a_longer_name_fits_into_the_code() {
    for (library, first, long) in [(in_code(), 0x70, false), (in_wide_code(), 0x90, true)] {
        assert_eq!(stored(&library, first, long), (b"amd64\0\0\0".to_vec(), 5));
        for (name, value) in [("riscv64", b"riscv64\0"), ("ppc64el", b"ppc64el\0")] {
            let told = told(&library, name).unwrap();
            assert_eq!(stored(&told, first, long), (value.to_vec(), 7));
            // The call behind it is where it was.
            let end = library.iter().rposition(|byte| *byte == 0xe8);
            assert_eq!(told.iter().rposition(|byte| *byte == 0xe8), end);
        }
    }
}

#[test]
fn a_longer_text_lies_behind_the_others() {
    let library = in_text();
    let told = told(&library, "riscv64").unwrap();
    let texts = SETTING.len() + b"amd64\0other\0".len();
    assert_eq!(&told[TEXTS + texts..][..8], b"riscv64\0");
    assert_eq!(told[CODE..CODE + 7], lea(RAX, 0, texts));
    let elf = Elf::parse(&told).unwrap();
    let sizes: Vec<u64> = elf.segments().map(|segment| segment.file_size).collect();
    assert_eq!(sizes[1], texts as u64 + 8);
    assert_eq!(told[CODE + 14 + 10..][..4], [7, 0, 0, 0]);
}

#[test]
fn other_code_gets_no_twin() {
    let code = CODE + 7;
    for (place, value) in [
        // The address of another text.
        (CODE + 3, 9),
        // Another last letter, another place of it, another end, another length.
        (code + 20, b'5'),
        (code + 19, 0x75),
        (code + 34, 1),
        (code + 26, 6),
    ] {
        let mut library = in_code();
        assert_ne!(library[place], value);
        library[place] = value;
        assert_eq!(told(&library, "arm64"), None, "{place:#x}");
    }
    let twice = [in_code(), b"amd6".to_vec()].concat();
    assert_eq!(told(&twice, "arm64"), None);
    for length in [0, 20, CODE, CODE + 20, TEXTS + 5] {
        assert_eq!(told(&in_code()[..length], "arm64"), None, "{length:#x}");
        assert_eq!(told(&in_text()[..length], "riscv64"), None, "{length:#x}");
    }
}

#[test]
fn code_without_room_gets_no_longer_name() {
    // The call comes between the stores.
    let mut code = lea(RSI, 0, 0);
    code.extend(b"\xc7\x44\x24\x70amd6\xc6\x44\x24\x744\x90");
    code.extend(b"\x48\xc7\x44\x24\x68\x05\0\0\0\xc6\x44\x24\x75\0\xe8");
    let library = library(&code, SETTING);
    assert_eq!(changed(&library, &told(&library, "arm64").unwrap()), b"rm");
    assert_eq!(told(&library, "riscv64"), None);
}

#[test]
fn texts_that_others_may_use_stay() {
    let texts = in_text();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut library = texts.clone();
        change(&mut library);
        (told(&library, "arm64").is_some(), told(&library, "riscv64").is_some())
    };
    assert_eq!(with(&|_| ()), (true, true));
    let address = TEXTS as u64 + SHIFT + SETTING.len() as u64;
    let pointer = |library: &mut Vec<u8>| library.extend(address.to_le_bytes());
    assert_eq!(with(&pointer), (true, false), "a pointer to it");
    let twice = |library: &mut Vec<u8>| library.extend(b"\0amd64\0");
    assert_eq!(with(&twice), (false, false), "two places");
    let end = TEXTS + SETTING.len() + b"amd64\0other\0".len();
    assert_eq!(with(&|library| library[end + 7] = 1), (true, false), "no room");
    assert_eq!(with(&|library| library[CODE + 24] = 6), (false, false), "another length");
}

#[test]
fn a_version_shows_the_other_name() {
    let private = |library: &[u8], other| tell("libapt-private.so.0.0", library, "amd64", other);
    let code = |length: u8| [&[0xba, length, 0, 0, 0][..], &lea(RSI, 5, 2)].concat();
    let known = library(&code(5), b"1\0amd64\0amd64-x\0");
    assert_eq!(changed(&known, &private(&known, "armhf").unwrap()), b"rmhf");
    let longer = private(&known, "ppc64el").unwrap();
    assert_eq!(longer[CODE..CODE + 12], [&[0xba, 7, 0, 0, 0][..], &lea(RSI, 5, 16)].concat());
    assert_eq!(&longer[TEXTS + 16..][..8], b"ppc64el\0");
    assert_eq!(private(&library(&code(6), b"1\0amd64\0"), "arm64"), None, "another length");
    assert_eq!(private(&library(&code(5), b"1\0amd64\0amd64\0"), "arm64"), None, "two places");
}

#[test]
fn only_names_of_architectures_are_told() {
    for name in ["arm", "amd", "loongarch64", "all", "", "x'y;z", "ARM64"] {
        assert_eq!(told(&in_code(), name), None, "{name}");
    }
    assert_eq!(tell("libapt-pkg.so.6.0", &in_code(), "arm64", "amd64"), None);
}
