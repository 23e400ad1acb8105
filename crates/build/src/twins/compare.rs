//! Comparing the layers that a step makes natively and under emulation.

use std::collections::BTreeMap;
use std::fmt;

use xbuild_layer::{Kind, Node, ShownPath, Tree};
use xbuild_wording::quoted;

/// The most differences that a message lists.
const LISTED: usize = 10;

/// apt's caches have stamps of files in them, and numbers as the processor keeps them. So apt writes a
/// cache of another processor anew, at any time. A star stands for any bytes.
const RENEWED: &str = "var/cache/apt/*.bin";

/// Their folder, whose time changes with that.
const RENEWED_IN: &[u8] = b"var/cache/apt";

/// Files whose contents say when, or on which inodes, a program ran. Kind, mode and owner count all
/// the same.
const VARYING: [&str; 3] = [
    // fontconfig's have times of folders.
    "var/cache/fontconfig/*",
    // ldconfig's own cache has inodes and times of libraries in it.
    "var/cache/ldconfig/aux-cache",
    // Logs have times in them.
    "var/log/*",
];

/// A file that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    path: ShownPath,
    /// The property that differs, and its value natively and under emulation.
    what: &'static str,
    natively: String,
    emulated: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, what, natively, emulated } = self;
        write!(f, "{path}: {what} {natively} natively, {emulated} under QEMU")
    }
}

/// The files of a step's two results that differ.
#[derive(Debug, thiserror::Error)]
#[error("the step's result depends on who runs its programs, at {} of {compared} paths: {}",
    all.len(), listed(all))]
pub(super) struct Differences {
    all: Vec<Difference>,
    compared: usize,
}

fn listed(all: &[Difference]) -> String {
    let mut lines: Vec<String> = all.iter().take(LISTED).map(ToString::to_string).collect();
    if all.len() > LISTED {
        lines.push(format!("{} more", all.len() - LISTED));
    }
    lines.join("; ")
}

/// Compares two trees that differ at most in their layer `top`, and returns the number of compared
/// paths: those of that layer, and those that one of the trees lacks. Times from `since` on, in
/// seconds since the epoch, are all taken for the time of the step; earlier ones must be equal.
pub(super) fn compare(
    natively: &Tree,
    emulated: &Tree,
    top: u32,
    since: i64,
) -> Result<usize, Differences> {
    let mut pairs: BTreeMap<Vec<u8>, [Option<&Node>; 2]> = BTreeMap::new();
    for (side, tree) in [natively, emulated].into_iter().enumerate() {
        for (path, node) in tree.walk(b"") {
            pairs.entry(path).or_default()[side] = Some(node);
        }
    }
    let is_of_step = |node: &Option<&Node>| node.is_none_or(|node| node.layer == top);
    pairs.retain(|_, nodes| nodes.iter().any(is_of_step));
    let compared = pairs.len();
    let differences = pairs.into_iter().filter_map(|(path, [natively, emulated])| {
        let (what, natively, emulated) = match (natively, emulated) {
            (Some(natively), Some(emulated)) => {
                differ(natively, emulated, Counted::of(&path), since)?
            }
            (natively, emulated) => {
                let state = |node: Option<&Node>| {
                    node.map_or_else(|| "missing".to_owned(), |node| kind(&node.kind))
                };
                ("kind", state(natively), state(emulated))
            }
        };
        Some(Difference { path: ShownPath(path), what, natively, emulated })
    });
    let all: Vec<Difference> = differences.collect();
    if all.is_empty() { Ok(compared) } else { Err(Differences { all, compared }) }
}

/// The properties of a file that count, beside those that always do.
#[derive(Debug, Clone, Copy)]
struct Counted {
    contents: bool,
    time: bool,
}

impl Counted {
    fn of(path: &[u8]) -> Self {
        let is_renewed = matches(RENEWED, path);
        let contents = !is_renewed && !VARYING.iter().any(|pattern| matches(pattern, path));
        Self { contents, time: !is_renewed && path != RENEWED_IN }
    }
}

