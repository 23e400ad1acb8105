//! The folders in which a compiler looks for headers, as a table in its file.
//!
//! A cross compiler looks into folders of its own, and not into `/usr/local/include`. Its copy for a step
//! gets the table of the step's compiler, so that arguments and messages stay as they are.
//!
//! **Source** — GCC, `gcc/cppdefault.cc`, `cpp_include_defaults`; `gcc/cppdefault.h`, `struct
//! default_include`; `gcc/incpath.cc`, `add_standard_paths`.

use crate::twins::elf::{Elf, PT_LOAD, Segment};

/// A row: the addresses of the folder's name and of the component's, and eight bytes of which four are in
/// use: for C++ alone (2 for another library of it), knows C++, below the system's root, variant.
const ROW: usize = 24;
const COUNT: usize = 11;
const BYTES: usize = 16;
/// The variant: 0 is the folder itself, 1 depends on options, 2 is the folder for the triplet in it.
const VARIANT: usize = BYTES + 3;

/// The bytes of a cross compiler's rows.
const USUAL: [[u8; 4]; COUNT] = [
    [1, 1, 0, 0],
    [1, 1, 0, 1],
    [1, 1, 0, 0],
    [2, 1, 0, 0],
    [0, 0, 0, 0],
    [0, 1, 1, 2],
    [0, 0, 0, 2],
    [0, 0, 0, 0],
    [0, 1, 0, 0],
    [0, 0, 1, 2],
    [0, 0, 1, 0],
];

const LOCAL: &str = "/usr/local/include";
const SYSTEM: &str = "/usr/include";
const WRITABLE: u32 = 2;
const PAGE: usize = 4096;

/// Returns a cross compiler with the table of the compiler that it stands for, and a folder that this has
/// in its table and the copy has not: it must not be there. `None` if one of them is of another form.
pub(super) fn with_folders_of(
    cross: &[u8],
    native: &[u8],
    triplet: &str,
) -> Option<(Vec<u8>, String)> {
    let elf = Elf::parse(cross)?;
    let table = find(cross, &elf)?;
    let number = name(cross, &elf, table)?.rsplit('/').next()?;
    let cross_names = names_of_cross(triplet, number);
    for (row, (usual, bytes)) in cross_names.iter().zip(USUAL).enumerate() {
        let at = table + row * ROW;
        let is_usual = name(cross, &elf, at)? == usual;
        if !is_usual || *cross.get(at + BYTES..at + ROW)? != [bytes, [0; 4]].concat() {
            return None;
        }
    }
    let names = names_of_native(triplet, number);
    // The compiler that it stands for has the same folders.
    let has =
        |name: &String| memchr::memmem::find(native, format!("{name}\0").as_bytes()).is_some();
    if !names.iter().all(|(_, name)| has(name)) {
        return None;
    }
    let mut out = cross.to_vec();
    let mut room = Room::find(cross, &elf)?;
    for (place, (like, name)) in names.iter().enumerate() {
        let like = table + like * ROW;
        let mut row = cross.get(like..like + ROW)?.to_vec();
        if !matches!(&**name, LOCAL | SYSTEM) {
            row[..8].copy_from_slice(&room.put(&mut out, name)?.to_le_bytes());
        }
        if place == PLAIN_LOCAL {
            row[VARIANT] = 0;
        }
        let at = table + place * ROW;
        out.get_mut(at..at + ROW)?.copy_from_slice(&row);
    }
    Some((out, format!("{SYSTEM}/c++/{number}/{triplet}")))
}

/// Returns the folders of a cross compiler, row by row.
fn names_of_cross(triplet: &str, number: &str) -> [String; COUNT] {
    let base = format!("/usr/lib/gcc-cross/{triplet}/{number}");
    let tools = format!("{base}/../../../../{triplet}/include");
    let plus = format!("{tools}/c++/{number}");
    [
        plus.clone(),
        format!("{plus}/{triplet}"),
        format!("{plus}/backward"),
        format!("{tools}/c++/v1"),
        format!("{base}/include"),
        LOCAL.to_owned(),
        format!("{base}/include-fixed"),
        format!("{base}/include-fixed"),
        tools,
        SYSTEM.to_owned(),
        SYSTEM.to_owned(),
    ]
}

