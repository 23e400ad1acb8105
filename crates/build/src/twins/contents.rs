//! The files of an image, in its tree and in its layers.

use std::collections::{BTreeMap, BTreeSet};

use xbuild_exec::twins::{Contents, Facts, ImageFiles};
use xbuild_layer::{Kind, Node, Tree};
use xbuild_model::{Chain, StepFailure};
use xbuild_snapshot::Engine;

use crate::layer_files;

/// The files of a tree.
#[derive(Debug)]
pub(super) struct Files<'t>(pub(super) &'t Tree);

impl Files<'_> {
    fn resolve(&self, path: &str) -> Option<(String, &Node)> {
        let found = self.0.resolve(path.as_bytes(), true).ok()?;
        Some((String::from_utf8(found.path).ok()?, found.node?))
    }
}

impl ImageFiles for Files<'_> {
    fn find(&self, path: &str) -> Option<Facts> {
        let (path, node) = self.resolve(path)?;
        let Kind::File { size } = node.kind else { return None };
        let has_attributes = !node.meta.xattrs.is_empty();
        Some(Facts { path, mode: node.meta.mode, size, has_attributes })
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let Some((_, node)) = self.resolve(folder) else { return Vec::new() };
        node.children().filter_map(|(name, _)| text(name)).collect()
    }

    fn below(&self, folder: &str) -> Vec<String> {
        let Some((path, _)) = self.resolve(folder) else { return Vec::new() };
        let inner = |file: Vec<u8>| {
            let rest = file.strip_prefix(path.as_bytes())?.strip_prefix(b"/")?;
            text(rest)
        };
        let files = self.0.walk(path.as_bytes());
        files
            .filter(|(_, node)| matches!(node.kind, Kind::File { .. }))
            .filter_map(|(file, _)| inner(file))
            .collect()
    }
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// Reads files of an image, each layer in one pass. Paths that lead to no file are left out.
pub(super) fn read(
    engine: &Engine,
    chain: &Chain,
    tree: &Tree,
    paths: &BTreeSet<String>,
) -> Result<Contents, StepFailure> {
    let mut wanted: BTreeMap<u32, BTreeMap<u32, Vec<&String>>> = BTreeMap::new();
    for path in paths {
        let found = tree.resolve(path.as_bytes(), true).ok().and_then(|found| found.node);
        if let Some(node) = found
            && let Some(position) = node.position
        {
            wanted.entry(node.layer).or_default().entry(position).or_default().push(path);
        }
    }
    let mut contents = Contents::new();
    for (number, wanted) in wanted {
        let Some(layer) = chain.0.get(number as usize) else { continue };
        layer_files::read(engine, layer, wanted.keys().copied(), |position, file| {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            for path in &wanted[&position] {
                contents.insert((*path).clone(), bytes.clone());
            }
            Ok(())
        })?;
    }
    Ok(contents)
}
