//! The first difference of two layers, for people who want to know why they have different digests.

use std::collections::BTreeMap;
use std::fmt;

use crate::{Change, ContentHash, Entry, Kind, LayerIndex, Mtime, ShownPath};

/// A difference of two layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The file; `None` if no single file is meant.
    pub path: Option<ShownPath>,
    /// The part that differs.
    pub part: DifferentPart,
}

/// The part of a file, or of a layer, that differs. Each is said of the first layer and of the second.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DifferentPart {
    /// Only the first has something there: what it is.
    Missing(&'static str),
    /// Only the second has something there: what it is.
    Added(&'static str),
    /// The kinds.
    Kind(&'static str, &'static str),
    /// The targets of links.
    Target(ShownPath, ShownPath),
    /// The numbers of devices.
    Device((u32, u32), (u32, u32)),
    /// The contents: the positions of the file in the layers, to read it at.
    Contents(u32, u32),
    /// The permission bits.
    Mode(u32, u32),
    /// User and group.
    Owner((u32, u32), (u32, u32)),
    /// The name of an extended attribute that one has and the other has not, or has otherwise.
    Attribute(ShownPath),
    /// The modification times.
    Time(Mtime, Mtime),
    /// The order of the files.
    Order,
    /// Nothing that a file has: bytes of the archive around the files.
    Archive,
}

impl fmt::Display for DifferentPart {
    /// Writes the part, `.. in the image, .. in the build`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(what) => write!(f, "{what} in the image, nothing in the build"),
            Self::Added(what) => write!(f, "nothing in the image, {what} in the build"),
            Self::Kind(one, other) => write!(f, "{one} in the image, {other} in the build"),
            Self::Target(one, other) => {
                write!(f, "a link to {one} in the image, to {other} in the build")
            }
            Self::Device(one, other) => write!(
                f,
                "device {}:{} in the image, {}:{} in the build",
                one.0, one.1, other.0, other.1
            ),
            Self::Contents(..) => f.write_str("its bytes differ"),
            Self::Mode(one, other) => {
                write!(f, "mode {one:04o} in the image, {other:04o} in the build")
            }
            Self::Owner(one, other) => write!(
                f,
                "owner {}:{} in the image, {}:{} in the build",
                one.0, one.1, other.0, other.1
            ),
            Self::Attribute(name) => write!(f, "the attribute {name} differs"),
            Self::Time(one, other) => {
                write!(f, "time {} in the image, {} in the build", seconds(one), seconds(other))
            }
            Self::Order => f.write_str("the files are the same, in another order"),
            Self::Archive => f.write_str("the files are the same, the archive around them differs"),
        }
    }
}

/// Returns a time as seconds since 1970, with what is below a second if there is any.
fn seconds(time: &Mtime) -> String {
    match time.nanos {
        0 => time.secs.to_string(),
        nanos => format!("{}.{nanos:09}", time.secs),
    }
}

/// A change with its position and hash.
type Found<'a> = (u32, &'a Change, Option<ContentHash>);

/// Returns the first difference of two layers whose bytes differ, in the order of paths. Times come
/// last: they often differ everywhere, and for no reason of their own.
pub fn first_difference(one: &LayerIndex, other: &LayerIndex) -> Difference {
    let (ones, others) = (by_path(one), by_path(other));
    let keys: std::collections::BTreeSet<_> = ones.keys().chain(others.keys()).collect();
    for part in [files as fn(&Found<'_>, &Found<'_>) -> Option<DifferentPart>, times] {
        for key in &keys {
            let part = match (ones.get(*key), others.get(*key)) {
                (Some(one), Some(other)) => part(one, other),
                (Some(one), None) => Some(DifferentPart::Missing(name(one.1))),
                (None, Some(other)) => Some(DifferentPart::Added(name(other.1))),
                (None, None) => None,
            };
            if let Some(part) = part {
                return Difference { path: Some(ShownPath(key.0.to_vec())), part };
            }
        }
    }
    let same_order = one.changes().len() == other.changes().len()
        && one.changes().iter().zip(other.changes()).all(|(one, other)| one == other);
    let part = if same_order { DifferentPart::Archive } else { DifferentPart::Order };
    Difference { path: None, part }
}

/// Returns the changes by path and kind of change: a layer may hide a file and have a new one there.
/// Of several the last counts, as for a reader.
fn by_path(index: &LayerIndex) -> BTreeMap<(&[u8], u8), Found<'_>> {
    let numbered = (0u32..).zip(index.changes());
    let keyed = numbered.map(|(position, (change, hash))| {
        let key = match change {
            Change::Put(entry) => (&*entry.path, 0),
            Change::Whiteout(path) => (&**path, 1),
            Change::Opaque(path) => (&**path, 2),
        };
        (key, (position, change, *hash))
    });
    keyed.collect()
}

fn name(change: &Change) -> &'static str {
    match change {
        Change::Put(entry) => kind(&entry.kind),
        Change::Whiteout(_) => "the removal of a file",
        Change::Opaque(_) => "the removal of a folder's files",
    }
}

fn kind(kind: &Kind) -> &'static str {
    match kind {
        Kind::Dir => "a folder",
        Kind::File { .. } => "a file",
        Kind::Symlink { .. } => "a symbolic link",
        Kind::HardLink { .. } => "a further name of a file",
        Kind::CharDevice { .. } => "a character device",
        Kind::BlockDevice { .. } => "a block device",
        Kind::Fifo => "a named pipe",
    }
}

