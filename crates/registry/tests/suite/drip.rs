//! Servers that always send a little, and never finish.

use std::time::{Duration, Instant};

use xbuild_registry::{Client, ClientOptions, Credentials, DownloadRequest, Timeouts};
use xbuild_testkit::files::FileServer;
use xbuild_testkit::images::Images;
use xbuild_testkit::registry::{Action, Fault, Login, Registry};
use xbuild_testkit::wire::{Drip, Response};

use crate::fixture::{chain, options, platform, push, put_image, read_layer, reference};

/// The time for a head, and for a KiB a second.
const TIME: Duration = Duration::from_millis(300);
/// The pause before each byte.
const PAUSE: Duration = Duration::from_millis(20);

fn client() -> Client {
    let timeouts = Timeouts { connect: TIME, head: TIME, stall: TIME, commit: TIME };
    Client::new(ClientOptions { timeouts, ..options() })
}

/// An answer whose head or body takes ten seconds.
fn slow(status: u16, drip: Drip) -> Response {
    let padding = "x".repeat(500);
    Response::new(status).with("x-padding", &padding).body(padding).drip(drip)
}

fn download(client: &Client, url: &str) -> Result<Vec<u8>, String> {
    let request = DownloadRequest { url, authorization: None, known: None };
    let got = client.download(&request, || Ok(Vec::new())).map_err(|error| chain(&error))?;
    Ok(got.unwrap().file)
}

/// Checks that the second attempt was the last, and that both took no more time than they may.
#[track_caller]
fn is_given_up(attempts: usize, begin: Instant) {
    assert_eq!(attempts, 2);
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
}

#[test]
fn a_registry_that_drips_is_given_up() {
    let images = Images::new(&["linux/amd64"], &[b"layer"]);
    let head = || slow(200, Drip::Head(PAUSE));
    for (method, part, answer, expected) in [
        ("GET", "/manifests/", head(), "sent no whole head of an answer"),
        ("GET", "/manifests/", slow(200, Drip::Body(PAUSE)), "sent no whole document"),
        ("GET", "/blobs/", head(), "sent no whole head of an answer"),
        ("GET", "/token", head(), "sent no whole head of an answer"),
        ("GET", "/token", slow(200, Drip::Body(PAUSE)), "sent no whole document"),
        ("POST", "/blobs/uploads/", head(), "sent no whole head of an answer"),
        ("PUT", "/blobs/uploads/", head(), "sent no whole answer to an upload"),
        ("PUT", "/manifests/", head(), "sent no whole head of an answer"),
    ] {
        let registry = Registry::start();
        put_image(&registry, "base", "latest", "linux/amd64", &[b"layer"]);
        if part == "/token" {
            registry.require(Login::Token { realm: None, user: None });
        }
        registry.fail(Fault::new(method, part, usize::MAX, Action::Answer(answer)));
        let begin = Instant::now();
        let client = client();
        let base = reference(&registry, "base");
        let pulled = || {
            let image = client.resolve(&base, &platform("linux/amd64")).map_err(|e| chain(&e))?;
            read_layer(&client, &image, 0).map_err(|error| chain(&*error))
        };
        let text = match method {
            "GET" => pulled().unwrap_err(),
            _ => chain(&push(&images, &client, &[reference(&registry, "app:1")]).unwrap_err()),
        };
        assert!(text.contains(expected), "{method} {part}: {text}");
        // The image has three blobs, which are pushed at the same time.
        let blobs = if part == "/blobs/uploads/" { 3 } else { 1 };
        let asked = registry.count(method, part);
        assert!(asked <= 2 * blobs, "{method} {part}: {asked}");
        assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    }
}

#[test]
fn a_blob_that_drips_is_given_up() {
    let registry = Registry::start();
    let layer = vec![7; 100_000];
    put_image(&registry, "base", "latest", "linux/amd64", &[&layer]);
    let client = client();
    let image = client.resolve(&reference(&registry, "base"), &platform("linux/amd64")).unwrap();
    let drips = Response::new(200).body(layer).drip(Drip::Body(PAUSE));
    registry.fail(Fault::new("GET", "/blobs/", usize::MAX, Action::Answer(drips)));
    let begin = Instant::now();
    let text = chain(&*read_layer(&client, &image, 0).unwrap_err());
    assert!(text.contains("sent next to nothing of a file"), "{text}");
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
}

#[test]
fn a_web_server_that_drips_is_given_up() {
    for (answer, expected) in [
        (slow(200, Drip::Head(PAUSE)), "sent no whole head of an answer"),
        (slow(302, Drip::Head(PAUSE)), "sent no whole head of an answer"),
        (slow(200, Drip::Body(PAUSE)), "sent next to nothing of a file"),
    ] {
        let server = FileServer::start();
        server.answer("/f", [answer]);
        let begin = Instant::now();
        let text = download(&client(), &server.url("/f")).unwrap_err();
        assert!(text.contains(expected), "{text}");
        is_given_up(server.log().len(), begin);
    }
}

#[test]
fn redirects_gain_no_time() {
    let server = FileServer::start();
    for hop in 0..10 {
        let next = Response::new(302).with("location", format!("/{}", hop + 1));
        // About 50 bytes, so each hop takes at least 100 ms.
        server.answer(&format!("/{hop}"), [next.drip(Drip::Head(Duration::from_millis(2)))]);
    }
    server.answer("/10", [Response::new(200).body("there")]);
    let text = download(&client(), &server.url("/0")).unwrap_err();
    assert!(text.contains("sent no whole head of an answer"), "{text}");
    assert!(server.log().iter().all(|request| request.target != "/10"));
}

#[test]
fn the_explanation_of_a_failure_is_not_waited_for() {
    let registry = Registry::start();
    registry.fail(Fault::new(
        "GET",
        "/manifests/",
        1,
        Action::Answer(slow(403, Drip::Body(PAUSE))),
    ));
    let begin = Instant::now();
    let credentials = Credentials::default();
    let timeouts = Timeouts { connect: TIME, ..options().timeouts };
    let client = Client::new(ClientOptions { credentials, timeouts, ..options() });
    let error = client.resolve(&reference(&registry, "a"), &platform("linux/amd64"));
    assert!(chain(&error.unwrap_err()).contains("403"));
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}
