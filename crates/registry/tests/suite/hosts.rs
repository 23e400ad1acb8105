//! The options of single registries: TLS or not, certificates, mirrors, headers, sizes.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use xbuild_registry::{
    Client, ClientCertificate, ClientOptions, Credential, Credentials, HostOptions, Mirror,
    PrefixMirror, PrefixRule, RegistryWarning, Secret,
};
use xbuild_testkit::images::Images;
use xbuild_testkit::registry::{Action, Fault, Login, Registry};
use xbuild_testkit::wire::Response;

use crate::fixture::{chain, options, platform, push, put_image, read_layer, reference};
use crate::tls::TlsServer;

fn base() -> Registry {
    let registry = Registry::start();
    put_image(&registry, "base", "latest", "linux/amd64", &[b"layer"]);
    registry
}

fn login(password: &str) -> Credential {
    Credential::Basic { user: "user".to_owned(), password: Secret::new(password) }
}

/// A registry with TLS, and its certificate.
fn with_tls(registry: &Registry, name: &str) -> (TlsServer, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let server = TlsServer::start(&certificate, &key, registry.address());
    (server, certificate.pem().into_bytes())
}

fn pull(client: &Client, host: &str) -> Result<Vec<u8>, String> {
    let image = format!("{host}/base").parse().unwrap();
    let image = client.resolve(&image, &platform("linux/amd64")).map_err(|error| chain(&error))?;
    read_layer(client, &image, 0).map_err(|error| chain(&*error))
}

fn of(host: &str, host_options: HostOptions) -> BTreeMap<String, HostOptions> {
    [(host.to_owned(), host_options)].into()
}

/// Plain HTTP is only the first guess for a registry on this machine.
#[test]
fn tls_on_loopback_is_tried() {
    let registry = base();
    let (server, pem) = with_tls(&registry, "127.0.0.1");
    let host = format!("127.0.0.1:{}", server.port());
    registry.require(Login::Basic("user".to_owned(), "pass".to_owned()));
    let credentials = Credentials::default().with(&host, login("pass"));
    let trusting = ClientOptions {
        credentials: credentials.clone(),
        hosts: of(&host, HostOptions { roots: vec![pem], ..HostOptions::default() }),
        ..options()
    };
    let client = Client::new(trusting);
    assert_eq!(pull(&client, &host).unwrap(), b"layer");
    let images = Images::new(&["linux/amd64"], &[b"x"]);
    push(&images, &client, &[format!("{host}/app:1").parse().unwrap()]).unwrap();
    // A certificate that is not trusted is told as such.
    let client = Client::new(ClientOptions { credentials, ..options() });
    let text = pull(&client, &host).unwrap_err();
    assert!(text.contains("no secure connection") && text.contains("certificate"), "{text}");
}

/// A registry that is named for it needs no valid certificate, and no TLS.
#[test]
fn an_insecure_registry_is_spoken_to_as_it_can() {
    let registry = base();
    let (server, _) = with_tls(&registry, "other.example");
    let insecure = HostOptions { insecure: true, ..HostOptions::default() };
    let plain = format!("0.0.0.0:{}", registry.address().port());
    for host in [format!("0.0.0.0:{}", server.port()), plain.clone()] {
        assert!(pull(&Client::new(options()), &host).is_err(), "{host}");
        let hosts = of(&host, insecure.clone());
        let client = Client::new(ClientOptions { hosts, ..options() });
        assert_eq!(pull(&client, &host).unwrap(), b"layer", "{host}");
    }
    // A login goes over plain HTTP only if that is allowed as well.
    registry.require(Login::Basic("user".to_owned(), "pass".to_owned()));
    for insecure_credentials in [false, true] {
        let hosts = of(&plain, HostOptions { insecure_credentials, ..insecure.clone() });
        let credentials = Credentials::default().with(&plain, login("pass"));
        let client = Client::new(ClientOptions { hosts, credentials, ..options() });
        assert_eq!(pull(&client, &plain).is_ok(), insecure_credentials);
    }
}

