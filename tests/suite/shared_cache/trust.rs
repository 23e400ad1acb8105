//! Caches that lie: poisoned records, wrong signatures, blobs that are gone.

use std::fs;
use std::path::PathBuf;

use xbuild_model::Digest;
use xbuild_testkit::registry::{Login, Registry};

use super::{build, place, registry_cache};
use crate::harness::{Place, User, needs, tool};

/// Makes a pair of keys, and returns the files of the private and of the public one.
fn keys(place: &Place, name: &str) -> (PathBuf, PathBuf) {
    let (private, public) = (place.out(&format!("{name}.pem")), place.out(&format!("{name}.pub")));
    tool(
        "openssl",
        [
            "genpkey".as_ref(),
            "-algorithm".as_ref(),
            "ed25519".as_ref(),
            "-out".as_ref(),
            private.as_os_str(),
        ],
    );
    tool(
        "openssl",
        [
            "pkey".as_ref(),
            "-in".as_ref(),
            private.as_os_str(),
            "-pubout".as_ref(),
            "-out".as_ref(),
            public.as_os_str(),
        ],
    );
    (private, public)
}

fn tags(registry: &Registry, kind: &str) -> Vec<String> {
    registry.tags("cache").into_iter().filter(|tag| tag.starts_with(kind)).collect()
}

/// Replaces a part of each document of a kind.
fn change(registry: &Registry, kind: &str, change: impl Fn(&str) -> String) {
    for tag in tags(registry, kind) {
        let (media_type, bytes) = registry.manifest("cache", &tag).unwrap();
        let changed = change(std::str::from_utf8(&bytes).unwrap());
        registry.put_manifest("cache", &tag, &media_type, changed.as_bytes());
    }
}

#[test]
fn only_signed_steps_count_for_readers_who_want_that() {
    needs!(Run, Tool("openssl"));
    let registry = Registry::start();
    let cache = registry_cache(&registry.host());
    let keeper = Place::new(User::Me);
    let ((own, own_public), (_, other_public)) = (keys(&keeper, "own"), keys(&keeper, "other"));
    let to = format!("{cache},mode=max,sign={}", own.display());
    place().build(&["--cache-to", &to]).ok();
    let from = |key: &PathBuf| format!("{cache},verify={}", key.display());
    place().build(&["--cache-from", &from(&own_public)]).ok().did_nothing();
    place().build(&["--cache-from", &cache]).ok().did_nothing();
    let other = place().build(&["--cache-from", &from(&other_public)]).ok();
    assert_eq!(other.steps(), "0 cached, 7 done");
    other.says(&["is not used: none of the given keys made its signature"]);
    // Every record says something else than what was signed. A COPY that still had its signature
    // would count if the WORKDIR before it is made again in the same second.
    let words = [("RUN cat", "RUN dog"), ("WORKDIR", "workdir"), ("COPY", "copy")];
    change(&registry, "c1-", |text| {
        let changed = words.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
        assert_ne!(changed, text);
        changed
    });
    change(&registry, "t1-", |text| text.replace("xbuild.cache.signature", "x"));
    let changed = place().build(&["--cache-from", &from(&own_public)]).ok();
    changed.says(&["is not used"]);
    assert_eq!(changed.steps(), "0 cached, 7 done");
}

#[test]
fn steps_of_a_cache_without_keys_are_not_signed() {
    needs!(Run, Tool("openssl"));
    let registry = Registry::start();
    let cache = registry_cache(&registry.host());
    let keeper = Place::new(User::Me);
    let (own, public) = keys(&keeper, "own");
    place().build(&["--cache-to", &format!("{cache},mode=max")]).ok();
    let to = format!("{cache},scope=signed,mode=max,sign={}", own.display());
    let laundered = place().build(&["--cache-from", &cache, "--cache-to", &to]).ok();
    laundered.says(&["7 steps came from a cache that is read without keys"]);
    let from = format!("{cache},scope=signed,verify={}", public.display());
    assert_eq!(place().build(&["--cache-from", &from]).ok().steps(), "0 cached, 7 done");
}

#[test]
fn what_was_imported_counts_only_where_its_scope_is_read() {
    needs!(Run);
    let registry = Registry::start();
    let cache = registry_cache(&registry.host());
    build(&place(), &cache, &[]);
    let place = place();
    place.build(&["--cache-from", &cache]).ok().did_nothing();
    // No step has become one of this machine.
    assert_eq!(place.build(&[]).ok().steps(), "0 cached, 7 done");
    let other = self::place();
    let scope = format!("{cache},scope=other");
    assert_eq!(other.build(&["--cache-from", &scope]).ok().steps(), "0 cached, 7 done");
    // Several are asked in their order.
    other.run(["prune", "--all"]).ok();
    other.build(&["--cache-from", &scope, "--cache-from", &cache]).ok().did_nothing();
}

