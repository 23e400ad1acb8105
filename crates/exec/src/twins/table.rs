//! The table that the starter reads: which files of a step's root have twins.
//!
//! **Shape** — little words of 64 bits: the number of rows; whether the architecture has the lowest
//! byte first; then the rows of eight words each: inode, change time in seconds and nanoseconds,
//! the arguments that suit, offset of the paths that must be absent, offset of the twin's path, offset
//! of its names or zero, offset of the paths that must be there. Then texts, each with a zero after it;
//! a list ends with an empty one. 64 KiB in all; `starter/sys.rs` reads it.

use super::FOLDER;
use super::set::{Arguments, Twin};

const SIZE: usize = 64 << 10;
const HEADER: usize = 16;
const ROW: usize = 64;

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
    pub(crate) rows: Vec<(&'a Twin, Stamp)>,
}

impl Table<'_> {
    /// Returns the table's bytes. Rows without room are left out: their programs have no twins.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut rows = Vec::new();
        let start = HEADER + ROW * self.rows.len();
        let mut texts: Vec<u8> = Vec::new();
        for (twin, stamp) in &self.rows {
            let list = |texts: &[String]| -> String {
                let texts = texts.iter().map(|text| format!("{text}\0"));
                texts.chain(["\0".to_owned()]).collect()
            };
            let (absent, names, present) =
                (list(&twin.absent), list(&twin.names), list(&twin.present));
            let path = format!("{FOLDER}/{}\0", twin.path);
            let length = absent.len() + path.len() + names.len() + present.len();
            if start + texts.len() + length > SIZE {
                break;
            }
            let absent_at = start + texts.len();
            let path_at = absent_at + absent.len();
            let names_at = path_at + path.len();
            let present_at = names_at + names.len();
            for text in [&absent, &path, &names, &present] {
                texts.extend_from_slice(text.as_bytes());
            }
            let (seconds, nanos) = stamp.changed;
            let arguments = match twin.arguments {
                Arguments::Any => 0,
                Arguments::PlainAwk => 1,
                Arguments::Unpack => 2,
                Arguments::ApkChange => 3,
                Arguments::Without(letter) => u64::from(letter),
            };
            let words = [
                stamp.inode,
                seconds.cast_unsigned(),
                u64::from(nanos),
                arguments,
                absent_at as u64,
                path_at as u64,
                if twin.names.is_empty() { 0 } else { names_at as u64 },
                present_at as u64,
            ];
            rows.extend(words.into_iter().flat_map(u64::to_ne_bytes));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_lead_to_texts() {
        let twin = |path: &str, names: &[&str]| Twin {
            path: path.to_owned(),
            magic: Vec::new(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            arguments: Arguments::Without(b'g'),
            absent: vec!["/x".to_owned(), "/y".to_owned()],
            present: vec!["/z".to_owned()],
        };
        let (one, two) = (twin("bin/one", &[]), twin("bin/two", &["two", "sh"]));
        let stamp = |inode| Stamp { inode, changed: (-1, 7) };
        let table = Table { little: true, rows: vec![(&one, stamp(11)), (&two, stamp(12))] };
        let bytes = table.to_bytes();
        assert_eq!(bytes.len(), SIZE);
        let word = |at: usize| u64::from_ne_bytes(bytes[8 * at..8 * at + 8].try_into().unwrap());
        assert_eq!([word(0), word(1), word(2), word(8), word(10)], [2, 1, 11, 0, 12]);
        assert_eq!((word(3).cast_signed(), word(4), word(5)), (-1, 7, u64::from(b'g')));
        let text = |at: u64| {
            let rest = &bytes[usize::try_from(at).unwrap()..];
            String::from_utf8_lossy(rest.split(|byte| *byte == 0).next().unwrap()).into_owned()
        };
        assert_eq!(text(word(7)), "/dev/.twin/bin/one");
        assert_eq!(text(word(15)), "/dev/.twin/bin/two");
        assert_eq!(text(word(14)), "/x");
        assert_eq!(text(word(14) + 3), "/y");
        assert_eq!(text(word(14) + 6), "");
        assert_eq!(text(word(16)), "two");
        assert_eq!(text(word(16) + 4), "sh");
        assert_eq!(text(word(16) + 7), "");
        assert_eq!(text(word(9)), "/z");
        assert_eq!(text(word(17) + 3), "");
    }

    #[test]
    fn a_table_has_an_end() {
        let twin = Twin {
            path: "x".repeat(1000),
            magic: Vec::new(),
            names: Vec::new(),
            arguments: Arguments::Any,
            absent: Vec::new(),
            present: Vec::new(),
        };
        let stamp = Stamp { inode: 1, changed: (0, 0) };
        let bytes = Table { little: false, rows: vec![(&twin, stamp); 100] }.to_bytes();
        assert_eq!(bytes.len(), SIZE);
        assert!(bytes[0] > 10 && bytes[0] < 100, "{}", bytes[0]);
    }
}
