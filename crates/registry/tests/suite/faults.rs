//! Networks and servers that fail: security.md, part B2.

use std::time::{Duration, Instant};

use xbuild_model::ResolvedImage;
use xbuild_registry::{Client, ClientOptions, Timeouts};
use xbuild_testkit::images::Images;
use xbuild_testkit::registry::{Action, Fault, Registry};
use xbuild_testkit::wire::Response;

use crate::fixture::{chain, client, large_base, options, platform, push, read_layer, reference};

fn blob(image: &ResolvedImage) -> String {
    image.layers[0].descriptor.digest.to_string()
}

#[test]
fn tries_again_after_server_errors() {
    for status in [429, 500, 502, 503, 504, 408, 520, 522, 524] {
        let (registry, client, image, layer) = large_base();
        let answer = Response::new(status).with("retry-after", "0").body("<html>\u{1b}[31m</html>");
        registry.fail(Fault::new("GET", "/blobs/", 3, Action::Answer(answer)));
        assert_eq!(read_layer(&client, &image, 0).unwrap(), layer, "{status}");
    }
}

#[test]
fn gives_up_in_the_end() {
    let (registry, client, image, _) = large_base();
    let before = registry.log().len();
    let answer = Response::new(503).body("<html>\u{1b}[31mbusy</html>");
    registry.fail(Fault::new("GET", "/blobs/", usize::MAX, Action::Answer(answer)));
    let error = read_layer(&client, &image, 0).unwrap_err();
    let text = chain(&*error);
    assert!(text.contains("503") && !text.contains("html"), "{text}");
    assert_eq!(registry.log().len() - before, 5);
}

#[test]
fn does_not_repeat_what_will_not_change() {
    let (registry, client, image, _) = large_base();
    let before = registry.log().len();
    let body = r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"gone \u001b[31m away"}]}"#;
    let answer = Response::new(404).body(body);
    registry.fail(Fault::new("GET", "/blobs/", usize::MAX, Action::Answer(answer)));
    let text = chain(&*read_layer(&client, &image, 0).unwrap_err());
    assert!(text.contains(r"404: BLOB_UNKNOWN: gone \u{1b}[31m away"), "{text}");
    assert_eq!(registry.log().len() - before, 1);
}

#[test]
fn resumes_a_broken_download() {
    for part in 0..16 {
        let (registry, client, image, layer) = large_base();
        let after = layer.len() * part / 16;
        registry.fail(Fault::new("GET", "/blobs/", 1, Action::CutAnswer(after)));
        assert_eq!(read_layer(&client, &image, 0).unwrap(), layer, "{after}");
        let last = registry.log().pop().unwrap();
        let range = last.header("range").map(str::to_owned);
        // Bytes in transit when the connection broke may be lost.
        assert!(part == 0 || range.is_some_and(|r| r.starts_with("bytes=")), "{after}");
    }
}

#[test]
fn resumes_where_ranges_are_ignored_or_wrong() {
    let wrong = Response::new(206).with("content-range", "bytes 399999-399999/400000").body("x");
    for fault in [Action::IgnoreRange, Action::Answer(wrong)] {
        let (registry, client, image, layer) = large_base();
        registry.fail(Fault::new("GET", "/blobs/", 1, Action::CutAnswer(300_000)));
        registry.fail(Fault::new("GET", "/blobs/", 1, fault.clone()));
        assert_eq!(read_layer(&client, &image, 0).unwrap(), layer, "{fault:?}");
    }
}

/// security.md 30 and B2 "extra bytes": a blob must have the size in its descriptor.
#[test]
fn refuses_blobs_of_another_size() {
    let (_, _, _, layer) = large_base();
    let longer = [&layer[..], b"x"].concat();
    let endless = Response { endless: true, ..Response::new(200).body(vec![b'x'; 1 << 16]) };
    for answer in [
        Response::new(200).body(longer),
        Response::new(200).body(&layer[1..]),
        Response::new(200),
        endless,
    ] {
        let (registry, client, image, _) = large_base();
        registry.fail(Fault::new("GET", "/blobs/", 9, Action::Answer(answer)));
        let text = chain(&*read_layer(&client, &image, 0).unwrap_err());
        assert!(text.contains("is not 400000 bytes long"), "{text}");
        assert!(text.contains(&blob(&image)), "{text}");
    }
}

