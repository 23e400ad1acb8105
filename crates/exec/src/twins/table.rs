//! The table that the starter reads: which files of a step's root have twins.
//!
//! **Shape** — little words of 64 bits: the number of rows; whether the architecture has the lowest
//! byte first; then the rows of thirteen words each: inode, change time in seconds and nanoseconds,
//! the arguments that suit, offset of the paths that must be absent, offset of the twin's path, offset
//! of its names or zero, offset of the paths that must be there, offset of the loader's path, and two
//! that are zero. A program that is known by its build has zero, size and modification time in seconds
//! in place of the first three, and place and offset of its build ID in place of these two. Two more are
//! the offset of files with the texts that they must have, and that of an argument with the one in its
//! place, or zero. Then texts, each with a zero after it; a list ends with an empty one. 64 KiB in all;
//! `starter/sys.rs` reads it.

use super::set::{Arguments, LOADER, ProgramBuild, Twin};

const SIZE: usize = 64 << 10;
const HEADER: usize = 16;
const ROW: usize = 13 * 8;

/// The identity of a file, until somebody changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) inode: u64,
    /// The time of the last change of the inode: seconds, nanoseconds.
    pub(crate) changed: (i64, u32),
}

/// The files of a root that have twins.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    pub(crate) little: bool,
    pub(crate) rows: Vec<Row<'a>>,
}

/// A file that has a twin.
#[derive(Debug, Clone)]
pub(crate) struct Row<'a> {
    pub(crate) twin: &'a Twin,
    /// The folder of the set in the step, see [`super::Origin`].
    pub(crate) folder: &'a str,
    pub(crate) file: FileId<'a>,
}

/// The identity of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FileId<'a> {
    Stamp(Stamp),
    Build(&'a ProgramBuild),
}

impl Table<'_> {
    /// Returns the table's bytes. Rows without room are left out: their programs have no twins.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut rows = Vec::new();
        let start = HEADER + ROW * self.rows.len();
        let mut texts: Vec<u8> = Vec::new();
        for row in &self.rows {
            let parts = row.texts();
            let length: usize = parts.iter().map(Vec::len).sum();
            if start + texts.len() + length > SIZE {
                break;
            }
            let places = parts.map(|part| {
                let at = (start + texts.len()) as u64;
                texts.extend(part);
                at
            });
            rows.extend(row.words(places).into_iter().flat_map(u64::to_ne_bytes));
        }
        let count = (rows.len() / ROW) as u64;
        let mut out = Vec::with_capacity(SIZE);
        out.extend(count.to_ne_bytes());
        out.extend(u64::from(self.little).to_ne_bytes());
        out.extend(rows);
        out.resize(start, 0);
        out.extend(texts);
        out.resize(SIZE, 0);
        out
    }
}

/// The texts of a row, or where they are in the table: paths that must be absent, the twin, its names, paths
/// that must be there, the loader, files with their texts, the argument that is exchanged, the build ID.
type Parts<T> = [T; 8];

impl Row<'_> {
    fn texts(&self) -> Parts<Vec<u8>> {
        let Self { twin, folder, file } = self;
        let path = |path: &str| format!("{folder}/{path}\0").into_bytes();
        [
            list(twin.absent.iter()),
            path(&twin.path),
            list(twin.names.iter()),
            list(twin.present.iter()),
            path(LOADER),
            list(twin.texts.iter().flat_map(|(path, text)| [path, text])),
            list(twin.exchanged.iter().flat_map(|(from, to)| [from, to])),
            match file {
                FileId::Stamp(_) => Vec::new(),
                FileId::Build(build) => build.id.clone(),
            },
        ]
    }

    /// Returns the row's words; `places` are those of its texts.
    fn words(&self, places: Parts<u64>) -> [u64; ROW / 8] {
        let [absent, path, names, present, loader, texts, exchanged, id] = places;
        let Twin { arguments, names: all_names, exchanged: pair, .. } = self.twin;
        let names = if all_names.is_empty() { 0 } else { names };
        let exchanged = if pair.is_none() { 0 } else { exchanged };
        let ([first, second, third], id_place, id) = match self.file {
            FileId::Stamp(Stamp { inode, changed: (seconds, nanos) }) => {
                ([inode, seconds.cast_unsigned(), u64::from(nanos)], 0, 0)
            }
            FileId::Build(build) => {
                ([0, build.size, build.modified.cast_unsigned()], build.id_at, id)
            }
        };
        let arguments = number_of(*arguments);
        [
            first, second, third, arguments, absent, path, names, present, loader, id_place, id,
            texts, exchanged,
        ]
    }
}