#[test]
fn the_record_of_another_step_is_not_used() {
    needs!(Run);
    let registry = Registry::start();
    let cache = registry_cache(&registry.host());
    build(&place(), &cache, &[]);
    // Each record comes under the tag of another one.
    let all = tags(&registry, "c1-");
    let bytes: Vec<_> = all.iter().map(|tag| registry.manifest("cache", tag).unwrap()).collect();
    for (tag, (kind, bytes)) in all.iter().zip(bytes.iter().cycle().skip(1)) {
        registry.put_manifest("cache", tag, kind, bytes);
    }
    for tag in tags(&registry, "t1-") {
        registry.put_manifest("cache", &tag, "application/json", b"{}");
    }
    let (built, _) = build(&place(), &cache, &[]);
    assert_eq!(built.steps(), "0 cached, 7 done");
    built.says(&["is not used: it is for the step", "is not used: it is not the manifest"]);
    build(&place(), &cache, &[]).0.did_nothing();
}

#[test]
fn a_layer_that_is_gone_or_another_one_is_made_again() {
    needs!(Run);
    for is_gone in [true, false] {
        let registry = Registry::start();
        let cache = registry_cache(&registry.host());
        build(&place(), &cache, &[]);
        // The layers of all steps; the trail, the indexes and the configurations stay.
        let mut lost = 0;
        for tag in tags(&registry, "c1-") {
            let (_, bytes) = registry.manifest("cache", &tag).unwrap();
            let manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            for layer in manifest["layers"].as_array().unwrap() {
                if layer["annotations"].get("xbuild.cache.diff-id").is_none() {
                    continue;
                }
                let digest: Digest = layer["digest"].as_str().unwrap().parse().unwrap();
                registry.lose_blob("cache", &digest);
                lost += 1;
                if !is_gone {
                    registry.put_blob_as("cache", &digest, b"something else");
                }
            }
        }
        assert_eq!(lost, 7);
        let place = place();
        // An output that needs the bytes.
        let image = place.image(&["--cache-from", &cache]);
        assert!(image.files().contains_key("/second") || image.files().contains_key("second"));
        let changed = self::place();
        changed.write("source.txt", "b\n");
        let built = changed.build(&["--cache-from", &cache]).ok();
        built.says(&["a shared cache is gone or is not what the cache says"]);
        // A build that begins anew shows a step twice; its last line counts each once.
        assert!(built.stderr.contains(" of 7 steps cached"), "{}", built.stderr);
        assert!(!built.stderr.contains(" 7 of 7 steps cached"), "{}", built.stderr);
    }
}

#[test]
fn a_blob_with_another_layer_is_refused() {
    needs!(Run);
    let registry = Registry::start();
    let cache = registry_cache(&registry.host());
    build(&place(), &cache, &[]);
    // Every record says that its layer is that of the first: the digest of the blob is right.
    let first = tags(&registry, "c1-").remove(0);
    let (_, bytes) = registry.manifest("cache", &first).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let poison = manifest["layers"][0].clone();
    change(&registry, "c1-", |text| {
        let mut manifest: serde_json::Value = serde_json::from_str(text).unwrap();
        let layer = &mut manifest["layers"][0];
        for part in ["digest", "size", "mediaType"] {
            layer[part] = poison[part].clone();
        }
        manifest.to_string()
    });
    change(&registry, "t1-", |_| "{}".to_owned());
    let place = place();
    let image = place.image(&["--cache-from", &cache]);
    let text = fs::read_to_string(place.context().join("source.txt")).unwrap();
    assert_eq!(text, "a\n");
    assert!(image.files().len() > 4);
}

#[test]
fn no_login_is_in_a_cache() {
    let registry = Registry::start();
    registry.require(Login::Basic("user".to_owned(), "canary-pass".to_owned()));
    let place = Place::new(User::Me);
    place.write("file", "x").write("Dockerfile", "FROM scratch\nCOPY file /\n");
    let folder = place.path().join("home/.docker");
    fs::create_dir_all(&folder).unwrap();
    // "user:canary-pass"
    let login = "dXNlcjpjYW5hcnktcGFzcw==";
    let config = format!(r#"{{"auths": {{"{}": {{"auth": "{login}"}}}}}}"#, registry.host());
    fs::write(folder.join("config.json"), config).unwrap();
    let (built, _) = build(&place, &registry_cache(&registry.host()), &["-D"]);
    built.says(&["1 of them new"]);
    assert_eq!(tags(&registry, "c1-").len(), 1);
    let secrets = ["canary-pass", login];
    secrets.iter().for_each(|secret| built.does_not_say(secret));
    for request in registry.log() {
        let body = String::from_utf8_lossy(&request.body);
        let text = format!("{} {body}", request.target);
        assert!(!secrets.iter().any(|secret| text.contains(secret)), "{text}");
    }
}