/// security.md 33: bodies without end.
#[test]
fn bounds_documents_and_errors() {
    let endless =
        |status| Response { endless: true, ..Response::new(status).body(vec![b' '; 1 << 16]) };
    let claims = Response::new(200).with("content-length", "99999999999");
    for (answer, expected) in [
        (endless(200), "is longer than 4194304 bytes"),
        (claims, "is longer than 4194304 bytes"),
        (endless(400), "answered 400"),
        (endless(401), "authentication"),
    ] {
        let registry = Registry::start();
        registry.fail(Fault::new("GET", "/manifests/", 9, Action::Answer(answer)));
        let start = Instant::now();
        let error = client().resolve(&reference(&registry, "a"), &platform("linux/amd64"));
        let text = chain(&error.unwrap_err());
        assert!(text.contains(expected), "{text}");
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn notices_silence() {
    let (registry, _, image, _) = large_base();
    let timeouts = Timeouts {
        connect: Duration::from_millis(100),
        head: Duration::from_millis(200),
        stall: Duration::from_millis(100),
        commit: Duration::from_millis(100),
    };
    let client = Client::new(ClientOptions { timeouts, ..options() });
    let delay = Action::Delay(Duration::from_millis(600));
    registry.fail(Fault::new("GET", "/blobs/", 1, delay));
    assert_eq!(read_layer(&client, &image, 0).unwrap().len(), 400_000);
}

#[test]
fn names_a_server_that_is_not_there() {
    let registry = Registry::start();
    let reference = reference(&registry, "a");
    let host = registry.host();
    drop(registry);
    let error = client().resolve(&reference, &platform("linux/amd64")).unwrap_err();
    assert!(error.is_retryable());
    let text = chain(&error);
    assert!(text.contains(&format!("cannot connect to http://{host}/v2/a/manifests/latest")));
    assert!(text.contains("refused"), "{text}");
}

#[test]
fn resumes_a_broken_upload() {
    let big = vec![0u8; 3_000_000];
    let images = Images::new(&["linux/amd64"], &[&big]);
    for keeps_count in [true, false] {
        let registry = Registry::start();
        registry.fail(Fault::new("PUT", "/blobs/uploads/", 1, Action::CutRequest(1_000_000)));
        registry.fail(Fault::new("PATCH", "/blobs/uploads/", 1, Action::CutRequest(500_000)));
        if !keeps_count {
            let gone = Action::Answer(Response::new(404));
            registry.fail(Fault::new("GET", "/blobs/uploads/", 9, gone));
        }
        push(&images, &client_jobs(1), &[reference(&registry, "app:1")]).unwrap();
        for layer in &images.assembled.images[0].layers {
            assert!(registry.blob("app", &layer.digest).is_some());
        }
        let patches = registry.log().into_iter().filter(|r| r.method == "PATCH");
        let ranges: Vec<_> =
            patches.filter_map(|r| r.header("content-range").map(str::to_owned)).collect();
        match keeps_count {
            true => assert_eq!(ranges, ["1000000-2999999", "1500000-2999999"]),
            false => assert!(ranges.is_empty()),
        }
    }
}

fn client_jobs(jobs: usize) -> Client {
    Client::new(ClientOptions { jobs, ..options() })
}

#[test]
fn tries_uploads_and_manifests_again() {
    let images = Images::new(&["linux/amd64", "linux/arm64"], &[b"shared"]);
    let registry = Registry::start();
    let busy = || Action::Answer(Response::new(503));
    for (method, part) in
        [("HEAD", "/blobs/"), ("POST", "/uploads/"), ("PUT", "/uploads/"), ("PUT", "/manifests/")]
    {
        registry.fail(Fault::new(method, part, 3, busy()));
    }
    push(&images, &client(), &[reference(&registry, "app:1")]).unwrap();
    assert_eq!(registry.manifest("app", "1").unwrap().1, images.assembled.root().1);
}

#[test]
fn a_failed_push_moves_no_tag() {
    let images = Images::new(&["linux/amd64", "linux/arm64"], &[b"shared"]);
    for part in ["/blobs/uploads/", "/manifests/sha256:"] {
        let registry = Registry::start();
        let full = Action::Answer(Response::new(507));
        registry.fail(Fault::new("PUT", part, usize::MAX, full));
        let targets = [reference(&registry, "app:1"), reference(&registry, "app:2")];
        let text = chain(&push(&images, &client(), &targets).unwrap_err());
        assert!(text.contains("507"), "{text}");
        assert_eq!(
            registry.count("PUT", "/manifests/1") + registry.count("PUT", "/manifests/2"),
            0
        );
    }
}

#[test]
fn notices_a_manifest_stored_under_another_digest() {
    let images = Images::new(&["linux/amd64"], &[]);
    let registry = Registry::start();
    let other = Response::new(201).with("docker-content-digest", "sha256:0");
    registry.fail(Fault::new("PUT", "/manifests/", 1, Action::Answer(other)));
    let error = push(&images, &client(), &[reference(&registry, "app:1")]).unwrap_err();
    assert!(error.to_string().contains("stored manifest"), "{error}");
}
