//! `-D` and `XBUILD_LOG`: what is shown, and what never is.

use std::fs;

use xbuild_testkit::files::FileServer;
use xbuild_testkit::registry::{Login, Registry};
use xbuild_testkit::wire::Response;

use crate::harness::{Finished, Need, Place, User};

/// Builds the context and returns what was said.
fn log(place: &Place, filter: Option<&str>, args: &[&str]) -> String {
    let mut command = place.xbuild(["build"]);
    command.args(args).arg(place.context());
    if let Some(filter) = filter {
        command.env("XBUILD_LOG", filter);
    }
    Finished::run(command).ok().stderr
}

#[test]
fn debug_shows_the_spans_of_build_and_steps() {
    let place = Place::new(User::Me);
    place.write("Dockerfile", "FROM scratch\nCOPY file /\n").write("file", "text");
    let shown = log(&place, None, &["-D", "--platform", "linux/arm64"]);
    let lines: Vec<&str> = shown.lines().collect();
    let has = |parts: &[&str]| lines.iter().any(|l| parts.iter().all(|part| l.contains(part)));
    assert!(has(&[" INFO build{platforms=linux/arm64}: ", "close time.busy="]), "{shown}");
    assert!(
        has(&[" INFO build{", ":step{label=\"[1/1] COPY file /\"", "result=\"run\""]),
        "{shown}"
    );
    assert!(has(&[" DEBUG build{", ":layer{", ":blob{digest=sha256:"]), "{shown}");
    // Progress goes on beside it.
    assert!(lines.contains(&"#1 [1/1] COPY file /"), "{shown}");

    let args = ["--no-cache", "--quiet", "--platform", "linux/arm64"];
    let shown = log(&place, Some("solve=info"), &args);
    assert!(shown.contains("step{label=\"[1/1] COPY file /\""), "{shown}");
    assert!(!shown.contains("blob{") && !shown.contains("#2"), "{shown}");
    assert_eq!(log(&place, None, &args), "");
}

#[test]
fn a_filter_without_meaning_is_refused() {
    let place = Place::new(User::Me);
    for (filter, word) in
        [("loud", "\"loud\""), ("store=loud", "\"loud\""), ("hyper=trace", "hyper")]
    {
        let mut command = place.xbuild(["du"]);
        command.env("XBUILD_LOG", filter);
        Finished::run(command).fails(2, &["XBUILD_LOG", word, "hint: "]);
    }
}

#[test]
fn no_secret_is_shown() {
    const SECRETS: [&str; 5] =
        ["kept-in-file", "kept-in-env", "hunter2", "open-sesame", "in-proxy"];
    let registry = Registry::start();
    let user = Some(("me".to_owned(), SECRETS[2].to_owned()));
    registry.require(Login::Token { realm: None, user });
    let files = FileServer::start();
    files.answer("/Dockerfile", [Response::new(200).body(dockerfile())]);
    let place = Place::new(User::Me);
    fs::write(place.path().join("secret"), SECRETS[0]).unwrap();
    let auth = serde_json::json!({ "auths": { registry.host(): {
        "username": "me", "password": SECRETS[2],
    } } });
    fs::create_dir(place.path().join("docker")).unwrap();
    fs::write(place.path().join("docker/config.json"), auth.to_string()).unwrap();

    let url = files.url("/Dockerfile").replace("://", &format!("://me:{}@", SECRETS[3]));
    let name = format!("{}/app:1", registry.host());
    let base = Need::Run.is_met().then(|| place.base("busybox"));
    let contexts = base.iter().flat_map(|base| ["--build-context", base]);
    let mut command = place.xbuild(["build", "--progress", "plain", "-f", &url, "--push"]);
    command.args(["-t", &name, "--secret", "id=file,src=secret", "--secret", "id=env,env=KEY"]);
    command.args(contexts).arg(place.context());
    command.env("KEY", SECRETS[1]).env("DOCKER_CONFIG", place.path().join("docker"));
    command.env("HTTPS_PROXY", format!("http://me:{}@127.0.0.1:1", SECRETS[4]));
    command.env("XBUILD_LOG", "trace");
    let Finished { stdout, stderr, .. } = Finished::run(command).ok();

    assert!(registry.manifest("app", "1").is_some());
    assert!(stderr.contains("build{") && stderr.contains("request{"), "{stderr}");
    // Base64 of `me:hunter2` and `me:open-sesame`; the words that come before credentials.
    let encoded = ["bWU6aHVudGVyMg", "bWU6b3Blbi1zZXNhbWU", "Bearer", "Basic", "uthorization"];
    let tokens = registry.log();
    let tokens = tokens.iter().filter_map(|request| request.header("authorization"));
    let tokens = tokens.filter_map(|header| header.split(' ').nth(1));
    let tokens: Vec<&str> = tokens.collect();
    assert!(!tokens.is_empty(), "the registry was sent no token");
    for secret in SECRETS.into_iter().chain(encoded).chain(tokens) {
        assert!(!stderr.contains(secret) && !stdout.contains(secret), "{secret} in:\n{stderr}");
    }
}

/// Returns a Dockerfile whose RUN, where one can run, has secrets.
fn dockerfile() -> &'static str {
    if Need::Run.is_met() {
        "FROM busybox\nRUN --mount=type=secret,id=file,required \
         --mount=type=secret,id=env,env=VALUE,required test -n \"$VALUE\" -a -s /run/secrets/file\n"
    } else {
        "FROM scratch\nENV a=b\n"
    }
}