/// Returns a list of texts as the table has it.
fn list<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<u8> {
    texts.map(|text| format!("{text}\0")).chain(["\0".to_owned()]).collect::<String>().into_bytes()
}

/// Returns the number that arguments have in the table.
fn number_of(arguments: Arguments) -> u64 {
    match arguments {
        Arguments::Any => 0,
        Arguments::PlainAwk => 1,
        Arguments::Unpack => 2,
        Arguments::ApkChange => 3,
        Arguments::Compile => 4,
        Arguments::Link => 5,
        Arguments::Without(letter) => u64::from(letter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_lead_to_texts() {
        let twin = |path: &str, names: &[&str]| Twin {
            path: path.to_owned(),
            magic: Vec::new(),
            build: None,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            arguments: Arguments::Without(b'g'),
            absent: vec!["/x".to_owned(), "/y".to_owned()],
            present: vec!["/z".to_owned()],
            texts: vec![("/t".to_owned(), "text".to_owned())],
            exchanged: (!names.is_empty()).then(|| ("from".to_owned(), "to".to_owned())),
        };
        let (one, two) = (twin("bin/one", &[]), twin("bin/two", &["two", "sh"]));
        let stamp = FileId::Stamp(Stamp { inode: 11, changed: (-1, 7) });
        let build = ProgramBuild { size: 12, modified: -13, id_at: 14, id: b"15\x00x".to_vec() };
        let rows = [(&one, "/dev/a", stamp), (&two, "/dev/b", FileId::Build(&build))];
        let rows = rows.map(|(twin, folder, file)| Row { twin, folder, file }).to_vec();
        let bytes = Table { little: true, rows }.to_bytes();
        assert_eq!(bytes.len(), SIZE);
        let word = |at: usize| u64::from_ne_bytes(bytes[8 * at..8 * at + 8].try_into().unwrap());
        let rest = |at: u64| &bytes[usize::try_from(at).unwrap()..];
        let text = |at: u64| {
            let first = rest(at).split(|byte| *byte == 0).next();
            String::from_utf8_lossy(first.unwrap()).into_owned()
        };
        assert_eq!([word(0), word(1)], [2, 1]);
        assert_eq!(
            (word(2), word(3).cast_signed(), word(4), word(5)),
            (11, -1, 7, u64::from(b'g'))
        );
        assert_eq!((word(8), word(11), word(12), word(14)), (0, 0, 0, 0));
        let build = (word(15), word(16), word(17).cast_signed(), word(24));
        assert_eq!(build, (0, 12, -13, 14));
        assert_eq!(rest(word(25))[..4], *b"15\x00x");
        let texts = [7, 20, 10, 23].map(|at| text(word(at)));
        assert_eq!(texts, ["/dev/a/bin/one", "/dev/b/bin/two", "/dev/a/ld.so", "/dev/b/ld.so"]);
        assert_eq!([0, 3, 6].map(|at| text(word(19) + at)), ["/x", "/y", ""]);
        assert_eq!([0, 4, 7].map(|at| text(word(21) + at)), ["two", "sh", ""]);
        assert_eq!([0, 3].map(|at| text(word(22) + at)), ["/z", ""]);
        assert_eq!([0, 3, 8].map(|at| text(word(26) + at)), ["/t", "text", ""]);
        assert_eq!([0, 5, 8].map(|at| text(word(27) + at)), ["from", "to", ""]);
    }

    #[test]
    fn a_table_has_an_end() {
        let twin = Twin {
            path: "x".repeat(1000),
            magic: Vec::new(),
            build: None,
            names: Vec::new(),
            arguments: Arguments::Any,
            absent: Vec::new(),
            present: Vec::new(),
            texts: Vec::new(),
            exchanged: None,
        };
        let file = FileId::Stamp(Stamp { inode: 1, changed: (0, 0) });
        let rows = vec![Row { twin: &twin, folder: "/dev/x", file }; 100];
        let bytes = Table { little: false, rows }.to_bytes();
        assert_eq!(bytes.len(), SIZE);
        assert!(bytes[0] > 10 && bytes[0] < 100, "{}", bytes[0]);
    }
}
