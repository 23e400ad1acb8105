//! Registries that serve parts of a blob in their own way.

use xbuild_model::ResolvedImage;
use xbuild_registry::Client;
use xbuild_testkit::registry::{Action, Fault, Registry};
use xbuild_testkit::wire::Response;

use crate::fixture::{chain, client, large_base, platform, put_image, read_layer, reference};

const CUT: usize = 300_000;

/// The same as [`large_base`], but the first answer with the layer is cut off.
fn base() -> (Registry, Client, ResolvedImage, Vec<u8>) {
    let base = large_base();
    base.0.fail(Fault::new("GET", "/blobs/", 1, Action::CutAnswer(CUT)));
    base
}

#[test]
fn a_range_that_is_refused_is_asked_for_in_another_way() {
    for status in [400, 416, 500, 501] {
        for refusals in [1, 2] {
            let (registry, client, image, layer) = base();
            let refused = Action::Answer(Response::new(status));
            registry.fail(Fault::new("GET", "/blobs/", refusals, refused));
            assert_eq!(read_layer(&client, &image, 0).unwrap(), layer, "{status} {refusals}");
            let log = registry.log();
            let range = log.last().unwrap().header("range");
            let closed = range.is_some_and(|range| range.ends_with("-399999"));
            assert_eq!((closed, range.is_none()), (refusals == 1, refusals == 2), "{range:?}");
        }
        // If the whole is refused as well, that is the error.
        let (registry, client, image, _) = base();
        let refused = Action::Answer(Response::new(status));
        registry.fail(Fault::new("GET", "/blobs/", usize::MAX, refused));
        let text = chain(&*read_layer(&client, &image, 0).unwrap_err());
        assert!(text.contains(&format!("answered {status}")), "{text}");
    }
}

/// Stores refuse ranges with statuses that mean something else, too.
#[test]
fn the_whole_is_asked_for_before_a_blob_is_given_up() {
    let (registry, client, image, layer) = base();
    registry.fail(Fault::new("GET", "/blobs/", 1, Action::Answer(Response::new(403))));
    assert_eq!(read_layer(&client, &image, 0).unwrap(), layer);
    assert!(registry.log().last().unwrap().header("range").is_none());
    // With the request for the configuration, and the one whose answer is cut off.
    for (status, requests) in [(403, 4), (404, 3)] {
        let (registry, client, image, _) = base();
        let no = Action::Answer(Response::new(status));
        registry.fail(Fault::new("GET", "/blobs/", usize::MAX, no));
        read_layer(&client, &image, 0).unwrap_err();
        assert_eq!(registry.count("GET", "/blobs/"), requests, "{status}");
    }
}

#[test]
fn a_part_that_is_not_the_one_asked_for_does_not_count() {
    let (_, _, _, layer) = base();
    let part = |range: &str| Response::new(206).with("content-range", range);
    for odd in [
        Response::new(206).body(&layer[CUT..]),
        part("bytes 399999-399999/400000").body("x"),
        part("bytes 0-9/400000").body(&layer[..10]),
        part("lines 1-2").body("x"),
        part("bytes 9-1/400000").body("x"),
        part("bytes */400000").body("x"),
        part("bytes 18446744073709551615-18446744073709551615/*").body("x"),
        Response::new(204),
    ] {
        let (registry, client, image, layer) = base();
        registry.fail(Fault::new("GET", "/blobs/", 1, Action::Answer(odd.clone())));
        assert_eq!(read_layer(&client, &image, 0).unwrap(), layer, "{odd:?}");
    }
}

#[test]
fn a_server_may_send_less_than_was_asked_for() {
    let (registry, client, image, layer) = base();
    for begin in [CUT, CUT + 50_000] {
        let end = begin + 50_000;
        let range = format!("bytes {begin}-{}/400000", end - 1);
        let part = Response::new(206).with("content-range", range).body(&layer[begin..end]);
        registry.fail(Fault::new("GET", "/blobs/", 1, Action::Answer(part)));
    }
    // The connection may have broken before the byte at which the first part begins.
    assert_eq!(read_layer(&client, &image, 0).unwrap(), layer);
}

/// An answer without a length that ends early, and one of another length, are asked for once more.
#[test]
fn a_body_of_another_size_is_fetched_once_more() {
    let (_, _, _, layer) = base();
    let endless = Response { endless: true, ..Response::new(200).body(vec![b'x'; 1 << 16]) };
    let longer = [&layer[..], b"x"].concat();
    for odd in [Response::new(200).body(&layer[..7]), Response::new(200).body(longer), endless] {
        for times in [1, 9] {
            let (registry, client, image, layer) = base();
            // The cut of `base` would come first.
            let _ = read_layer(&client, &image, 0);
            registry.fail(Fault::new("GET", "/blobs/", times, Action::Answer(odd.clone())));
            let read = read_layer(&client, &image, 0);
            match times {
                1 if odd.endless => {}
                1 => assert_eq!(read.unwrap(), layer),
                _ => {
                    let text = chain(&*read.unwrap_err());
                    assert!(text.contains("is not 400000 bytes long"), "{text}");
                }
            }
        }
    }
}

#[test]
fn a_document_that_does_not_verify_is_fetched_once_more() {
    for part in ["/manifests/", "/blobs/"] {
        for times in [1, 9] {
            let registry = Registry::start();
            put_image(&registry, "base", "latest", "linux/amd64", &[b"x"]);
            let half = Action::Answer(Response::new(200).body(r#"{"schemaVersion":2,"#));
            registry.fail(Fault::new("GET", part, times, half));
            let image = client().resolve(&reference(&registry, "base"), &platform("linux/amd64"));
            assert_eq!(image.is_ok(), times == 1, "{part}: {image:?}");
            assert!(registry.count("GET", part) <= 3);
        }
    }
}
