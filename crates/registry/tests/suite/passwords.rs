//! Passwords in URLs: of proxies, mirrors, realms and redirects. No message has them.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use xbuild_registry::{Client, ClientOptions, HostOptions, Mirror, Proxies, RegistryWarning};
use xbuild_testkit::registry::{Action, Fault, Registry};
use xbuild_testkit::wire::Response;

use crate::fixture::{base, chain, client, options, platform, pull};

/// The error of a pull from a registry behind a proxy.
fn behind(proxy: &str, insecure: bool) -> String {
    let insecure = if insecure { ["r.example".to_owned()].into() } else { Default::default() };
    let proxy = Some(proxy.to_owned());
    let proxies = Proxies { http: proxy.clone(), https: proxy, bypass: String::new() };
    let client = Client::new(ClientOptions { proxies, insecure, ..options() });
    let asked = "r.example/a".parse().unwrap();
    let error = client.resolve(&asked, &platform("linux/amd64")).unwrap_err();
    let text = format!("{} {error:?}", chain(&error));
    assert!(!text.contains("SECRET"), "{text}");
    text
}

#[test]
fn a_proxy_that_fails_is_named() {
    // Nobody listens there any more.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // It is no proxy: a tunnel is a 404 there.
    let odd = Registry::start();
    for (proxy, insecure) in
        [(gone.to_string(), false), (gone.to_string(), true), (odd.host(), false)]
    {
        for scheme in ["http://", ""] {
            let text = behind(&format!("{scheme}user:SECRET@{proxy}"), insecure);
            let named = format!("r.example/v2/a/manifests/latest through the proxy http://{proxy}");
            assert!(text.contains("cannot connect to http"), "{text}");
            assert!(text.contains(&named), "{text}");
        }
    }
}

#[test]
fn a_proxy_of_another_kind_is_refused_by_name() {
    for scheme in ["socks5", "socks5h", "socks4"] {
        let text = behind(&format!("{scheme}://user:SECRET@p.example:1080"), false);
        assert!(text.contains(&format!("the proxy {scheme}://p.example:1080")), "{text}");
        assert!(text.contains("SOCKS is not supported"), "{text}");
    }
    let text = behind("http://user:SECRET@p example", true);
    assert!(text.contains("the proxy of HTTP_PROXY cannot be used: it is not a URL"), "{text}");
}

#[test]
fn a_mirror_with_a_login_in_its_name_is_passed_over_and_said() {
    let registry = base();
    for place in ["user:SECRET@m.example", "http://user:SECRET@m.example", "u:SEC/RET@m.example"] {
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&warnings);
        let mirrors = vec![Mirror::parse(place)];
        let client = Client::new(ClientOptions {
            hosts: [(registry.host(), HostOptions { mirrors, ..HostOptions::default() })].into(),
            on_warning: Some(Arc::new(move |warning: &RegistryWarning| {
                all.lock().unwrap().push(warning.to_string());
            })),
            ..options()
        });
        assert_eq!(pull(&client, &registry).as_deref(), Ok(&b"layer"[..]));
        let warnings = warnings.lock().unwrap().clone();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let is_named = warnings[0].contains("m.example") && warnings[0].contains("its name is not");
        assert!(is_named && !warnings[0].contains("SEC"), "{warnings:?}");
    }
}

#[test]
fn a_server_that_names_a_password_is_refused_without_it() {
    let challenge = |realm: &str| {
        Response::new(401).with("www-authenticate", format!(r#"Bearer realm="{realm}""#))
    };
    for answer in [
        challenge("http://user:SECRET@a b/token"),
        challenge("http://user:SECRET@127.0.0.1/token"),
        challenge("user:SECRET@host/token"),
        Response::new(302).with("location", "http://user:SECRET@127.0.0.1/x"),
        Response::new(302).with("location", "http://user:SECRET@a b/x"),
    ] {
        let registry = base();
        registry.fail(Fault::new("GET", "/manifests/", 9, Action::Answer(answer.clone())));
        let text = pull(&client(), &registry).unwrap_err();
        assert!(!text.contains("SECRET"), "{answer:?}: {text}");
    }
}
