//! The packages of the workspace, as their manifests tell: no cargo is needed where the tests run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use toml::{Table, Value};

use crate::harness::checkout;

/// A package: its folder from the top of the checkout, and its manifest.
struct Package {
    folder: PathBuf,
    manifest: Table,
}

impl Package {
    fn read(folder: &str) -> Self {
        let path = checkout().join(folder).join("Cargo.toml");
        let text = fs::read_to_string(&path).unwrap();
        let manifest = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { folder: folder.into(), manifest }
    }

    fn name(&self) -> &str {
        text(&self.manifest["package"]["name"])
    }

    /// Returns the tables of what it is built from, on all platforms.
    fn dependencies(&self) -> impl Iterator<Item = &Table> {
        let targets = self.manifest.get("target").and_then(Value::as_table);
        let targets = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
        let places = targets.chain([&self.manifest]);
        let kinds = ["dependencies", "build-dependencies"];
        places.flat_map(move |place| kinds.map(|kind| place.get(kind)?.as_table())).flatten()
    }

    /// Returns the name of its crate, as in paths, and the path of its root file from the top of the
    /// checkout.
    fn root(&self) -> (String, PathBuf) {
        let usual = self.folder.join("src/lib.rs");
        let lib = self.manifest.get("lib");
        let lib_path = lib.and_then(|lib| lib.get("path")).map(|path| self.folder.join(text(path)));
        let lib_path = lib_path.or_else(|| checkout().join(&usual).exists().then_some(usual));
        let lib_name = lib.and_then(|lib| lib.get("name")).map_or(self.name(), text);
        if let Some(path) = lib_path {
            return (lib_name.replace('-', "_"), path);
        }
        let bin = &self.manifest["bin"][0];
        (text(&bin["name"]).to_owned(), self.folder.join(text(&bin["path"])))
    }
}

fn packages() -> Vec<Package> {
    let top = Package::read("");
    let members = top.manifest["workspace"]["members"].as_array().unwrap();
    let members: Vec<Package> = members.iter().map(|member| Package::read(text(member))).collect();
    std::iter::once(top).chain(members).collect()
}

/// Returns the names of the packages that each package is built from; what only its tests use is
/// left out.
pub(super) fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let packages = packages();
    let shared = packages[0].manifest["workspace"]["dependencies"].as_table().unwrap();
    // A dependency may have another name here than its package has.
    let renamed = |value: &Value| value.get("package").map(|name| text(name).to_owned());
    let package = |(name, value): (&String, &Value)| {
        let of_workspace = shared.get(name).filter(|_| value.get("workspace").is_some());
        renamed(value).or_else(|| renamed(of_workspace?)).unwrap_or_else(|| name.clone())
    };
    let used = |of: &Package| of.dependencies().flatten().map(package).collect();
    packages.iter().map(|of| (of.name().to_owned(), used(of))).collect()
}

/// Returns the name of each package's crate, as in paths, and the path of its root file from the
/// top of the checkout.
pub(super) fn crates() -> Vec<(String, PathBuf)> {
    packages().iter().map(Package::root).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
