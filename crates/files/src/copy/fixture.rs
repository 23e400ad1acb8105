//! Layers, contexts and requests for tests, written as text.
//!
//! One file a line, fields separated by blanks: `d PATH MODE OWNER`, `f PATH MODE OWNER CONTENTS`,
//! `l PATH TARGET`, `h PATH TARGET` (hard link), `p PATH MODE OWNER` (named pipe), `w PATH`
//! (whiteout), `o PATH` (opaque). Owners are `uid:gid`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read};
use std::sync::Arc;

use xbuild_layer::{
    Change, Entry, IndexedWriter, Kind, LayerReader, LayerWriter, Meta, Mtime, Segment, Tree,
    index_layer,
};
use xbuild_model::StepFailure;
use xbuild_model::file_op::FileOp;
pub(crate) use xbuild_testkit::folders::make_files;
pub(crate) use xbuild_testkit::requests::copy as request;

use super::{CopyEnv, LayerSource, Origin, Prepared, select};
use crate::{Context, CopyError, IgnoreRules};

/// The time of files that are made and not copied.
pub(crate) const MADE: Mtime = Mtime { secs: 777, nanos: 0 };

/// Returns the layer of a text. Every file has the time `secs`.
pub(crate) fn layer_at(text: &str, secs: i64) -> Vec<u8> {
    let mut writer = LayerWriter::new(Vec::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.splitn(5, ' ').collect();
        let path = fields[1].as_bytes().to_vec();
        let field = |at: usize| fields.get(at).copied().unwrap_or_default();
        let (uid, gid) = field(3).split_once(':').unwrap_or(("0", "0"));
        let meta = Meta {
            mode: u32::from_str_radix(field(2), 8).unwrap_or(0o777),
            uid: uid.parse().unwrap(),
            gid: gid.parse().unwrap(),
            mtime: Mtime { secs, nanos: 0 },
            xattrs: Vec::new(),
        };
        let contents = field(4).as_bytes();
        let kind = match fields[0] {
            "d" => Kind::Dir,
            "f" => Kind::File { size: contents.len() as u64 },
            "l" => Kind::Symlink { target: field(2).into() },
            "h" => Kind::HardLink { target: field(2).into() },
            "p" => Kind::Fifo,
            "w" => {
                writer.whiteout(&path).unwrap();
                continue;
            }
            "o" => {
                writer.opaque(&path).unwrap();
                continue;
            }
            other => panic!("no kind of file: {other}"),
        };
        writer.put(&Entry { path, kind, meta }, &mut &contents[..]).unwrap();
    }
    writer.finish().unwrap()
}

/// Layers in memory.
#[derive(Debug, Default)]
pub(crate) struct Layers(pub(crate) Vec<Vec<u8>>);

impl LayerSource for Layers {
    fn open_layer(&self, number: u32) -> Result<LayerReader<Box<dyn Read + Send>>, StepFailure> {
        Ok(LayerReader::new(Box::new(Cursor::new(self.0[number as usize].clone()))))
    }

    fn open_file(&self, _: u32, _: u32) -> Option<File> {
        None
    }

    fn segments(&self, number: u32, position: u32) -> Option<Vec<Segment>> {
        let (_, index) = index_layer(&self.0[number as usize][..], None).unwrap();
        index.segments(position).map(<[_]>::to_vec)
    }

    fn reject_files(&self, _: u32) {}
}

/// Returns the tree of layers, and the layers.
pub(crate) fn stack(texts: &[&str]) -> (Tree, Arc<Layers>) {
    let layers: Vec<Vec<u8>> = texts.iter().map(|text| layer_at(text, 1000)).collect();
    (tree(&layers), Arc::new(Layers(layers)))
}

/// Returns the tree of layers.
pub(crate) fn tree(layers: &[Vec<u8>]) -> Tree {
    let mut tree = Tree::empty();
    for (number, layer) in layers.iter().enumerate() {
        let (_, index) = index_layer(&layer[..], None).unwrap();
        tree = tree.apply(number as u32, &index);
    }
    tree
}