/// Returns the first property in which two files differ, with its values.
fn differ(
    natively: &Node,
    emulated: &Node,
    counted: Counted,
    since: i64,
) -> Option<(&'static str, String, String)> {
    let both = [natively, emulated];
    let values = |what, value: &dyn Fn(&Node) -> String| {
        let [natively, emulated] = both.map(value);
        (natively != emulated).then_some((what, natively, emulated))
    };
    let contents = |node: &Node| match (&node.kind, node.content) {
        (Kind::File { size }, Some(hash)) => {
            let hex: String = hash.0.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
            format!("{size} bytes ({hex})")
        }
        _ => String::new(),
    };
    let time = |node: &Node| match node.meta.mtime.secs {
        secs if secs >= since => "of the step".to_owned(),
        secs => format!("{secs}.{:09}", node.meta.mtime.nanos),
    };
    values("kind", &|node| kind(&node.kind))
        .or_else(|| values("mode", &|node| format!("{:o}", node.meta.mode)))
        .or_else(|| values("owner", &|node| format!("{}:{}", node.meta.uid, node.meta.gid)))
        .or_else(|| counted.contents.then(|| values("contents", &contents)).flatten())
        .or_else(|| values("attributes", &attributes))
        .or_else(|| counted.time.then(|| values("time", &time)).flatten())
}

/// Returns the kind of a file in words, with what makes two files of it differ but contents.
fn kind(kind: &Kind) -> String {
    match kind {
        Kind::File { .. } => "file".to_owned(),
        Kind::Dir => "folder".to_owned(),
        Kind::Symlink { target } => format!("link to {}", ShownPath(target.clone())),
        Kind::HardLink { target } => format!("further name of {}", ShownPath(target.clone())),
        Kind::CharDevice { major, minor } => format!("character device {major}:{minor}"),
        Kind::BlockDevice { major, minor } => format!("block device {major}:{minor}"),
        Kind::Fifo => "named pipe".to_owned(),
    }
}

/// Returns the extended attributes of a file in words.
fn attributes(node: &Node) -> String {
    let one = |(name, value): &(Vec<u8>, Vec<u8>)| {
        let text = |bytes: &[u8]| quoted(&String::from_utf8_lossy(bytes)).to_string();
        format!("{}={}", String::from_utf8_lossy(name), text(value))
    };
    let list: Vec<String> = node.meta.xattrs.iter().map(one).collect();
    if list.is_empty() { "none".to_owned() } else { list.join(" ") }
}

/// Returns whether a pattern, with at most one star, is that of a path.
fn matches(pattern: &str, path: &[u8]) -> bool {
    match pattern.split_once('*') {
        None => pattern.as_bytes() == path,
        Some((start, end)) => {
            path.strip_prefix(start.as_bytes()).is_some_and(|rest| rest.ends_with(end.as_bytes()))
        }
    }
}

#[cfg(test)]
mod tests {
    use xbuild_layer::{LayerIndex, LayerWriter, Meta, Mtime};

    use super::*;

    const SINCE: i64 = 1000;

    struct File(&'static str, Kind, Meta, &'static str);

    fn file(path: &'static str, contents: &'static str, secs: i64) -> File {
        let mtime = Mtime { secs, nanos: 0 };
        let meta = Meta { mode: 0o644, mtime, ..Meta::default() };
        File(path, Kind::File { size: contents.len() as u64 }, meta, contents)
    }

    fn layer(files: &[File], gone: &[&str]) -> LayerIndex {
        let mut writer = LayerWriter::new(Vec::new());
        for File(path, kind, meta, contents) in files {
            let (kind, meta) = (kind.clone(), meta.clone());
            let entry = xbuild_layer::Entry { path: path.as_bytes().to_vec(), kind, meta };
            writer.put(&entry, &mut contents.as_bytes()).unwrap();
        }
        gone.iter().for_each(|path| writer.whiteout(path.as_bytes()).unwrap());
        LayerIndex::of_tar(&writer.finish().unwrap()[..]).unwrap()
    }

