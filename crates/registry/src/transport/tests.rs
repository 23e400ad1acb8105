//! The addresses that requests connect to.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::Resolve as _;
use reqwest::{Method, Request};
use xbuild_testkit::files::FileServer;
use xbuild_testkit::wire::Response;

use crate::error::RequestError;
use crate::options::{ClientOptions, Proxies};
use crate::transport::exchange::{Patience, Transport};
use crate::transport::names::{Names, Refused, Within};
use crate::transport::origin::Origin;
use crate::transport::reach::{Class, Reach};
use crate::transport::trail::{Trail, reach_after};

fn options(names: &[(&str, &[&str])]) -> ClientOptions {
    let addresses = names.iter().map(|(name, addresses)| {
        ((*name).to_owned(), addresses.iter().map(|text| text.parse().unwrap()).collect())
    });
    ClientOptions { addresses: addresses.collect(), ..ClientOptions::default() }
}

/// Sends a request for a URL that a server with that reach named; returns the reach of the answer.
fn send(transport: &Transport, url: &str, reach: Reach) -> Result<Reach, RequestError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url: reqwest::Url = url.parse().unwrap();
    let by = Origin::of(&"http://outside.example/".parse().unwrap()).unwrap();
    let trail = match reach {
        Reach::Any => Trail::asked(url.clone(), Origin::of(&url).unwrap()),
        reach => Trail::led("http://outside.example/x".to_owned(), &by, reach, url.clone())?,
    };
    let mut left = Duration::from_secs(5);
    let request = Request::new(Method::GET, url);
    let patience = Patience::Left(&mut left);
    let response = runtime.block_on(transport.send(request, patience, &trail))?;
    Ok(reach_after(&response))
}

#[test]
fn a_name_that_resolves_inside_is_not_connected_to() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let transport = Transport::new(Arc::new(options(&[
        ("loopback.example", &["127.0.0.1"]),
        ("mapped.example", &["::ffff:127.0.0.1"]),
        ("six.example", &["::1"]),
        ("both.example", &["127.0.0.1", "10.0.0.1"]),
        ("private.example", &["10.0.0.1"]),
        ("cloud.example", &["169.254.169.254"]),
        ("none.example", &["0.0.0.0"]),
    ])));
    for (host, address, from) in [
        ("loopback.example", "127.0.0.1", Class::Private),
        ("LOOPBACK.example.", "127.0.0.1", Class::Public),
        ("mapped.example", "::ffff:127.0.0.1", Class::Private),
        ("six.example", "::1", Class::Private),
        ("both.example", "127.0.0.1", Class::Public),
        ("private.example", "10.0.0.1", Class::Public),
        ("cloud.example", "169.254.169.254", Class::Loopback),
        ("none.example", "0.0.0.0", Class::Loopback),
        // These are told by their text.
        ("localhost", "localhost", Class::Private),
        ("localhost.", "localhost.", Class::Private),
        ("127.1", "127.0.0.1", Class::Private),
        ("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", Class::Private),
        ("169.254.169.254", "169.254.169.254", Class::Loopback),
    ] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{port}/secret?sig=SECRET");
            let error = send(&transport, &url, Reach::From(from)).unwrap_err();
            assert!(matches!(error, RequestError::Reach { .. }), "{host}: {error}");
            assert!(!error.is_retryable() && error.hint().is_some());
            let text = error.to_string();
            for part in ["http://outside.example/x points to", "/secret,", address] {
                assert!(text.contains(part), "{host}: {text}");
            }
            assert!(!text.contains("SECRET"), "{text}");
        }
    }
    assert!(listener.accept().is_err(), "nothing was connected");
}

#[test]
fn an_open_connection_is_not_used_for_a_request_with_less_reach() {
    let server = FileServer::start();
    server.answer("/f", [Response::new(200).body("x")]);
    let transport = Transport::new(Arc::new(options(&[("inside.example", &["127.0.0.1"])])));
    let url = server.url("/f").replace("127.0.0.1", "inside.example");
    let loopback = Reach::From(Class::Loopback);
    // The user may name it, and it is known then where it is.
    assert_eq!(send(&transport, &url, Reach::Any).unwrap(), loopback);
    assert_eq!(send(&transport, &url, loopback).unwrap(), loopback);
    let error = send(&transport, &url, Reach::From(Class::Private)).unwrap_err();
    assert!(matches!(error, RequestError::Reach { .. }), "{error}");
    assert_eq!(server.log().len(), 2);
}

#[test]
fn addresses_out_of_reach_are_left_out() {
    let addresses: &[&str] = &["10.0.0.1", "1.1.1.1", "::1", "2606:4700::1111"];
    let names = Arc::new(Names::new(&options(&[("a.example", addresses)])));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (reach, expected) in [
        (Reach::From(Class::Public), &["1.1.1.1", "2606:4700::1111"][..]),
        (Reach::From(Class::Private), &["10.0.0.1", "1.1.1.1", "2606:4700::1111"]),
        (Reach::Any, addresses),
    ] {
        let within = Within { names: Arc::clone(&names), reach };
        let found = runtime.block_on(within.resolve("a.example".parse().unwrap()));
        let found: Vec<IpAddr> = found.unwrap().map(|address| address.ip()).collect();
        let expected: Vec<IpAddr> = expected.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(found, expected, "{reach:?}");
    }
    assert!(Refused { address: Ipv4Addr::LOCALHOST.into() }.to_string().contains("127.0.0.1"));
}

#[test]
fn a_proxy_may_be_anywhere_and_hides_where_others_are() {
    let proxy = FileServer::start();
    proxy.answer("http://a.example/f", [Response::new(200).body("x")]);
    let names = options(&[("proxy.example", &["127.0.0.1"])]);
    let http = Some(proxy.url("").replace("127.0.0.1", "proxy.example"));
    let proxies = Proxies { http, ..Proxies::default() };
    let transport = Transport::new(Arc::new(ClientOptions { proxies, ..names }));
    let outside = Reach::From(Class::Public);
    assert_eq!(send(&transport, "http://a.example/f", outside).unwrap(), outside);
    assert_eq!(send(&transport, "http://a.example/f", Reach::Any).unwrap(), outside);
    for url in ["http://10.0.0.1/f", "http://localhost./f", "http://[fd00::1]/f"] {
        let error = send(&transport, url, outside).unwrap_err();
        assert!(matches!(error, RequestError::Reach { .. }), "{url}: {error}");
    }
    // The proxy itself is no way in: its own name is reached as any other.
    let own = proxy.url("/f").replace("127.0.0.1", "proxy.example").replace("http:", "https:");
    let error = send(&transport, &own, outside).unwrap_err();
    assert!(matches!(error, RequestError::Reach { .. }), "{error}");
    assert_eq!(proxy.log().len(), 2);
}

#[test]
fn a_connection_that_fails_says_why_in_one_line() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let transport = Transport::new(Arc::new(options(&[])));
    let why = |host: &str| {
        let url = format!("http://{host}:{port}/");
        let error = send(&transport, &url, Reach::Any).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot connect to {url}"));
        let cause = std::error::Error::source(&error).unwrap();
        assert!(cause.source().is_none(), "{cause:?}");
        cause.to_string()
    };
    assert_eq!(why("127.0.0.1"), "Connection refused (os error 111)");
    let unknown = why("nobody.invalid");
    // A machine without a network has no server of names to ask.
    assert!(
        unknown == "no host has the name nobody.invalid"
            || unknown.starts_with("the name nobody.invalid cannot be looked up: "),
        "{unknown}"
    );
    assert!(!unknown.contains("Query {"), "{unknown}");
}