/// Returns the text of a layer, by path.
pub(crate) fn describe(layer: &[u8]) -> String {
    let mut lines = BTreeMap::new();
    let mut reader = LayerReader::new(layer);
    while let Some(change) = reader.next().unwrap() {
        let (path, line) = match change {
            Change::Whiteout(path) => (path.clone(), format!("w {}", text(&path))),
            Change::Opaque(path) => (path.clone(), format!("o {}", text(&path))),
            Change::Put(Entry { path, kind, meta }) => {
                let rest = format!("{} {:04o} {}:{}", text(&path), meta.mode, meta.uid, meta.gid);
                let line = match kind {
                    Kind::Dir => format!("d {rest}"),
                    Kind::File { .. } => {
                        let mut contents = Vec::new();
                        reader.read_to_end(&mut contents).unwrap();
                        format!("f {rest} {}", text(&contents))
                    }
                    Kind::Symlink { target } => format!("l {} {}", text(&path), text(&target)),
                    Kind::HardLink { target } => format!("h {} {}", text(&path), text(&target)),
                    Kind::Fifo => format!("p {rest}"),
                    other => format!("{other:?} {rest}"),
                };
                (path, line)
            }
        };
        // A mark and its folder have the same path.
        lines.entry(path).or_insert_with(Vec::new).push(line);
    }
    lines.into_values().flatten().collect::<Vec<_>>().join("\n")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A context folder, removed when dropped.
pub(crate) struct Folder {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) context: Arc<Context>,
}

/// Makes a context of files and an ignore file.
pub(crate) fn folder(files: &str, ignore: &str) -> Folder {
    let dir = tempfile::tempdir().unwrap();
    make_files(dir.path(), files);
    let rules = IgnoreRules::parse(ignore.as_bytes()).unwrap();
    let context = Arc::new(Context::open(dir.path(), Some(rules)).unwrap());
    Folder { dir, context }
}

/// The passwd and group file of every image here.
pub(crate) fn read_file(path: &[u8]) -> Result<Option<Vec<u8>>, StepFailure> {
    Ok(match path {
        b"etc/passwd" => Some(b"root:x:0:0::/:\napp:x:1234:2345::/:\n".to_vec()),
        b"etc/group" => Some(b"staff:x:50:\n".to_vec()),
        _ => None,
    })
}

/// Prepares a step on top of a tree.
pub(crate) fn prepare(
    parent: Option<&Tree>,
    origin: Option<Origin>,
    op: &FileOp,
) -> Result<Prepared, CopyError> {
    let env = CopyEnv { origin, remotes: &[], default_mtime: MADE, read_file: &read_file };
    select(&env, parent, op)
}

/// Returns the layer of a step.
pub(crate) fn write(prepared: &Prepared) -> Result<Vec<u8>, CopyError> {
    let mut writer = IndexedWriter::new(Vec::new(), 0);
    prepared.write(&mut writer)?;
    let (layer, index) = writer.finish()?;
    assert_eq!(index, xbuild_layer::LayerIndex::of_tar(&layer[..])?);
    Ok(layer)
}

/// Returns the files that a COPY of a context writes, or its error message.
pub(crate) fn run(parent: &[&str], folder: &Folder, line: &str) -> Result<String, String> {
    let origin = Origin::Context(folder.context.clone());
    run_op(parent, Some(origin), &FileOp::Copy(request(line)))
}

/// Returns the files that a step writes, or its error message.
pub(crate) fn run_op(
    parent: &[&str],
    origin: Option<Origin>,
    op: &FileOp,
) -> Result<String, String> {
    let (parent, _) = stack(parent);
    prepare(Some(&parent), origin, op)
        .and_then(|prepared| write(&prepared))
        .map(|layer| describe(&layer))
        .map_err(|error| error.to_string())
}

/// Returns a text without the indentation of its lines.
pub(crate) fn lines(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}
