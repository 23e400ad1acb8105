//! `xbuild cache ls` and `xbuild cache prune`.

use std::fs;
use std::path::Path;

use serde_json::Value;
use xbuild_testkit::registry::{Registry, Rules};

use super::{build, place, registry_cache};
use crate::harness::{Place, needs};

/// Makes documents of a kind say that they were written long ago.
fn age(registry: &Registry, kind: &str) {
    for tag in registry.tags("cache").into_iter().filter(|tag| tag.starts_with(kind)) {
        let (media_type, bytes) = registry.manifest("cache", &tag).unwrap();
        let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
        manifest["annotations"]["xbuild.cache.written"] = "2020-01-01T00:00:00Z".into();
        registry.put_manifest("cache", &tag, &media_type, manifest.to_string().as_bytes());
    }
}

#[test]
fn what_no_young_build_uses_is_removed() {
    needs!(Run);
    for rules in [
        Rules { tags_per_page: 3, ..Rules::default() },
        Rules { delete_by_digest: true, ..Rules::default() },
    ] {
        let registry = Registry::start();
        registry.rules(rules);
        let cache = registry_cache(&registry.host());
        let place = place();
        build(&place, &cache, &[]);
        place.write("source.txt", "b\n");
        build(&place, &cache, &[]);
        let prune = |args: &[&str]| {
            let pruned = place.run([&["cache", "prune", &cache], args].concat()).ok().stdout;
            pruned.trim_end().to_owned()
        };
        let listed = place.run(["cache", "ls", &cache]).ok();
        listed.prints(&["Dockerfile linux/", "main", "1 build, 12 steps, 0 cache mounts"]);
        // All is young.
        assert_eq!(prune(&[]), "removed 0 documents, kept 13");
        age(&registry, "c1-");
        assert_eq!(prune(&["--dry-run"]), "would remove 5 documents, kept 8");
        assert_eq!(registry.tags("cache").len(), 13);
        // The last build has used seven steps.
        assert_eq!(prune(&[]), "removed 5 documents, kept 8");
        place.run(["prune", "--all"]).ok();
        build(&place, &cache, &[]).0.did_nothing();
        // The build itself is not of the last time any more.
        age(&registry, "t1-");
        let json = place.run(["cache", "ls", "--format", "json", &cache]).ok().stdout;
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["builds"][0]["written"], "2020-01-01T00:00:00Z");
        assert_eq!(prune(&["--keep", "36500d"]), "removed 0 documents, kept 8");
        assert_eq!(prune(&["--keep", "30d"]), "removed 8 documents, kept 0");
        assert!(registry.tags("cache").is_empty());
    }
}

#[test]
fn other_scopes_and_tags_stay() {
    needs!(Run);
    let registry = Registry::start();
    let cache = registry_cache(&registry.host());
    let place = place();
    build(&place, &cache, &[]);
    build(&place, &format!("{cache},scope=other"), &[]);
    let kind = "application/vnd.oci.image.manifest.v1+json";
    registry.put_manifest("cache", "latest", kind, b"{}");
    age(&registry, "c1-");
    age(&registry, "t1-");
    let ls = |args: &[&str]| place.run([&["cache", "ls", &cache], args].concat()).ok();
    ls(&[]).prints(&["1 build, 7 steps"]);
    ls(&["--all-scopes"]).prints(&["2 builds, 14 steps", "other"]);
    place.run(["cache", "prune", &cache]).ok().prints(&["removed 8 documents"]);
    ls(&["--all-scopes"]).prints(&["1 build, 7 steps", "other"]);
    assert!(registry.manifest("cache", "latest").is_some());
}

#[test]
fn a_registry_that_removes_nothing_needs_a_rule() {
    needs!(Run);
    let registry = Registry::start();
    registry.rules(Rules { no_delete: true, ..Rules::default() });
    let cache = registry_cache(&registry.host());
    let place = place();
    build(&place, &cache, &[]);
    age(&registry, "c1-");
    age(&registry, "t1-");
    let failed = place.run(["cache", "prune", &cache]);
    failed.fails(4, &["does not remove tags", "lifecycle rule", "c1-*", "t1-*"]);
    // A trail that cannot be read protects all.
    let registry = Registry::start();
    let cache = registry_cache(&registry.host());
    build(&place, &cache, &[]);
    age(&registry, "c1-");
    let trail = registry.tags("cache").into_iter().find(|tag| tag.starts_with("t1-")).unwrap();
    let (_, bytes) = registry.manifest("cache", &trail).unwrap();
    let manifest: Value = serde_json::from_slice(&bytes).unwrap();
    let digest = manifest["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
    registry.lose_blob("cache", &digest);
    place
        .run(["cache", "prune", &cache])
        .fails(4, &["cannot read the trail t1-", "nothing is removed"]);
    assert_eq!(registry.tags("cache").len(), 8);
}

/// Makes documents of a kind in a layout say that they were written long ago.
fn age_folder(layout: &Path, kind: &str) {
    let path = layout.join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for entry in index["manifests"].as_array_mut().unwrap() {
        let tag = entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap();
        if !tag.starts_with(kind) {
            continue;
        }
        let blob = |digest: &str| layout.join("blobs/sha256").join(&digest["sha256:".len()..]);
        let old = blob(entry["digest"].as_str().unwrap());
        let mut manifest: Value = serde_json::from_slice(&fs::read(&old).unwrap()).unwrap();
        fs::remove_file(old).unwrap();
        manifest["annotations"]["xbuild.cache.written"] = "2020-01-01T00:00:00Z".into();
        let bytes = manifest.to_string().into_bytes();
        let digest = crate::image::digest(&bytes);
        fs::write(blob(&digest), &bytes).unwrap();
        (entry["digest"], entry["size"]) = (digest.into(), bytes.len().into());
    }
    fs::write(path, index.to_string()).unwrap();
}

#[test]
fn a_folder_is_pruned_as_a_registry_is() {
    needs!(Run);
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("cache");
    let place = place();
    let cache = |key: &str| format!("type=local,{key}={}", layout.display());
    let args = |place: &Place| {
        let (from, to) = (cache("src"), cache("dest"));
        place.build(&["--cache-from", &from, "--cache-to", &format!("{to},mode=max")]).ok()
    };
    let prune = |args: &[&str]| {
        let pruned = place.run([&["cache", "prune", &cache("src")], args].concat()).ok().stdout;
        pruned.trim_end().to_owned()
    };
    assert_eq!(prune(&[]), "removed 0 documents, kept 0");
    args(&place);
    place.write("source.txt", "b\n");
    args(&place);
    let blobs = || fs::read_dir(layout.join("blobs/sha256")).unwrap().count();
    assert_eq!(prune(&[]), "removed 0 documents, kept 13");
    age_folder(&layout, "c1-");
    let before = blobs();
    assert_eq!(prune(&["--dry-run"]), "would remove 5 documents, kept 8");
    assert_eq!(blobs(), before);
    assert_eq!(prune(&[]), "removed 5 documents, kept 8");
    let after = blobs();
    assert!(after <= before - 5, "{before} {after}");
    // The last build finds all that it needs.
    place.run(["prune", "--all"]).ok();
    args(&place).did_nothing();
    age_folder(&layout, "");
    let ls = place.run(["cache", "ls", &cache("src")]).ok();
    ls.prints(&["1 build, 7 steps"]);
    assert_eq!(prune(&["--keep", "30d"]), "removed 8 documents, kept 0");
    assert!(blobs() < after);
}