    /// Compares two layers on one that has `old`.
    fn result(natively: (&[File], &[&str]), emulated: (&[File], &[&str])) -> String {
        let base = Tree::empty().apply(0, &layer(&[file("old", "old", 1)], &[]));
        let [natively, emulated] =
            [natively, emulated].map(|(files, gone)| base.apply(1, &layer(files, gone)));
        match compare(&natively, &emulated, 1, SINCE) {
            Ok(compared) => format!("{compared} paths"),
            Err(error) => error.to_string().split_once("paths: ").unwrap().1.to_owned(),
        }
    }

    #[test]
    fn times_of_the_step_are_alike_and_earlier_ones_count() {
        let one = |secs| [file("a", "x", secs)];
        assert_eq!(result((&one(SINCE), &[]), (&one(SINCE + 7), &[])), "1 paths");
        let said = result((&one(7), &[]), (&one(8), &[]));
        assert_eq!(said, "\"a\": time 7.000000000 natively, 8.000000000 under QEMU");
        let said = result((&one(7), &[]), (&one(SINCE), &[]));
        assert_eq!(said, "\"a\": time 7.000000000 natively, of the step under QEMU");
    }

    #[test]
    fn every_property_counts() {
        let base = || file("a", "x", 1);
        let with = |change: &dyn Fn(&mut File)| {
            let mut changed = base();
            change(&mut changed);
            result((&[base()], &[]), (&[changed], &[]))
        };
        assert_eq!(with(&|_| {}), "1 paths");
        assert!(with(&|file| file.2.mode = 0o600).contains("mode 644 natively, 600"));
        assert!(with(&|file| file.2.gid = 5).contains("owner 0:0 natively, 0:5"));
        assert!(with(&|file| file.3 = "y").contains("contents 1 bytes (2d711642b726)"));
        let attribute = (b"user.a".to_vec(), b"b".to_vec());
        assert!(with(&|file| file.2.xattrs = vec![attribute.clone()]).contains("attributes"));
        let link = |target: &str| Kind::Symlink { target: target.into() };
        let links = |target| [File("l", link(target), Meta::default(), "")];
        let said = result((&links("a"), &[]), (&links("b"), &[]));
        assert!(said.contains("link to \"a\" natively, link to \"b\""), "{said}");
    }

    #[test]
    fn missing_and_deleted_files_count() {
        let a = [file("a", "x", 1)];
        assert!(result((&[], &[]), (&a, &[])).contains("kind missing natively, file"));
        assert!(result((&[], &["old"]), (&[], &[])).contains("\"old\": kind missing natively"));
        assert_eq!(result((&[], &["old"]), (&[], &["old"])), "0 paths");
    }

    #[test]
    fn contents_of_a_few_files_vary() {
        for path in ["var/cache/apt/pkgcache.bin", "var/log/apt/history.log"] {
            assert_eq!(
                result((&[file(path, "x", 1)], &[]), (&[file(path, "yy", 1)], &[])),
                "4 paths"
            );
        }
        let path = "var/cache/apt/pkgcache";
        assert!(
            result((&[file(path, "x", 1)], &[]), (&[file(path, "y", 1)], &[])).contains("contents")
        );
        let mut other = file("var/log/a", "y", 1);
        other.2.mode = 0o600;
        assert!(result((&[file("var/log/a", "x", 1)], &[]), (&[other], &[])).contains("mode"));
    }

    #[test]
    fn caches_of_apt_are_written_anew() {
        let written = |folder, path, secs| {
            let mtime = Mtime { secs, nanos: 0 };
            let meta = Meta { mode: 0o755, mtime, ..Meta::default() };
            [File(folder, Kind::Dir, meta, ""), file(path, "x", secs)]
        };
        let differ = |folder, path| {
            let [anew, kept] = [SINCE, 1].map(|secs| written(folder, path, secs));
            result((&anew, &[]), (&kept, &[]))
        };
        assert_eq!(differ("var/cache/apt", "var/cache/apt/pkgcache.bin"), "4 paths");
        let said = differ("var/log", "var/log/a");
        assert!(said.contains("time of the step natively"), "{said}");
    }
}
