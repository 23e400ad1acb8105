//! The fields of spans and events, and secrets that must not be in them.

use std::io::Read as _;

use xbuild_model::Digest;
use xbuild_model::seam::Blobs as _;
use xbuild_registry::{Client, ClientOptions, Credentials, DownloadRequest};
use xbuild_testkit::files::FileServer;
use xbuild_testkit::images::Images;
use xbuild_testkit::registry::{Action, Fault, Login, Registry};
use xbuild_testkit::spans;
use xbuild_testkit::wire::Response;

use crate::fixture::{options, platform, push, reference};

const PASSWORD: &str = "correct horse";
/// User and password, as in a header.
const BASIC: &str = "dXNlcjpjb3JyZWN0IGhvcnNl";
const SIGNATURE: &str = "X-Amz-Signature=5161";

/// Pushes an image and pulls its layer from a registry that asks for a login.
fn push_and_pull(registry: &Registry, login: Login) {
    registry.require(login);
    let auth = serde_json::json!({"auths": {registry.host(): {"auth": BASIC}}}).to_string();
    let mut credentials = Credentials::default();
    assert!(credentials.add_file(&auth).is_empty());
    let client = Client::new(ClientOptions { credentials, ..options() });
    let target = reference(registry, "traced:1");
    push(&Images::new(&["linux/amd64"], &[b"seen"]), &client, std::slice::from_ref(&target))
        .unwrap();
    let image = client.resolve(&target, &platform("linux/amd64")).unwrap();
    // The blob is on another server, which knows the client by the signature in its URL.
    let files = FileServer::start();
    let signed = format!("/signed/blob?{SIGNATURE}");
    files.answer(&signed, [Response::new(200).body(b"seen")]);
    let redirect = Response::new(307).with("location", files.url(&signed));
    let digest = Digest::of(b"seen").to_string();
    registry.fail(Fault::new("GET", &format!("/blobs/{digest}"), 1, Action::Answer(redirect)));
    let mut bytes = Vec::new();
    client
        .open(&image.layers[0].descriptor, &image.layers[0].source, 0)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    assert_eq!(bytes, b"seen");
    assert!(files.log()[0].target.contains(SIGNATURE));
}

#[test]
fn tell_requests_and_blobs_and_no_secret() {
    spans::collect();
    let user = ("user".to_owned(), PASSWORD.to_owned());
    let (basic, token) = (Registry::start(), Registry::start());
    push_and_pull(&basic, Login::Basic(user.0.clone(), user.1.clone()));
    push_and_pull(&token, Login::Token { realm: None, user: Some(user) });
    let sent = |registry: &Registry, scheme: &str| {
        let log = registry.log();
        let headers: Vec<_> = log.iter().filter_map(|r| r.header("authorization")).collect();
        assert!(headers.iter().any(|header| header.starts_with(scheme)), "{headers:?}");
    };
    sent(&basic, "Basic ");
    sent(&token, "Bearer ");
    let files = FileServer::start();
    let url = format!("/file?{SIGNATURE}");
    files.answer(&url, [Response::new(200).body(b"x")]);
    let url = files.url(&url);
    let request = DownloadRequest { url: &url, authorization: Some("Bearer mine"), known: None };
    crate::fixture::client().download(&request, || Ok(Vec::new())).unwrap().unwrap();

    let closed = spans::closed();
    let told =
        |line: &str| assert!(closed.iter().any(|l| l.ends_with(line)), "{line}: {closed:#?}");
    let (host, port) =
        basic.host().rsplit_once(':').map(|(h, p)| (h.to_owned(), p.to_owned())).unwrap();
    let digest = Digest::of(b"seen");
    let at = format!("host={host} port={port}");
    told(&format!(
        "blob digest={digest} size=4 > request method=HEAD {at} path=/v2/traced/blobs/{digest} status=404"
    ));
    told(&format!("blob digest={digest} size=4 how=was uploaded"));
    told(&format!("request method=PUT {at} path=/v2/traced/manifests/1 status=201"));
    told(&format!("request method=GET {at} path=/v2/traced/blobs/{digest} status=307"));
    assert!(closed.iter().any(|line| line.contains("path=/signed/blob status=200")));
    assert!(closed.iter().any(|line| line.contains("path=/token status=200")));
    assert!(!closed.iter().any(|line| line.contains('?')), "no query: {closed:#?}");
    for line in closed.iter().chain(&spans::events()) {
        for secret in [PASSWORD, BASIC, "Bearer ", "Basic ", "token-", "Signature", "state="] {
            assert!(!line.contains(secret), "{secret:?} in {line}");
        }
    }
}