#[test]
fn mirrors_come_first_and_any_failure_falls_through() {
    let registry = base();
    let host = registry.host();
    let mirror = Registry::start();
    put_image(&mirror, "hub/base", "latest", "linux/amd64", &[b"layer"]);
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&warnings);
    let client = |place: &str| {
        let mirrors = vec![Mirror::parse(place)];
        let all = Arc::clone(&all);
        Client::new(ClientOptions {
            hosts: of(&host, HostOptions { mirrors, ..HostOptions::default() }),
            credentials: Credentials::default()
                .with(&host, login("SECRET"))
                .with(&mirror.host(), login("pass")),
            on_warning: Some(Arc::new(move |warning: &RegistryWarning| {
                all.lock().unwrap().push(warning.to_string());
            })),
            ..options()
        })
    };
    let place = format!("{}/hub", mirror.host());
    // The mirror has a login of its own.
    mirror
        .require(Login::Token { realm: None, user: Some(("user".to_owned(), "pass".to_owned())) });
    assert_eq!(pull(&client(&place), &host).unwrap(), b"layer");
    assert!(registry.log().is_empty());
    // "user:SECRET"
    assert!(mirror.log().iter().all(|request| {
        request.header("authorization").is_none_or(|text| !text.contains("dXNlcjpTRUNSRVQ="))
    }));
    assert!(warnings.lock().unwrap().is_empty());
    // Failures of all kinds.
    for (part, answer) in [
        ("/manifests/", Response::new(404)),
        ("/manifests/", Response::new(401)),
        ("/manifests/", Response::new(500)),
        ("/blobs/", Response::new(404)),
        ("/blobs/", Response::new(503)),
        ("/blobs/", Response::new(200).body("another document")),
        ("/blobs/", Response::new(302)),
    ] {
        let before = registry.log().len();
        mirror.fail(Fault::new("GET", part, 1, Action::Answer(answer.clone())));
        let pulled = pull(&client(&place), &host);
        assert_eq!(pulled.as_deref(), Ok(&b"layer"[..]), "{part} {answer:?}");
        assert!(registry.log().len() > before);
    }
    // Nobody listens there any more.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    warnings.lock().unwrap().clear();
    assert_eq!(pull(&client(&address), &host).unwrap(), b"layer");
    let warnings = warnings.lock().unwrap().clone();
    assert!(warnings.len() == 1 && warnings[0].contains(&address), "{warnings:?}");
}

/// A portal page, a failure that says 200, and what is no image any more.
#[test]
fn a_mirror_that_answers_a_tag_with_something_else_falls_through() {
    let registry = base();
    let host = registry.host();
    let schema_1 = r#"{"schemaVersion":1,"name":"base","tag":"latest","fsLayers":[]}"#;
    for (media_type, body, said) in [
        ("text/html", "<html>log in</html>", "invalid JSON"),
        ("application/json", r#"{"errors":[]}"#, "neither a manifest nor an index"),
        ("application/vnd.docker.distribution.manifest.v1+json", schema_1, "schema 1"),
    ] {
        let mirror = base();
        let answer = Response::new(200).with("content-type", media_type).body(body);
        mirror.fail(Fault::new("GET", "/manifests/latest", usize::MAX, Action::Answer(answer)));
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&warnings);
        let mirrors = vec![Mirror::parse(&mirror.host())];
        let client = Client::new(ClientOptions {
            hosts: of(&host, HostOptions { mirrors, ..HostOptions::default() }),
            on_warning: Some(Arc::new(move |warning: &RegistryWarning| {
                all.lock().unwrap().push(warning.to_string());
            })),
            ..options()
        });
        assert_eq!(pull(&client, &host).as_deref(), Ok(&b"layer"[..]), "{body}");
        let warnings = warnings.lock().unwrap().clone();
        assert!(warnings.len() == 1, "{warnings:?}");
        let [own, name] = [mirror.host(), format!("{host}/base:latest")];
        let all = [own.as_str(), &name, "is not usable", said];
        assert!(all.iter().all(|text| warnings[0].contains(text)), "{warnings:?}");
    }
}

/// A mirror that has another document under a digest is told as well.
#[test]
fn a_mirror_with_another_document_is_told() {
    let registry = base();
    let mirror = base();
    let answer = Response::new(200).body("another document");
    mirror.fail(Fault::new("GET", "/blobs/", 1, Action::Answer(answer)));
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&warnings);
    let mirrors = vec![Mirror::parse(&mirror.host())];
    let client = Client::new(ClientOptions {
        hosts: of(&registry.host(), HostOptions { mirrors, ..HostOptions::default() }),
        on_warning: Some(Arc::new(move |warning: &RegistryWarning| {
            all.lock().unwrap().push(warning.to_string());
        })),
        ..options()
    });
    assert_eq!(pull(&client, &registry.host()).as_deref(), Ok(&b"layer"[..]));
    let warnings = warnings.lock().unwrap().clone();
    assert!(warnings.len() == 1 && warnings[0].contains("the digest is"), "{warnings:?}");
}

#[test]
fn headers_and_sizes_are_those_of_one_registry() {
    let (registry, other) = (base(), base());
    let host = registry.host();
    let particular = HostOptions {
        headers: vec![("X-Token".to_owned(), Secret::new("SECRET"))],
        chunk: Some(100_000),
        ..HostOptions::default()
    };
    let client = Client::new(ClientOptions { hosts: of(&host, particular), ..options() });
    // A redirect to another server loses the header.
    let to = Action::Redirect(307, format!("http://{}", other.host()));
    registry.fail(Fault::new("GET", "/blobs/", 9, to));
    assert_eq!(pull(&client, &host).unwrap(), b"layer");
    let images = Images::new(&["linux/amd64"], &[&vec![7; 350_000]]);
    for registry in [&registry, &other] {
        push(&images, &client, &[reference(registry, "app:1")]).unwrap();
    }
    assert!(registry.log().iter().all(|request| request.header("x-token") == Some("SECRET")));
    assert!(other.log().iter().all(|request| request.header("x-token").is_none()));
    assert_eq!((registry.count("PATCH", "/uploads/"), other.count("PATCH", "/uploads/")), (4, 0));
}

