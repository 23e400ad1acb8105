//! All files together: groups and targets, not yet merged with what they inherit.

use serde::Serialize;

use crate::target::Target;

/// The files that are read if none is named, in this order, as far as they are there.
///
/// **Source** — buildx `docs/bake-reference.md` § File format.
pub const DEFAULT_FILES: &[&str] = &[
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
];

/// A file with its name, which decides its format.
#[derive(Debug, Clone)]
pub struct File {
    /// The name, as it was given; `-` for standard input.
    pub name: String,
    /// The content.
    pub text: String,
}

/// Targets that are built together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Group {
    /// What it is for; empty if nothing is said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The names of targets and groups.
    pub targets: Vec<String>,
}

/// A variable, for `--list variables`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VariableInfo {
    /// Its name.
    pub name: String,
    /// What it is for; empty if nothing is said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its type; empty if none is said.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its value; `None` for null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// The groups and targets of all files.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The groups, in the order of the files; the first of a name counts.
    pub groups: Vec<(String, Group)>,
    /// The targets, in the order of the files, each name once.
    pub targets: Vec<(String, Target)>,
    /// The variables, by name.
    pub variables: Vec<VariableInfo>,
    /// What the files should say, but do not.
    pub warnings: Vec<String>,
}

impl Config {
    /// Returns a group.
    pub(crate) fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|(known, _)| known == name).map(|(_, group)| group)
    }

    /// Returns a target, without what it inherits.
    pub(crate) fn target(&self, name: &str) -> Option<&Target> {
        self.targets.iter().find(|(known, _)| known == name).map(|(_, target)| target)
    }
}

/// Keeps the first of equal names.
pub(crate) fn once(names: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    names.into_iter().filter(|name| seen.insert(name.clone())).collect()
}
