//! How the files of a project are read.

use std::collections::BTreeMap;

/// Which command reads compose files: they differ in details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// `docker buildx bake`.
    Bake,
    /// `docker compose build`.
    Compose,
}

/// The name of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectName {
    /// The name, whatever the files say.
    Given(String),
    /// The name if neither a file nor the variable `COMPOSE_PROJECT_NAME` has one.
    Default(String),
}

/// How the files of a project are read.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Which command reads them.
    pub manner: Manner,
    /// The folder that paths are seen from, itself as seen from the current one; empty for that.
    pub folder: String,
    /// Variables below those of the environment.
    pub variables: BTreeMap<String, String>,
    /// The name.
    pub name: ProjectName,
}
