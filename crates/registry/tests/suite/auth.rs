//! Credentials and tokens, and the servers that get them: security.md, part A4.

use xbuild_registry::{
    Client, ClientOptions, Credential, Credentials, PullError, RequestError, Secret,
};
use xbuild_testkit::images::Images;
use xbuild_testkit::registry::{Action, Fault, Login, Registry};
use xbuild_testkit::wire::Response;

use crate::fixture::{
    base, chain, client, client_of, options, platform, pull, push, read_layer, reference, user,
};

#[test]
fn gets_tokens_for_exactly_what_it_does() {
    let registry = base();
    registry.require(Login::Token { realm: None, user: user() });
    let client = client_of(&registry);
    assert_eq!(pull(&client, &registry).unwrap(), b"layer");
    push(&Images::new(&["linux/amd64"], &[b"x"]), &client, &[reference(&registry, "app:1")])
        .unwrap();
    let log = registry.log();
    let tokens: Vec<&str> = log
        .iter()
        .filter(|request| request.path() == "/token")
        .map(|request| request.target.split_once("scope=").unwrap().1)
        .collect();
    assert_eq!(tokens, ["repository%3Abase%3Apull", "repository%3Aapp%3Apull%2Cpush"]);
}

#[test]
fn pulls_without_credentials_where_that_is_allowed() {
    let registry = base();
    registry.require(Login::Token { realm: None, user: None });
    assert_eq!(pull(&client(), &registry).unwrap(), b"layer");
}

#[test]
fn uses_basic_authentication_and_refresh_tokens() {
    let registry = base();
    registry.require(Login::Basic("user".to_owned(), "pass".to_owned()));
    assert_eq!(pull(&client_of(&registry), &registry).unwrap(), b"layer");
    registry.require(Login::Token { realm: None, user: user() });
    let token = Credential::Identity { token: Secret::new("refresh") };
    let credentials = Credentials::default().with(&registry.host(), token);
    let client = Client::new(ClientOptions { credentials, ..options() });
    assert_eq!(pull(&client, &registry).unwrap(), b"layer");
    assert_eq!(registry.count("POST", "/token"), 1);
}

#[test]
fn says_what_was_denied() {
    let registry = base();
    registry.require(Login::Basic("user".to_owned(), "other".to_owned()));
    for client in [client(), client_of(&registry)] {
        let text = pull(&client, &registry).unwrap_err();
        let expected = format!(
            "{} denied access for repository:base:pull (401: UNAUTHORIZED: who are you)",
            registry.host()
        );
        assert!(text.contains(&expected), "{text}");
        assert!(!text.contains("pass"), "{text}");
    }
    registry.require(Login::Token { realm: None, user: Some(("a".to_owned(), "b".to_owned())) });
    let text = pull(&client_of(&registry), &registry).unwrap_err();
    assert!(text.contains("denied access for repository:base:pull: its token server"), "{text}");
    let forbidden = r#"{"errors":[{"code":"DENIED","message":"no"}]}"#;
    let registry = base();
    let answer = Response::new(403).body(forbidden);
    registry.fail(Fault::new("GET", "/manifests/", 1, Action::Answer(answer)));
    let text = pull(&client(), &registry).unwrap_err();
    assert!(text.contains("(403: DENIED: no)"), "{text}");
}

