//! The packages of the workspace, as `cargo metadata` tells them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// The folder of the checkout.
pub(super) const TOP: &str = env!("CARGO_MANIFEST_DIR");

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(TOP)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let Value::Array(packages) = metadata["packages"].take() else { panic!("no packages") };
    packages
}

/// Returns the names of the packages that each package is built from; what only its tests use is
/// left out.
pub(super) fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let used = |package: &Value| {
        let list = package["dependencies"].as_array().unwrap().iter();
        list.filter(|d| d["kind"] != "dev").map(|d| text(&d["name"])).collect()
    };
    packages().iter().map(|package| (text(&package["name"]), used(package))).collect()
}

/// Returns the name of each package's crate, as in paths, and the path of its root file from the
/// top of the checkout.
pub(super) fn crates() -> Vec<(String, PathBuf)> {
    let root = |package: &Value| {
        let targets = package["targets"].as_array().unwrap();
        let of_kind = |kind| targets.iter().find(|t| t["kind"] == serde_json::json!([kind]));
        let target = of_kind("lib").or(of_kind("bin"));
        let target = target.unwrap_or_else(|| panic!("{} has no crate", package["name"]));
        let path = PathBuf::from(text(&target["src_path"]));
        (text(&target["name"]), path.strip_prefix(TOP).unwrap().to_owned())
    };
    packages().iter().map(root).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
