//! The entries of `include` in a compose file.
//!
//! **Source** — Compose file reference § include.

use super::paths::{self, Base};
use super::variables::VariableFile;
use super::yaml::{Node, Yaml};
use crate::error::BakeError;

/// The attributes of an entry.
const KNOWN: &[&str] = &["path", "project_directory", "env_file"];

/// An entry: a project of its own. Paths are as seen from the current folder.
#[derive(Debug)]
pub(super) struct Include {
    /// Its compose files, at least one.
    pub(super) files: Vec<String>,
    /// Its folder: that of the first file unless another one is given.
    pub(super) folder: String,
    /// Its files of variables: `.env` of its folder unless others are given.
    pub(super) variables: Vec<VariableFile>,
}

impl Include {
    /// Reads an entry of a file with that base.
    pub(super) fn read(entry: &Node, base: &Base<'_>) -> Result<Self, BakeError> {
        let is_mapping = matches!(entry.value, Yaml::Map(_));
        let part = |name: &str| match is_mapping {
            true => entry.get(name),
            false => Some(entry).filter(|_| name == "path"),
        };
        if let Yaml::Map(pairs) = &entry.value
            && let Some((name, node)) = pairs.iter().find(|(name, _)| !KNOWN.contains(&&**name))
        {
            let known = KNOWN.join(", ");
            return Err(node.fail(format!("include has no attribute {name}: expected {known}")));
        }
        let files = part("path").map(texts).transpose()?.unwrap_or_default();
        let files: Vec<String> = files.iter().map(|path| base.path(path)).collect();
        let Some(first) = files.first() else { return Err(entry.fail("include: path is missing")) };
        let folder = match part("project_directory") {
            Some(node) => base.path(&text(node)?),
            None => paths::folder(first).to_owned(),
        };
        let variables = match part("env_file") {
            Some(node) => {
                let given = texts(node)?.into_iter().filter(|path| path != "/dev/null");
                given
                    .map(|path| VariableFile { path: base.path(&path), is_required: true })
                    .collect()
            }
            None => {
                let path = Base { folder: &folder, ..*base }.path(".env");
                vec![VariableFile { path, is_required: false }]
            }
        };
        Ok(Self { files, folder, variables })
    }
}

fn text(node: &Node) -> Result<String, BakeError> {
    let text = node.as_text().filter(|text| !text.is_empty());
    text.ok_or_else(|| node.fail("include: a path is a string"))
}

/// Reads a path or a list of paths.
fn texts(node: &Node) -> Result<Vec<String>, BakeError> {
    match &node.value {
        Yaml::List(nodes) => nodes.iter().map(text).collect(),
        _ => Ok(vec![text(node)?]),
    }
}