#[test]
fn renews_a_token_that_ended() {
    let registry = base();
    registry.require(Login::Token { realm: None, user: user() });
    let client = client_of(&registry);
    assert_eq!(pull(&client, &registry).unwrap(), b"layer");
    registry.revoke_tokens();
    assert_eq!(pull(&client, &registry).unwrap(), b"layer");
    assert_eq!(registry.count("GET", "/token"), 2);
    // The same in the middle of a push.
    let images = Images::new(&["linux/amd64"], &[&vec![7; 2_000_000]]);
    let answer = Response::new(401)
        .with("www-authenticate", format!(r#"Bearer realm="http://{}/token""#, registry.host()));
    registry.fail(Fault::new("PUT", "/blobs/uploads/", 1, Action::Answer(answer)));
    push(&images, &client, &[reference(&registry, "app:1")]).unwrap();
}

/// Makes the blobs of `registry` redirect to `url`.
fn redirect(registry: &Registry, url: &str, times: usize) {
    let answer = Response::new(307).with("location", url);
    registry.fail(Fault::new("GET", "/blobs/", times, Action::Answer(answer)));
}

fn no_secrets(registry: &Registry) {
    for request in registry.log() {
        assert_eq!(request.header("authorization"), None, "{}", request.target);
    }
}

/// security.md 102: no credentials on another host, not even when it asks for them.
#[test]
fn redirects_lose_the_credentials() {
    for asks in [false, true] {
        let (registry, other) = (base(), Registry::start());
        registry.require(Login::Token { realm: None, user: user() });
        let client = client_of(&registry);
        let image =
            client.resolve(&reference(&registry, "base"), &platform("linux/amd64")).unwrap();
        let digest = &image.layers[0].descriptor.digest;
        other.put_blob("cdn", b"layer");
        if asks {
            let realm = Some(format!("http://{}/token", registry.host()));
            other.require(Login::Token { realm, user: user() });
        }
        redirect(
            &registry,
            &format!("http://{}/v2/cdn/blobs/{digest}?sig=SECRET", other.host()),
            1,
        );
        match read_layer(&client, &image, 0) {
            Ok(layer) => assert!(!asks && layer == b"layer"),
            Err(error) => {
                let text = chain(&*error);
                assert!(asks && text.contains("401") && !text.contains("SECRET"), "{text}");
            }
        }
        assert_eq!(other.log().len(), 1);
        no_secrets(&other);
    }
}

#[test]
fn redirects_are_bounded() {
    for (url, times, expected) in [
        ("file:///etc/passwd", 1, "only http and https"),
        ("http://169.254.169.254/latest/meta-data", 1, "not followed"),
        ("http://0.0.0.0/x", 1, "not followed"),
        ("http://user:pw@127.0.0.1/x", 1, "user information"),
        ("?again", usize::MAX, "too many redirects"),
        ("http://[", 1, "no usable Location"),
    ] {
        let registry = base();
        redirect(&registry, url, times);
        let text = pull(&client(), &registry).unwrap_err();
        assert!(text.contains(expected), "{url}: {text}");
        assert!(registry.log().len() < 20);
    }
}

/// security.md 104: the servers that tokens are fetched from.
#[test]
fn realms_are_checked() {
    for realm in [
        "http://169.254.169.254/token",
        "https://169.254.169.254/token",
        "http://0.0.0.0/token",
        "http://[::]/token",
        "file:///etc/passwd",
        "http://tokens.example/token",
        "/token",
        "",
    ] {
        let registry = base();
        registry.require(Login::Token { realm: Some(realm.to_owned()), user: user() });
        let text = pull(&client_of(&registry), &registry).unwrap_err();
        assert!(text.contains("the authentication challenge of"), "{realm}: {text}");
        no_secrets(&registry);
    }
    // A token server beside a registry on this machine is allowed; its redirect is not.
    let (registry, tokens, third) = (base(), Registry::start(), Registry::start());
    tokens.require(Login::Token { realm: None, user: user() });
    let realm = Some(format!("http://{}/token", tokens.host()));
    registry.require(Login::Token { realm, user: user() });
    let to_third = Response::new(302).with("location", format!("http://{}/token", third.host()));
    tokens.fail(Fault::new("GET", "/token", 1, Action::Answer(to_third)));
    let text = pull(&client_of(&registry), &registry).unwrap_err();
    assert!(text.contains("a token server must not redirect to another one"), "{text}");
    assert!(third.log().is_empty());
    no_secrets(&registry);
}

#[test]
fn token_servers_talk_nonsense() {
    let endless = Response { endless: true, ..Response::new(200).body(vec![b' '; 1 << 16]) };
    for (answer, expected) in [
        (Response::new(200).body("{}"), "gave no usable token"),
        (Response::new(200).body(r#"{"token":"SECRET\n"}"#), "gave no usable token"),
        (Response::new(200).body(r#"{"token":"SECRET"#), "gave no usable token"),
        (endless, "longer than 65536 bytes"),
        (Response::new(418), "418"),
    ] {
        let registry = base();
        registry.require(Login::Token { realm: None, user: user() });
        registry.fail(Fault::new("GET", "/token", 9, Action::Answer(answer)));
        let text = pull(&client_of(&registry), &registry).unwrap_err();
        assert!(text.contains(expected) && !text.contains("SECRET"), "{text}");
    }
}

/// security.md 103: uploads that are sent elsewhere.
#[test]
fn uploads_elsewhere_get_no_credentials() {
    let images = Images::new(&["linux/amd64"], &[b"layer"]);
    for (location, expected) in [
        ("http://169.254.169.254/upload", "not followed"),
        ("http://198.51.100.1/upload", "blobs are sent to other hosts over https only"),
        ("ftp://OTHER/upload", "only http and https"),
    ] {
        let (registry, other) = (base(), Registry::start());
        registry.require(Login::Basic("user".to_owned(), "pass".to_owned()));
        let client = client_of(&registry);
        // The first request has no credentials and is refused; the second counts.
        let location = location.replace("OTHER", &other.host());
        pull(&client, &registry).unwrap();
        let answer = Response::new(202).with("location", location);
        registry.fail(Fault::new("POST", "/blobs/uploads/", 9, Action::Answer(answer)));
        let text = chain(&push(&images, &client, &[reference(&registry, "app:1")]).unwrap_err());
        assert!(text.contains(expected), "{text}");
        assert!(other.log().is_empty());
    }
}

/// security.md 98 and 116: credentials of one registry are not sent to another.
#[test]
fn credentials_stay_with_their_registry() {
    let (registry, other) = (base(), base());
    registry.require(Login::Basic("user".to_owned(), "pass".to_owned()));
    other.require(Login::Basic("user".to_owned(), "pass".to_owned()));
    let client = client_of(&registry);
    assert!(pull(&client, &registry).is_ok());
    assert!(pull(&client, &other).is_err());
    no_secrets(&other);
}

/// security.md 108: plain HTTP is spoken only to registries named for it, without credentials.
#[test]
fn credentials_do_not_go_over_plain_http() {
    let registry = base();
    registry.require(Login::Basic("user".to_owned(), "pass".to_owned()));
    let port = registry.host().rsplit_once(':').unwrap().1.to_owned();
    // An address of this machine that does not look like a loopback address.
    let host = format!("0.0.0.0:{port}");
    let login = Credential::Basic { user: "user".to_owned(), password: Secret::new("pass") };
    let options = ClientOptions {
        credentials: Credentials::default().with(&host, login),
        insecure: [host.clone()].into(),
        ..options()
    };
    let image = format!("{host}/base").parse().unwrap();
    let error = Client::new(options.clone()).resolve(&image, &platform("linux/amd64")).unwrap_err();
    assert!(
        matches!(&error, PullError::Request { source: RequestError::PlainCredentials { .. }, .. }),
        "{}",
        chain(&error)
    );
    no_secrets(&registry);
    let options = ClientOptions { insecure_credentials: true, ..options };
    assert!(Client::new(options).resolve(&image, &platform("linux/amd64")).is_ok());
    // A registry that is not named: only HTTPS is tried.
    let client = Client::new(self::options());
    let before = registry.log().len();
    assert!(client.resolve(&image, &platform("linux/amd64")).is_err());
    assert_eq!(registry.log().len(), before);
}
