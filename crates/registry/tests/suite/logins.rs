//! Where logins come from: several that fit, and helpers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use xbuild_registry::{Client, ClientOptions, Credentials};
use xbuild_testkit::images::Images;
use xbuild_testkit::registry::{Action, Fault, Login, Registry};
use xbuild_testkit::wire::Response;

use crate::fixture::{chain, logins, options, platform, push, put_image, read_layer, reference};

/// "other:wrong".
const WRONG: &str = "b3RoZXI6d3Jvbmc=";
/// "user:pass".
const RIGHT: &str = "dXNlcjpwYXNz";

fn base() -> Registry {
    let registry = Registry::start();
    put_image(&registry, "team/base", "latest", "linux/amd64", &[b"layer"]);
    registry
}

fn user() -> Option<(String, String)> {
    Some(("user".to_owned(), "pass".to_owned()))
}

fn pull(client: &Client, registry: &Registry) -> Result<Vec<u8>, String> {
    let image = client
        .resolve(&reference(registry, "team/base"), &platform("linux/amd64"))
        .map_err(|error| chain(&error))?;
    read_layer(client, &image, 0).map_err(|error| chain(&*error))
}

/// A client with these logins, and the warnings that it gives.
fn with(credentials: Credentials) -> (Client, Arc<Mutex<Vec<String>>>) {
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&warnings);
    let on_warning = Some(Arc::new(move |warning: &xbuild_registry::RegistryWarning| {
        all.lock().unwrap().push(warning.to_string());
    }) as Arc<_>);
    (Client::new(ClientOptions { credentials, on_warning, ..options() }), warnings)
}

/// A folder with the helper `docker-credential-test`.
fn helper(script: &str) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker-credential-test");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let search = vec![folder.path().to_owned()];
    (folder, search)
}

#[test]
fn a_login_that_is_refused_is_followed_by_the_next() {
    let registry = base();
    let host = registry.host();
    let text = json!({"auths": {
        format!("{host}/team"): {"auth": WRONG}, host.clone(): {"auth": RIGHT},
    }});
    for login in [
        Login::Basic("user".to_owned(), "pass".to_owned()),
        Login::Token { realm: None, user: user() },
    ] {
        registry.require(login);
        let (client, _) = with(logins(&text.to_string()));
        assert_eq!(pull(&client, &registry).unwrap(), b"layer");
        let images = Images::new(&["linux/amd64"], &[b"x"]);
        push(&images, &client, &[reference(&registry, "team/app:1")]).unwrap();
    }
    // The next one may be of another file.
    let mut credentials = logins(&json!({"auths": {host.clone(): {"auth": WRONG}}}).to_string());
    credentials.add_file(&json!({"auths": {host: {"auth": RIGHT}}}).to_string());
    assert_eq!(pull(&with(credentials).0, &registry).unwrap(), b"layer");
}

#[test]
fn public_images_need_no_valid_login() {
    let registry = base();
    let text = json!({"auths": {registry.host(): {"auth": WRONG}}}).to_string();
    // Anybody gets a token, but not with a wrong password.
    registry.require(Login::Token { realm: None, user: None });
    assert_eq!(pull(&with(logins(&text)).0, &registry).unwrap(), b"layer");
    // A push without a login is not tried where there is one.
    let images = Images::new(&["linux/amd64"], &[b"x"]);
    let client = with(logins(&text)).0;
    let error = push(&images, &client, &[reference(&registry, "team/app:1")]).unwrap_err();
    assert!(chain(&error).contains("token server"), "{}", chain(&error));
}

