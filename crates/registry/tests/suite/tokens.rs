//! Token servers, and registries that other registries lead to.

use rcgen::{CertificateParams, KeyPair};
use xbuild_registry::{Client, ClientOptions, Credential, Credentials, Secret};
use xbuild_testkit::images::Images;
use xbuild_testkit::registry::{Action, Fault, Login, Registry, Rules};
use xbuild_testkit::wire::Response;

use crate::fixture::{
    base, chain, client, client_of, options, platform, pull, push, read_layer, reference, user,
};

/// The answers that give the token of the first request, in odd ways.
#[test]
fn tokens_come_in_several_forms() {
    for answer in [
        r#"{"token":"TOKEN"}"#,
        r#"{"access_token":"TOKEN"}"#,
        r#"{"token":"","access_token":"TOKEN"}"#,
        r#"{"token":null,"access_token":"TOKEN","expires_in":null}"#,
        r#"{"token":"TOKEN","expires_in":0}"#,
        r#"{"token":"TOKEN","expires_in":-1}"#,
        r#"{"token":"TOKEN","expires_in":"3600"}"#,
        r#"{"token":"TOKEN","expires_in":1e99,"issued_at":7,"refresh_token":[]}"#,
    ] {
        let registry = base();
        registry.require(Login::Token { realm: None, user: None });
        registry.grant("TOKEN", "repository:base:pull");
        let answer = Response::new(200).body(answer);
        registry.fail(Fault::new("GET", "/token", 9, Action::Answer(answer.clone())));
        assert_eq!(pull(&client(), &registry).unwrap(), b"layer", "{answer:?}");
        // It is used more than once, whatever its life.
        assert_eq!(registry.count("GET", "/token"), 1, "{answer:?}");
    }
}

#[test]
fn the_scope_of_a_challenge_is_asked_for_too() {
    let registry = base();
    registry.require(Login::Token { realm: None, user: user() });
    let realm = format!("http://{}/token", registry.host());
    let challenge =
        format!(r#"Bearer realm="{realm}",service="x",scope="repository:real/base:pull aws""#);
    let answer = Response::new(401).with("www-authenticate", challenge);
    registry.fail(Fault::new("GET", "/manifests/", 1, Action::Answer(answer)));
    assert_eq!(pull(&client_of(&registry), &registry).unwrap(), b"layer");
    let asked = registry.log().into_iter().find(|request| request.path() == "/token").unwrap();
    let scopes = "scope=repository%3Abase%3Apull&scope=repository%3Areal%2Fbase%3Apull&scope=aws";
    assert!(asked.target.ends_with(scopes), "{}", asked.target);
}

#[test]
fn token_servers_redirect_within_themselves() {
    let registry = base();
    registry.require(Login::Token { realm: None, user: user() });
    for status in [301, 302, 307, 308] {
        let to = Response::new(status).with("location", "/token?account=x");
        registry.fail(Fault::new("GET", "/token", 1, Action::Answer(to)));
        assert_eq!(pull(&client_of(&registry), &registry).unwrap(), b"layer", "{status}");
        registry.revoke_tokens();
    }
    // Not without end.
    let to = Response::new(307).with("location", "/token?again");
    registry.fail(Fault::new("GET", "/token", 99, Action::Answer(to)));
    let text = pull(&client_of(&registry), &registry).unwrap_err();
    assert!(text.contains("too many redirects"), "{text}");
}

#[test]
fn errors_of_the_token_server_are_told_as_such() {
    for (status, tries) in [(401, 1), (403, 1), (404, 1), (503, 5)] {
        let registry = base();
        registry.require(Login::Token { realm: None, user: user() });
        let answer = Response::new(status).body(r#"{"errors":[{"code":"X","message":"no"}]}"#);
        registry.fail(Fault::new("GET", "/token", 99, Action::Answer(answer)));
        let login = Credential::Basic { user: "user".to_owned(), password: Secret::new("pass") };
        let credentials = Credentials::default().with(&registry.host(), login);
        let client = Client::new(ClientOptions { credentials, jobs: 1, ..options() });
        let images = Images::new(&["linux/amd64"], &[b"x"]);
        let error = push(&images, &client, &[reference(&registry, "app:1")]).unwrap_err();
        let expected = format!(
            "denied access for repository:app:pull,push: its token server http://{}/token answered \
             {status}: X: no",
            registry.host()
        );
        assert!(chain(&error).contains(&expected), "{}", chain(&error));
        assert_eq!(registry.count("GET", "/token"), tries, "{status}");
    }
}

/// A name that redirects to another registry, which asks for a token of its own.
#[test]
fn a_registry_that_another_leads_to_has_its_own_login() {
    let registry = base();
    for known in [false, true] {
        let vanity = Registry::start();
        registry.require(Login::Token { realm: None, user: user().filter(|_| known) });
        for part in ["/manifests/", "/blobs/"] {
            let to = Action::Redirect(307, format!("http://{}", registry.host()));
            vanity.fail(Fault::new("GET", part, 9, to));
        }
        let login = |password: &str| Credential::Basic {
            user: "user".to_owned(),
            password: Secret::new(password),
        };
        let mut credentials = Credentials::default().with(&vanity.host(), login("SECRET"));
        if known {
            credentials = credentials.with(&registry.host(), login("pass"));
        }
        let client = Client::new(ClientOptions { credentials, ..options() });
        assert_eq!(pull(&client, &vanity).unwrap(), b"layer", "{known}");
        // "user:SECRET".
        let leaked = |request: &xbuild_testkit::wire::Request| {
            request.header("authorization").is_some_and(|text| text.contains("dXNlcjpTRUNSRVQ="))
        };
        assert!(!registry.log().iter().any(leaked));
        registry.revoke_tokens();
    }
}

/// A registry behind a proxy that ends TLS calls itself by http.
#[test]
fn http_on_an_https_host_means_https() {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["registry.test".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let registry = base();
    let tls = crate::tls::TlsServer::start(&certificate, &key, registry.address());
    let name = format!("registry.test:{}", tls.port());
    registry.require(Login::Token { realm: Some(format!("http://{name}/token")), user: user() });
    registry.rules(Rules { prefix: format!("http://{name}"), ..Rules::default() });
    let login = Credential::Basic { user: "user".to_owned(), password: Secret::new("pass") };
    let options = ClientOptions {
        credentials: Credentials::default().with(&name, login),
        extra_roots: vec![certificate.pem().into_bytes()],
        addresses: [("registry.test".to_owned(), vec![[127, 0, 0, 1].into()])].into(),
        ..options()
    };
    let client = Client::new(options);
    let image = format!("{name}/base").parse().unwrap();
    let image = client.resolve(&image, &platform("linux/amd64")).unwrap();
    assert_eq!(read_layer(&client, &image, 0).unwrap(), b"layer");
    let images = Images::new(&["linux/amd64"], &[b"x"]);
    push(&images, &client, &[format!("{name}/app:1").parse().unwrap()]).unwrap();
}