/// The row of the copy with [`LOCAL`] itself.
const PLAIN_LOCAL: usize = 5;

/// Returns the folders of the compiler that it stands for, row by row, each with the number of a cross
/// compiler's row that is like it. The row of the other C++ library makes room.
fn names_of_native(triplet: &str, number: &str) -> [(usize, String); COUNT] {
    let base = format!("/usr/lib/gcc/{triplet}/{number}");
    let include = format!("{base}/../../../../include");
    [
        (0, format!("{include}/c++/{number}")),
        (1, format!("{include}/{triplet}/c++/{number}")),
        (2, format!("{include}/c++/{number}/backward")),
        (4, format!("{base}/include")),
        (5, LOCAL.to_owned()),
        (5, LOCAL.to_owned()),
        (6, format!("{base}/include-fixed")),
        (7, format!("{base}/include-fixed")),
        (8, format!("{base}/../../../../{triplet}/include")),
        (9, SYSTEM.to_owned()),
        (10, SYSTEM.to_owned()),
    ]
}

/// Returns where the table is: it has the only reference to the folder that all compilers know.
fn find(cross: &[u8], elf: &Elf<'_>) -> Option<usize> {
    let before = COUNT / 2;
    let text = memchr::memmem::find(cross, format!("{LOCAL}\0").as_bytes())?;
    let address = elf.address_of(text)?.to_le_bytes();
    let mut places = memchr::memmem::find_iter(cross, &address);
    let place = places.next().filter(|_| places.next().is_none())?;
    let table = place.checked_sub(before * ROW)?;
    // A row of zeros ends it.
    let end = cross.get(table + COUNT * ROW..)?.get(..ROW)?;
    end.iter().all(|byte| *byte == 0).then_some(table)
}

/// Returns the name in the row at a place.
fn name<'a>(cross: &'a [u8], elf: &Elf<'_>, row: usize) -> Option<&'a str> {
    let address = u64::from_le_bytes(cross.get(row..row + 8)?.try_into().ok()?);
    let text = cross.get(elf.offset_of(address)?..)?;
    std::str::from_utf8(text.split(|byte| *byte == 0).next()?).ok()
}

/// Zeros behind a segment that is only read, on its last page, which is mapped as a whole. The names that are
/// there cannot be overwritten: their ends may be other texts, too.
struct Room {
    /// The place in the file.
    place: usize,
    /// Its address.
    address: u64,
    /// The end of the page.
    end: usize,
}

impl Room {
    fn find(cross: &[u8], elf: &Elf<'_>) -> Option<Self> {
        let rooms = elf
            .segments()
            .filter(|segment| segment.kind == PT_LOAD && segment.flags & WRITABLE == 0);
        let room = |segment: Segment| {
            let place = usize::try_from(segment.offset.checked_add(segment.file_size)?).ok()?;
            let address = segment.address.checked_add(segment.file_size)?;
            let end = place.checked_next_multiple_of(PAGE)?;
            let is_free = cross.get(place..end)?.iter().all(|byte| *byte == 0);
            is_free.then_some(Self { place, address, end })
        };
        rooms.filter_map(room).max_by_key(|room| room.end - room.place)
    }

    /// Writes a text with a zero after it, and returns its address.
    fn put(&mut self, out: &mut [u8], text: &str) -> Option<u64> {
        let length = text.len() + 1;
        let end = self.place + length;
        let (address, place) = (self.address, self.place);
        out.get_mut(place..end).filter(|_| end <= self.end)?[..text.len()]
            .copy_from_slice(text.as_bytes());
        (self.place, self.address) = (end, address + length as u64);
        Some(address)
    }
}
