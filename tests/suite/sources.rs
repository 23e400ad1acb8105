//! What a build may take from elsewhere: lock files and source policies.

use std::fs;

use serde_json::{Value, json};
use xbuild_testkit::files::FileServer;

use crate::harness::{Finished, Place, Registry, User, needs, to_layout};
use crate::image::{self, digest};

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// Makes an image of one file, and pushes it.
fn push(place: &Place, name: &str, text: &str) {
    place.dockerfile("FROM scratch\nCOPY base.txt /\n").write("base.txt", text);
    place.build(&["--push", "-t", name]).ok();
}

/// Runs a command on the context.
fn run(place: &Place, args: &[&str]) -> Finished {
    place.run(args.iter().map(std::ffi::OsString::from).chain([place.context().into_os_string()]))
}

#[test]
fn a_locked_build_takes_what_the_lock_has() {
    needs!(Registry);
    let registry = Registry::start();
    let server = FileServer::start();
    server.put("/f.txt", "\"1\"", DATE, "one");
    let place = Place::new(User::Me);
    let base = format!("{}/base:1", registry.host);
    push(&place, &base, "old");
    let url = server.url("/f.txt");
    place.dockerfile(&format!("FROM {base}\nADD {url} /f.txt\n"));
    let files = |args: &[&str]| {
        let layout = place.out("layout");
        let _ = fs::remove_dir_all(&layout);
        let output = to_layout(&layout);
        run(&place, &[&["build", "--progress", "plain", "-o", &output], args].concat()).ok();
        let image = image::read(&layout).remove(0);
        (image.text("base.txt"), image.text("f.txt"))
    };
    run(&place, &["build", "--locked"]).fails(1, &["xbuild.lock", "xbuild lock"]);
    run(&place, &["lock"]).ok().prints(&["xbuild.lock: 2 sources, 2 of them new"]);
    let path = place.context().join("xbuild.lock");
    let lock: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let locked = lock["images"][&base].clone();
    assert!(locked.as_str().unwrap().starts_with("sha256:"), "{lock}");
    assert_eq!(lock["files"], json!({ &url: digest(b"one") }));
    assert_eq!(files(&["--locked"]), ("old".to_owned(), "one".to_owned()));
    // The tag moves, the lock does not.
    push(&place, &base, "new");
    place.dockerfile(&format!("FROM {base}\nADD {url} /f.txt\n"));
    assert_eq!(files(&["--locked"]), ("old".to_owned(), "one".to_owned()));
    assert_eq!(files(&[]), ("new".to_owned(), "one".to_owned()));
    // Without --upgrade only what is missing is looked up.
    server.put("/g.txt", "\"1\"", DATE, "two");
    let other = server.url("/g.txt");
    place.dockerfile(&format!("FROM {base}\nADD {url} /f.txt\nADD {other} /g.txt\n"));
    run(&place, &["build", "--locked"])
        .fails(1, &[&other, "is not in the lock file", "xbuild lock"]);
    run(&place, &["lock"]).ok().prints(&["3 sources, 1 of them new"]);
    let again: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(again["images"][&base], locked);
    // What has another digest now is refused, until the lock is made anew.
    server.put("/f.txt", "\"2\"", "Mon, 07 Nov 1994 08:49:37 GMT", "other");
    place.run(["prune", "--all"]).ok();
    let refused = run(&place, &["build", "--locked"]);
    refused.fails(1, &["digest mismatch", &digest(b"one"), &digest(b"other")]);
    run(&place, &["lock", "--upgrade"]).ok();
    assert_eq!(files(&["--locked"]), ("new".to_owned(), "other".to_owned()));
    // Sources that name their versions need no lock.
    place.dockerfile(&format!(
        "FROM {}/base@{}\nADD --checksum={} {url} /f.txt\n",
        registry.host,
        locked.as_str().unwrap(),
        digest(b"other")
    ));
    fs::write(&path, r#"{"version": 1}"#).unwrap();
    assert_eq!(files(&["--locked"]), ("old".to_owned(), "other".to_owned()));
    let named = place.out("other.lock");
    fs::write(&named, "{").unwrap();
    run(&place, &["build", "--locked", "--lock-file", named.to_str().unwrap()])
        .fails(1, &["not a lock file"]);
    fs::write(&named, r#"{"version": 2}"#).unwrap();
    run(&place, &["build", "--locked", "--lock-file", named.to_str().unwrap()])
        .fails(1, &["version 2"]);
}

#[test]
fn policies_deny_and_convert_sources() {
    needs!(Registry);
    let registry = Registry::start();
    let server = FileServer::start();
    server.put("/f.txt", "\"1\"", DATE, "one");
    server.put("/mirror/f.txt", "\"1\"", DATE, "mirrored");
    let place = Place::new(User::Me);
    push(&place, &format!("{}/library/base:1", registry.host), "mirror");
    let url = server.url("/f.txt");
    place.dockerfile(&format!("FROM base:1\nADD {url} /\n"));
    let policy = place.out("policy.json");
    let with = |rules: Value| {
        fs::write(&policy, json!({ "rules": rules }).to_string()).unwrap();
        ["build", "--progress", "plain", "--source-policy-file", policy.to_str().unwrap()]
    };
    let rule = |action: &str, from: &str, to: Value| json!({ "action": action, "selector": { "identifier": from }, "updates": to });
    let mirror = rule(
        "CONVERT",
        "docker-image://docker.io/*",
        json!({ "identifier": format!("docker-image://{}/${{1}}", registry.host) }),
    );
    let to = json!({ "identifier": server.url("/mirror/f.txt") });
    let layout = place.out("layout");
    let output = to_layout(&layout);
    let args = with(json!([mirror, rule("CONVERT", &url, to)]));
    run(&place, &[&args[..], &["-o", &output]].concat()).ok();
    let image = image::read(&layout).remove(0);
    assert_eq!(
        (image.text("base.txt"), image.text("f.txt")),
        ("mirror".to_owned(), "mirrored".to_owned())
    );
    // The digest that a policy asks for.
    let wrong = json!({ "attrs": { "http.checksum": digest(b"two") } });
    let args = with(json!([mirror, rule("CONVERT", &url, wrong)]));
    run(&place, &args).fails(1, &["digest mismatch"]);
    for (denied, word) in [
        ("docker-image://docker.io/*", "docker-image://docker.io/library/base:1"),
        (url.as_str(), url.as_str()),
        ("local://*", "local://context"),
    ] {
        place.dockerfile(&format!("FROM base:1\nADD {url} /\nCOPY base.txt /again\n"));
        let args = with(json!([rule("DENY", denied, Value::Null), mirror]));
        let denied = if denied.starts_with("docker") {
            with(json!([{ "action": "DENY", "selector": { "identifier": denied } }]))
        } else {
            args
        };
        run(&place, &denied).fails(1, &["denies", word, "policy.json"]);
    }
    // The variable of buildx, and files that are no policy.
    let mut command = place.xbuild(["build", "--progress", "plain"]);
    command.env("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY", &policy).arg(place.context());
    Finished::run(command).fails(1, &["denies"]);
    fs::write(&policy, r#"{"rules": [{"selector": {}}]}"#).unwrap();
    let args = ["build", "--source-policy-file", policy.to_str().unwrap()];
    run(&place, &args).fails(1, &["is not a source policy", "identifier"]);
}
