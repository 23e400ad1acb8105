//! The direction of the pipeline: which crate may use which, and how the files within a crate may
//! use each other.

use crate::harness::checkout;

mod circles;
mod code;
mod debug;
mod page;
mod reach;
mod samples;
mod sizes;
mod source;
mod threads;
mod uses;
mod workspace;

/// For each crate the crates of ours that it may use. A new arrow is a change here and in
/// `docs/architecture.md`.
const ARROWS: &[(&str, &[&str])] = &[
    ("xbuild-wording", &[]),
    ("xbuild-model", &["xbuild-wording"]),
    ("xbuild-bake", &["xbuild-wording"]),
    ("xbuild-otlp", &["xbuild-wording"]),
    ("xbuild-dockerfile", &["xbuild-wording"]),
    ("xbuild-plan", &["xbuild-dockerfile", "xbuild-model", "xbuild-wording"]),
    ("xbuild-store", &["xbuild-model", "xbuild-wording"]),
    ("xbuild-layer", &["xbuild-model", "xbuild-wording"]),
    ("xbuild-files", &["xbuild-layer", "xbuild-model", "xbuild-wording"]),
    (
        "xbuild-snapshot",
        &["xbuild-files", "xbuild-layer", "xbuild-model", "xbuild-store", "xbuild-wording"],
    ),
    ("xbuild-exec", &["xbuild-model", "xbuild-wording"]),
    ("xbuild-image", &["xbuild-model", "xbuild-wording"]),
    ("xbuild-attest", &["xbuild-model"]),
    ("xbuild-registry", &["xbuild-image", "xbuild-model", "xbuild-wording"]),
    ("xbuild-cache", &["xbuild-image", "xbuild-layer", "xbuild-model", "xbuild-wording"]),
    ("xbuild-source", &["xbuild-model", "xbuild-registry", "xbuild-store", "xbuild-wording"]),
    ("xbuild-solve", &["xbuild-plan", "xbuild-model", "xbuild-wording"]),
    ("xbuild-testkit", &["xbuild-image", "xbuild-layer", "xbuild-model"]),
    (
        "xbuild-build",
        &[
            "xbuild-attest",
            "xbuild-cache",
            "xbuild-dockerfile",
            "xbuild-exec",
            "xbuild-files",
            "xbuild-image",
            "xbuild-layer",
            "xbuild-model",
            "xbuild-plan",
            "xbuild-registry",
            "xbuild-snapshot",
            "xbuild-solve",
            "xbuild-source",
            "xbuild-store",
            "xbuild-wording",
        ],
    ),
    (
        "xbuild",
        &[
            "xbuild-attest",
            "xbuild-bake",
            "xbuild-build",
            "xbuild-dockerfile",
            "xbuild-exec",
            "xbuild-image",
            "xbuild-layer",
            "xbuild-model",
            "xbuild-otlp",
            "xbuild-plan",
            "xbuild-registry",
            "xbuild-solve",
            "xbuild-store",
            "xbuild-wording",
        ],
    ),
];

#[test]
fn crates_use_only_what_the_table_allows() {
    for (name, used) in workspace::dependencies() {
        let allowed = ARROWS.iter().find(|(package, _)| *package == name);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{name} is not in the table"));
        for other in used.iter().filter(|other| other.starts_with("xbuild")) {
            assert!(allowed.contains(&other.as_str()), "{name} must not use {other}");
        }
    }
}

#[test]
fn nothing_but_tests_uses_the_testkit() {
    for (name, used) in workspace::dependencies() {
        assert!(!used.contains("xbuild-testkit"), "{name}");
    }
}

#[test]
fn only_the_registry_is_asynchronous() {
    for (name, used) in workspace::dependencies() {
        let asynchronous = ["tokio", "reqwest", "oci-client"];
        if name != "xbuild-registry" {
            assert!(!asynchronous.iter().any(|other| used.contains(*other)), "{name}");
        }
    }
}

#[test]
fn no_module_is_named_for_nothing() {
    let mut folders = vec![checkout().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let stem = name.trim_end_matches(".rs");
            assert!(!["util", "utils", "common", "helpers", "misc"].contains(&stem), "{name}");
            if entry.file_type().unwrap().is_dir() && name != "target" {
                folders.push(entry.path());
            }
        }
    }
}