/// Compares all but times.
fn files(one: &Found<'_>, other: &Found<'_>) -> Option<DifferentPart> {
    let (Change::Put(first), Change::Put(second)) = (one.1, other.1) else { return None };
    let shown = |bytes: &[u8]| ShownPath(bytes.to_vec());
    let by_kind = match (&first.kind, &second.kind) {
        (one, other) if kind(one) != kind(other) => {
            Some(DifferentPart::Kind(kind(one), kind(other)))
        }
        (
            Kind::Symlink { target: one } | Kind::HardLink { target: one },
            Kind::Symlink { target: other } | Kind::HardLink { target: other },
        ) if one != other => Some(DifferentPart::Target(shown(one), shown(other))),
        (
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor },
            Kind::CharDevice { major: m, minor: n } | Kind::BlockDevice { major: m, minor: n },
        ) if (major, minor) != (m, n) => Some(DifferentPart::Device((*major, *minor), (*m, *n))),
        (Kind::File { size: a }, Kind::File { size: b }) if a != b || one.2 != other.2 => {
            Some(DifferentPart::Contents(one.0, other.0))
        }
        _ => None,
    };
    by_kind.or_else(|| metadata(first, second))
}

fn metadata(first: &Entry, second: &Entry) -> Option<DifferentPart> {
    let (one, other) = (&first.meta, &second.meta);
    if one.mode != other.mode {
        return Some(DifferentPart::Mode(one.mode, other.mode));
    }
    if (one.uid, one.gid) != (other.uid, other.gid) {
        return Some(DifferentPart::Owner((one.uid, one.gid), (other.uid, other.gid)));
    }
    let (mine, yours) = (&one.xattrs, &other.xattrs);
    let differs = mine.iter().find(|x| !yours.contains(x));
    let differs = differs.or_else(|| yours.iter().find(|x| !mine.contains(x)));
    differs.map(|(name, _)| DifferentPart::Attribute(ShownPath(name.clone())))
}

fn times(one: &Found<'_>, other: &Found<'_>) -> Option<DifferentPart> {
    let (Change::Put(one), Change::Put(other)) = (one.1, other.1) else { return None };
    let (one, other) = (one.meta.mtime, other.meta.mtime);
    (one != other).then_some(DifferentPart::Time(one, other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Meta;

    fn file(path: &str, text: &str) -> (Change, Option<ContentHash>) {
        let kind = Kind::File { size: text.len() as u64 };
        let meta = Meta { mode: 0o644, ..Meta::default() };
        let mut hash = [0; 32];
        hash[..text.len()].copy_from_slice(text.as_bytes());
        let entry = Entry { path: path.as_bytes().to_vec(), kind, meta };
        (Change::Put(entry), Some(ContentHash(hash)))
    }

    fn with(
        change: (Change, Option<ContentHash>),
        edit: impl Fn(&mut Entry),
    ) -> (Change, Option<ContentHash>) {
        let (Change::Put(mut entry), hash) = change else { panic!("a file") };
        edit(&mut entry);
        (Change::Put(entry), hash)
    }

    fn said(
        one: &[(Change, Option<ContentHash>)],
        other: &[(Change, Option<ContentHash>)],
    ) -> String {
        let index = |changes: &[_]| LayerIndex::new(changes.to_vec()).unwrap();
        let Difference { path, part } = first_difference(&index(one), &index(other));
        format!("{} {part}", path.map(|path| path.to_string()).unwrap_or_default())
    }

    #[test]
    fn each_part_is_named() {
        let (a, b) = (file("a", "one"), file("b", "two"));
        let gone = (Change::Whiteout(b"c".to_vec()), None);
        let late = with(a.clone(), |entry| entry.meta.mtime.secs = 7);
        for (one, other, expected) in [
            (vec![a.clone()], vec![], "\"a\" a file in the image, nothing in the build"),
            (vec![], vec![gone], "\"c\" nothing in the image, the removal of a file in the build"),
            (vec![b.clone()], vec![file("b", "tow")], "\"b\" its bytes differ"),
            (
                vec![a.clone()],
                vec![with(a.clone(), |entry| entry.meta.mode = 0o755)],
                "\"a\" mode 0644 in the image, 0755 in the build",
            ),
            (
                vec![a.clone()],
                vec![with(a.clone(), |entry| entry.meta.gid = 5)],
                "\"a\" owner 0:0 in the image, 0:5 in the build",
            ),
            (
                vec![a.clone()],
                vec![with(a.clone(), |entry| entry.kind = Kind::Dir)],
                "\"a\" a file in the image, a folder in the build",
            ),
            (
                vec![a.clone()],
                vec![with(a.clone(), |entry| entry.meta.xattrs.push((b"user.x".to_vec(), vec![])))],
                "\"a\" the attribute \"user.x\" differs",
            ),
            (vec![a.clone()], vec![late.clone()], "\"a\" time 0 in the image, 7 in the build"),
            // The reason is rather in b.
            (vec![a.clone(), b.clone()], vec![late, file("b", "x")], "\"b\" its bytes differ"),
            (
                vec![a.clone(), b.clone()],
                vec![b.clone(), a.clone()],
                " the files are the same, in another order",
            ),
        ] {
            assert_eq!(said(&one, &other), expected);
        }
        let same = [a];
        assert!(said(&same, &same).contains("archive"));
    }
}
