//! Statements as files beside the files of an image, about each of these.
//!
//! **Source** — BuildKit, `exporter/local`: names and mode of the files, and their subjects.

use std::collections::BTreeMap;
use std::io;

use xbuild_attest::Subject;
use xbuild_layer::{ContentHash, Entry, Kind, LARGE, Meta, Mtime, Tree};
use xbuild_model::{Digest, StepFailure};
use xbuild_snapshot::Engine;
use xbuild_solve::BuiltImage;
use xbuild_store::Hashed;

use crate::attested::Claims;
use crate::error::{ExportError, RequestError};
use crate::layer_files;

/// The mode of a file with a statement.
const MODE: u32 = 0o600;

/// Returns the files with the statements about the files of an image, by its number: each with its
/// contents. Names begin with `prefix`, and have the platform if files of several are in one folder.
///
/// **Errors** — the image has a file of that name.
pub(crate) fn entries(
    (claims, number): (&Claims<'_>, usize),
    (engine, image, tree): (&Engine, &BuiltImage, &Tree),
    (prefix, is_shared): (&str, bool),
    mtime: Mtime,
) -> Result<Vec<(Entry, Vec<u8>)>, ExportError> {
    let claims = claims.of(number, None).into_iter().filter(|claim| claim.is_for_files);
    let claims: Vec<_> = claims.collect();
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let subjects = subjects(engine, image, tree).map_err(ExportError::Tree)?;
    let entry = |claim: crate::attested::Claim| {
        let name = match claim.file.rsplit_once('.') {
            _ if !is_shared => claim.file.clone(),
            Some((stem, end)) => format!("{stem}.{}.{end}", image.platform.folder_name()),
            None => format!("{}.{}", claim.file, image.platform.folder_name()),
        };
        let path = format!("{prefix}{name}");
        if tree.lookup(path.as_bytes()).is_some() {
            return Err(RequestError::StatementPath { path }.into());
        }
        let contents = claim.about(subjects.clone()).to_pretty_json();
        let kind = Kind::File { size: contents.len() as u64 };
        let meta = Meta { mode: MODE, mtime, ..Meta::default() };
        Ok((Entry { path: path.into_bytes(), kind, meta }, contents))
    };
    claims.into_iter().map(entry).collect()
}

/// Returns the regular files of an image with their digests, in the order of their paths.
fn subjects(engine: &Engine, image: &BuiltImage, tree: &Tree) -> Result<Vec<Subject>, StepFailure> {
    let mut subjects = Vec::new();
    let large = large_files(engine, image, tree)?;
    for (path, node) in tree.walk(b"") {
        let Kind::File { size } = node.kind else { continue };
        let digest = match (node.content, node.position) {
            (Some(ContentHash(hash)), _) if size < LARGE => Digest::from_sha256(hash),
            (_, Some(position)) => large[&(node.layer, position)].clone(),
            _ => continue,
        };
        subjects.push(Subject::new(String::from_utf8_lossy(&path), &digest));
    }
    Ok(subjects)
}

/// Returns the digests of files whose hashes leave out holes, by layer and position.
fn large_files(
    engine: &Engine,
    image: &BuiltImage,
    tree: &Tree,
) -> Result<BTreeMap<(u32, u32), Digest>, StepFailure> {
    let mut wanted: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (_, node) in tree.walk(b"") {
        let Kind::File { size } = node.kind else { continue };
        let is_hashed = size < LARGE && node.content.is_some();
        if let Some(position) = node.position.filter(|_| !is_hashed) {
            wanted.entry(node.layer).or_default().push(position);
        }
    }
    let mut digests = BTreeMap::new();
    for (number, mut positions) in wanted {
        positions.sort_unstable();
        positions.dedup();
        let Some(layer) = image.layers.0.get(number as usize) else { continue };
        layer_files::read(engine, layer, positions, |position, file| {
            let mut hashed = Hashed::new(io::sink());
            io::copy(file, &mut hashed)?;
            digests.insert((number, position), hashed.finish().1);
            Ok(())
        })?;
    }
    Ok(digests)
}