/// An authority, and a certificate of a client that it has signed.
fn client_certificate(name: &str) -> (rcgen::Certificate, ClientCertificate) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, &key);
    let client_key = KeyPair::generate().unwrap();
    let client = CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
    let chain = client.signed_by(&client_key, &issuer).unwrap().pem().into_bytes();
    (authority, ClientCertificate { chain, key: client_key.serialize_pem().into_bytes() })
}

#[test]
fn a_registry_that_asks_for_a_certificate_gets_that_of_its_options() {
    let registry = base();
    let (authority, own) = client_certificate("authority.example");
    let (_, foreign) = client_certificate("other.example");
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let server = TlsServer::start_for(&certificate, &key, registry.address(), Some(&authority));
    let host = format!("127.0.0.1:{}", server.port());
    let client = |client_certificate| {
        let roots = vec![certificate.pem().into_bytes()];
        let host_options = HostOptions { roots, client_certificate, ..HostOptions::default() };
        Client::new(ClientOptions { hosts: of(&host, host_options), ..options() })
    };
    assert_eq!(pull(&client(Some(own.clone())), &host).unwrap(), b"layer");
    let images = Images::new(&["linux/amd64"], &[b"x"]);
    push(&images, &client(Some(own)), &[format!("{host}/app:1").parse().unwrap()]).unwrap();
    for refused in [None, Some(foreign)] {
        assert!(pull(&client(refused), &host).is_err());
    }
    let broken = ClientCertificate { chain: b"x".to_vec(), key: b"y".to_vec() };
    let text = pull(&client(Some(broken)), &host).unwrap_err();
    assert!(text.contains("client certificate"), "{text}");
}

#[test]
fn prefixes_lead_repositories_elsewhere() {
    let (registry, mirror) = (base(), Registry::start());
    let image = put_image(&mirror, "m/base", "latest", "linux/amd64", &[b"layer"]);
    let rule = |prefix: &str, location: Option<&str>, mirrors: &[(&str, bool, bool)]| PrefixRule {
        prefix: prefix.to_owned(),
        location: location.map(Mirror::parse),
        mirrors: mirrors
            .iter()
            .map(|(place, for_tags, for_digests)| PrefixMirror {
                place: Mirror::parse(place),
                for_tags: *for_tags,
                for_digests: *for_digests,
            })
            .collect(),
        is_blocked: false,
    };
    let with = |rules: Vec<PrefixRule>| Client::new(ClientOptions { prefixes: rules, ..options() });
    let (own, other) = (registry.host(), mirror.host());
    // The longest prefix counts.
    let wide = rule("nowhere.invalid", Some("also.invalid"), &[]);
    let long = rule("nowhere.invalid/team", Some(&own), &[]);
    assert_eq!(pull(&with(vec![wide, long]), "nowhere.invalid/team").unwrap(), b"layer");
    let all = rule("*.invalid", Some(&own), &[]);
    assert_eq!(pull(&with(vec![all]), "nowhere.invalid").unwrap(), b"layer");
    // Mirrors of a rule, for digests alone: the tag is asked for at the registry.
    let digests = rule(&own, None, &[(&format!("{other}/m"), false, true)]);
    let client = with(vec![digests.clone()]);
    let before = registry.count("GET", "/blobs/");
    assert_eq!(pull(&client, &own).unwrap(), b"layer");
    assert_eq!((mirror.count("GET", "/manifests/"), registry.count("GET", "/blobs/")), (0, before));
    let name = format!("{own}/base@{}", image.digest).parse().unwrap();
    with(vec![digests]).resolve(&name, &platform("linux/amd64")).unwrap();
    assert_eq!(mirror.count("GET", "/manifests/"), 1);
    // Nothing is asked of what is blocked.
    let asked = registry.log().len();
    let blocked = PrefixRule { is_blocked: true, ..rule(&own, None, &[]) };
    let client = with(vec![blocked]);
    let text = pull(&client, &own).unwrap_err();
    assert!(text.contains("is blocked by registries.conf"), "{text}");
    let images = Images::new(&["linux/amd64"], &[b"x"]);
    let text = chain(&push(&images, &client, &[reference(&registry, "a:1")]).unwrap_err());
    assert!(text.contains("is blocked by registries.conf"), "{text}");
    assert_eq!(registry.log().len(), asked);
}