#[test]
fn a_403_is_a_refusal_too() {
    let registry = base();
    registry.require(Login::Basic("user".to_owned(), "pass".to_owned()));
    let host = registry.host();
    let text = json!({"auths": {
        format!("{host}/team"): {"auth": RIGHT}, host: {"auth": WRONG},
    }});
    let forbidden = Response::new(403).body(r#"{"errors":[{"code":"DENIED","message":"first"}]}"#);
    let client = with(logins(&text.to_string())).0;
    assert!(pull(&client, &registry).is_ok());
    registry.fail(Fault::new("GET", "/manifests/other", 1, Action::Answer(forbidden)));
    let image = reference(&registry, "team/base:other");
    let error = client.resolve(&image, &platform("linux/amd64")).unwrap_err();
    // The second login is tried; the error is that of the first.
    assert!(chain(&error).contains("DENIED: first"), "{}", chain(&error));
    assert!(
        registry
            .log()
            .iter()
            .any(|request| { request.header("authorization") == Some(&format!("Basic {WRONG}")) })
    );
}

#[test]
fn a_helper_of_all_registries_may_be_missing_or_fail() {
    let registry = base();
    registry.require(Login::Token { realm: None, user: None });
    let (_folder, search) = helper("echo 'the key store is locked'; exit 1");
    for (name, said) in [
        ("absent", "docker-credential-absent is not installed"),
        ("test", "docker-credential-test gave no credentials: the key store is locked"),
    ] {
        let store = json!({"credsStore": name}).to_string();
        let credentials = logins(&store).with_search_path(search.clone());
        registry.require(Login::Token { realm: None, user: None });
        let (client, warnings) = with(credentials.clone());
        assert_eq!(pull(&client, &registry).unwrap(), b"layer");
        let warnings = warnings.lock().unwrap().clone();
        assert!(warnings.len() == 1 && warnings[0].contains(said), "{warnings:?}");
        // If the registry refuses, the reason is there.
        for login in [
            Login::Token { realm: None, user: user() },
            Login::Basic("user".to_owned(), "pass".to_owned()),
        ] {
            registry.require(login);
            let text = pull(&with(credentials.clone()).0, &registry).unwrap_err();
            assert!(text.contains(said), "{text}");
        }
        // For a helper of this very registry it is an error.
        let own = json!({"credHelpers": {registry.host(): name}}).to_string();
        let credentials = logins(&own).with_search_path(search.clone());
        let text = pull(&with(credentials).0, &registry).unwrap_err();
        assert!(text.contains("no credentials for") && text.contains(said), "{text}");
    }
}

/// Gives the passwords `pass1`, `pass2` and so on.
const COUNTING: &str = r#"count=$(cat "$0.count" 2>/dev/null || echo 0); count=$((count + 1))
    echo $count > "$0.count"; echo "{\"Username\":\"user\",\"Secret\":\"pass$count\"}""#;

/// Returns how often the counting helper was asked.
fn asked(folder: &tempfile::TempDir) -> String {
    let text = fs::read_to_string(folder.path().join("docker-credential-test.count"));
    text.unwrap().trim().to_owned()
}

/// The answer to a HEAD has no body that could say why.
#[test]
fn a_helper_is_asked_again_after_a_403_without_a_reason() {
    let registry = base();
    let (folder, search) = helper(COUNTING);
    let text = json!({"credHelpers": {registry.host(): "test"}}).to_string();
    let client = with(logins(&text).with_search_path(search)).0;
    let images = Images::new(&["linux/amd64"], &[b"x"]);
    registry.require(Login::Basic("user".to_owned(), "pass1".to_owned()));
    push(&images, &client, &[reference(&registry, "team/app:1")]).unwrap();
    assert_eq!(asked(&folder), "1");
    registry.require(Login::Basic("user".to_owned(), "pass2".to_owned()));
    registry.fail(Fault::new("HEAD", "/blobs/", 1, Action::Answer(Response::new(403))));
    push(&images, &client, &[reference(&registry, "team/app:2")]).unwrap();
    assert_eq!(asked(&folder), "2");
    // Once: a new password that is refused as well is no question of time.
    registry.fail(Fault::new("GET", "/manifests/", 99, Action::Answer(Response::new(403))));
    let image = reference(&registry, "team/base");
    assert!(client.resolve(&image, &platform("linux/amd64")).is_err());
    assert_eq!(asked(&folder), "3");
}

#[test]
fn a_helper_is_asked_again_when_its_password_has_ended() {
    let registry = base();
    let (folder, search) = helper(COUNTING);
    let asked = || asked(&folder);
    let text = json!({"credHelpers": {registry.host(): "test"}}).to_string();
    let credentials = logins(&text).with_search_path(search);
    let client = with(credentials).0;
    registry.require(Login::Basic("user".to_owned(), "pass1".to_owned()));
    assert!(pull(&client, &registry).is_ok());
    assert!(pull(&client, &registry).is_ok());
    assert_eq!(asked(), "1");
    registry.require(Login::Basic("user".to_owned(), "pass2".to_owned()));
    assert!(pull(&client, &registry).is_ok());
    assert_eq!(asked(), "2");
    // A 403 that says so counts as well.
    let expired = Response::new(403).body(
        r#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired."}]}"#,
    );
    registry.require(Login::Basic("user".to_owned(), "pass3".to_owned()));
    registry.fail(Fault::new("GET", "/blobs/", 1, Action::Answer(expired)));
    let image = reference(&registry, "team/base");
    let image = client.resolve(&image, &platform("linux/amd64")).unwrap();
    assert_eq!(read_layer(&client, &image, 0).unwrap(), b"layer");
    assert_eq!(asked(), "3");
}

#[test]
fn a_slow_helper_is_waited_for_and_named() {
    let registry = base();
    registry.require(Login::Basic("user".to_owned(), "pass".to_owned()));
    let (_folder, search) =
        helper(r#"sleep 6; echo "{\"Username\":\"user\",\"Secret\":\"pass\"}""#);
    let text = json!({"credHelpers": {registry.host(): "test"}}).to_string();
    let credentials = logins(&text).with_search_path(search);
    let (client, warnings) = with(credentials.clone());
    assert_eq!(pull(&client, &registry).unwrap(), b"layer");
    let warnings = warnings.lock().unwrap().clone();
    assert!(warnings.len() == 1, "{warnings:?}");
    assert!(warnings[0].contains("waiting for the credential helper docker-credential-test"));
    let credentials = Credentials::default().with_patience(Duration::from_millis(100));
    let mut credentials = credentials.with_search_path(vec![_folder.path().to_owned()]);
    credentials.add_file(&text);
    let text = pull(&with(credentials).0, &registry).unwrap_err();
    assert!(text.contains("docker-credential-test has not answered in 0 s"), "{text}");
}
