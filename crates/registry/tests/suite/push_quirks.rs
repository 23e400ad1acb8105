//! Registries that take images in their own way.

use xbuild_model::Descriptor;
use xbuild_registry::{Client, ClientOptions, PushError};
use xbuild_testkit::images::Images;
use xbuild_testkit::registry::{Action, Fault, Login, Registry, Rules};
use xbuild_testkit::wire::{Request, Response};

use crate::fixture::{chain, client, client_of, options, push, reference};

fn small() -> Images {
    Images::new(&["linux/amd64", "linux/arm64"], &[b"shared"])
}

/// Checks that the registry has the images under the tag `1` of `app`.
#[track_caller]
fn is_whole(registry: &Registry, images: &Images) {
    assert_eq!(registry.manifest("app", "1").unwrap().1, images.assembled.root().1);
    for blob in images.assembled.blobs() {
        assert!(registry.blob("app", &blob.digest).is_some(), "{}", blob.digest);
    }
}

#[test]
fn writes_follow_redirects() {
    let images = small();
    for status in [307, 308] {
        for (method, part) in [
            ("POST", "/blobs/uploads/"),
            ("PUT", "/blobs/uploads/"),
            ("PUT", "/manifests/sha256"),
            ("PUT", "/manifests/1"),
            ("HEAD", "/blobs/"),
        ] {
            let registry = Registry::start();
            registry.require(Login::Basic("user".to_owned(), "pass".to_owned()));
            registry.fail(Fault::new(method, part, 1, Action::Redirect(status, String::new())));
            push(&images, &client_of(&registry), &[reference(&registry, "app:1")])
                .unwrap_or_else(|error| panic!("{status} {method} {part}: {}", chain(&error)));
            is_whole(&registry, &images);
        }
    }
    // 301 to 303 would make a GET of it.
    let registry = Registry::start();
    registry.fail(Fault::new("POST", "/uploads/", 9, Action::Redirect(302, String::new())));
    let error = push(&images, &client(), &[reference(&registry, "app:1")]).unwrap_err();
    assert!(chain(&error).contains("answered 302"), "{}", chain(&error));
}

/// An upload that another server of this machine takes: a relative Location counts from there, and no
/// login goes there.
#[test]
fn uploads_may_be_redirected_to_another_server() {
    let images = Images::new(&["linux/amd64"], &[b"x"]);
    let (registry, other) = (Registry::start(), Registry::start());
    registry.require(Login::Basic("user".to_owned(), "pass".to_owned()));
    let to = Action::Redirect(307, format!("http://{}", other.host()));
    registry.fail(Fault::new("POST", "/blobs/uploads/", 99, to));
    push(&images, &client_of(&registry), &[reference(&registry, "app:1")]).unwrap();
    for blob in images.assembled.blobs() {
        assert!(other.blob("app", &blob.digest).is_some());
    }
    assert!(other.log().iter().all(|request| request.header("authorization").is_none()));
}

/// A registry that wants the bytes in a PATCH, as container engines send them.
#[test]
fn blobs_go_in_a_patch_where_the_put_may_have_no_body() {
    for status in [400, 404, 405, 501] {
        for chunk in [None, Some(4)] {
            let images = small();
            let registry = Registry::start();
            registry.rules(Rules { no_whole_put: Some(status), chunk, ..Rules::default() });
            let client = Client::new(ClientOptions { jobs: 1, ..options() });
            for tag in ["app:1", "other:1"] {
                push(&images, &client, &[reference(&registry, tag)])
                    .unwrap_or_else(|error| panic!("{status} {chunk:?}: {}", chain(&error)));
            }
            is_whole(&registry, &images);
            let (refused, patches): (Vec<_>, Vec<_>) = registry
                .log()
                .into_iter()
                .filter(|request| request.target.contains("/uploads/") && !request.body.is_empty())
                .partition(|request| request.method == "PUT");
            // It is found out once.
            assert_eq!(refused.len(), usize::from(chunk.is_none()), "{status}");
            let has_range = |request: &Request| request.header("content-range").is_some();
            assert_eq!(patches.iter().any(has_range), chunk.is_some(), "{status}");
        }
    }
    // Where neither is taken, the reason is told.
    let registry = Registry::start();
    registry.rules(Rules { no_whole_put: Some(400), ..Rules::default() });
    let full = Response::new(400).body(r#"{"errors":[{"code":"QUOTA","message":"full"}]}"#);
    registry.fail(Fault::new("PATCH", "/uploads/", usize::MAX, Action::Answer(full)));
    let error = push(&small(), &client(), &[reference(&registry, "app:1")]).unwrap_err();
    assert!(chain(&error).contains("QUOTA: full"), "{}", chain(&error));
}

#[test]
fn blobs_go_in_chunks_where_they_are_too_large() {
    let big: Vec<u8> = (0..1_000_000u32).map(|i| (i / 7 % 253) as u8).collect();
    let images = Images::new(&["linux/amd64"], &[&big]);
    for (rules, whole) in [
        (Rules { max_body: Some(200_000), ..Rules::default() }, 1..=9),
        (Rules { chunk: Some(300_000), max_body: Some(300_000), ..Rules::default() }, 0..=0),
    ] {
        let registry = Registry::start();
        registry.rules(rules.clone());
        // A chunk that does not arrive is sent again.
        registry.fail(Fault::new("PATCH", "/uploads/", 1, Action::CutRequest(0)));
        let client = Client::new(ClientOptions { jobs: 1, ..options() });
        push(&images, &client, &[reference(&registry, "app:1")]).unwrap();
        is_whole(&registry, &images);
        let too_large = registry.log().into_iter().filter(|request| {
            matches!(request.method.as_str(), "PUT" | "PATCH") && request.body.len() > 300_000
        });
        let too_large = too_large.count();
        assert!(whole.contains(&too_large), "{rules:?}: {too_large}");
    }
    // A registry that takes nothing says so in the end.
    let registry = Registry::start();
    let none = Action::Answer(Response::new(413));
    for method in ["PUT", "PATCH"] {
        registry.fail(Fault::new(method, "/uploads/", usize::MAX, none.clone()));
    }
    let error = push(&images, &client(), &[reference(&registry, "app:1")]).unwrap_err();
    assert!(chain(&error).contains("answered 413"), "{}", chain(&error));
    assert!(registry.count("PATCH", "/uploads/") < 50);
}

#[test]
fn what_a_registry_lacks_is_sent_again() {
    let images = small();
    let blobs = images.assembled.blobs();
    // A registry that says that it has a blob that it has not.
    for liar in [false, true] {
        let registry = Registry::start();
        registry.rules(Rules { checks_blobs: true, ..Rules::default() });
        if liar {
            for blob in &blobs {
                says_yes(&registry, blob);
            }
        }
        for code in ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"] {
            let body = format!(r#"{{"errors":[{{"code":"{code}","message":"late"}}]}}"#);
            let late = Action::Answer(Response::new(404).body(body));
            registry.fail(Fault::new("PUT", "/manifests/sha256", 1, late));
        }
        push(&images, &client(), &[reference(&registry, "app:1")]).unwrap();
        is_whole(&registry, &images);
    }
    // Only what it names is sent again.
    let registry = Registry::start();
    registry.rules(Rules { checks_blobs: true, ..Rules::default() });
    let lost = &blobs[0].digest;
    push(&images, &client(), &[reference(&registry, "app:1")]).unwrap();
    registry.lose_blob("app", lost);
    let before = registry.count("PUT", "/uploads/");
    says_yes(&registry, blobs[0]);
    push(&images, &client(), &[reference(&registry, "app:2")]).unwrap();
    assert_eq!(registry.count("PUT", "/uploads/"), before + 1);
    assert!(registry.blob("app", lost).is_some());
    // Not without end.
    let registry = Registry::start();
    let body = r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}"#;
    let never = Action::Answer(Response::new(404).body(body));
    registry.fail(Fault::new("PUT", "/manifests/", usize::MAX, never));
    let error = push(&images, &client(), &[reference(&registry, "app:1")]).unwrap_err();
    assert!(chain(&error).contains("MANIFEST_BLOB_UNKNOWN"), "{}", chain(&error));
    assert!(registry.count("PUT", "/manifests/") <= 5);
}

/// Makes a registry say that it has a blob.
fn says_yes(registry: &Registry, blob: &Descriptor) {
    let yes = Response::new(200).with("content-length", blob.size.to_string());
    let part = format!("/blobs/{}", blob.digest);
    registry.fail(Fault::new("HEAD", &part, usize::MAX, Action::Answer(yes)));
}

/// The registry took the blob, but its answer was lost.
#[test]
fn an_unclear_answer_is_cleared_by_a_look() {
    let images = Images::new(&["linux/amd64"], &[&vec![7; 300_000]]);
    for answer in [Response::new(500), Response::new(504), Response::new(404)] {
        let registry = Registry::start();
        registry.fail(Fault::new("PUT", "/uploads/", 1, Action::Claim(answer.clone())));
        let client = Client::new(ClientOptions { jobs: 1, ..options() });
        push(&images, &client, &[reference(&registry, "app:1")]).unwrap();
        is_whole(&registry, &images);
        let blobs = images.assembled.blobs().len();
        assert_eq!(registry.count("PUT", "/uploads/"), blobs, "{answer:?}");
    }
}

#[test]
fn a_tag_is_given_only_once() {
    let images = small();
    let registry = Registry::start();
    registry.rules(Rules { immutable_tags: true, ..Rules::default() });
    let target = [reference(&registry, "app:1")];
    push(&images, &client(), &target).unwrap();
    push(&images, &client(), &target).unwrap();
    assert_eq!(registry.count("PUT", "/manifests/1"), 1);
    let other = Images::new(&["linux/amd64"], &[b"other"]);
    let error = push(&other, &client(), &target).unwrap_err();
    assert!(matches!(error, PushError::ImmutableTag { .. }), "{}", chain(&error));
    assert!(chain(&error).contains("TAG_INVALID"));
    let failure = xbuild_model::StepFailure::from(error);
    assert!(failure.hint().is_some_and(|hint| hint.contains("another tag")));
    // A registry that tells what a tag names by GET only, or not at all.
    for (methods, puts) in [(&["HEAD"][..], 1), (&["HEAD", "GET"], 2)] {
        let registry = Registry::start();
        for method in methods {
            let no = Action::Answer(Response::new(405));
            registry.fail(Fault::new(method, "/manifests/", usize::MAX, no));
        }
        for _ in 0..2 {
            push(&images, &client(), &[reference(&registry, "app:1")]).unwrap();
        }
        assert_eq!(registry.count("PUT", "/manifests/1"), puts, "{methods:?}");
    }
}

/// A refusal of a tag has other reasons as well.
#[test]
fn a_tag_that_is_not_there_is_not_said_to_name_another_image() {
    let images = small();
    for (status, code) in [(409, "CONFLICT"), (412, "DENIED"), (400, "TAG_INVALID")] {
        let registry = Registry::start();
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"no more space"}}]}}"#);
        let no = Action::Answer(Response::new(status).body(body));
        registry.fail(Fault::new("PUT", "/manifests/1", usize::MAX, no));
        let error = push(&images, &client(), &[reference(&registry, "app:1")]).unwrap_err();
        let text = chain(&error);
        assert!(matches!(error, PushError::Request { .. }), "{text}");
        assert!(text.starts_with("cannot push tag 1 to"), "{text}");
        assert!(text.contains(&format!("{status}: {code}: no more space")), "{text}");
    }
}

/// Some proxies answer 200 to anything.
#[test]
fn a_manifest_that_is_said_to_be_stored_is_there() {
    let images = small();
    let page = Response::new(200).with("content-type", "text/html").body("<html>");
    for (part, what) in [("/manifests/sha256:", "manifest sha256:"), ("/manifests/1", "tag 1")] {
        let registry = Registry::start();
        registry.fail(Fault::new("PUT", part, 9, Action::Answer(page.clone())));
        let error = push(&images, &client(), &[reference(&registry, "app:1")]).unwrap_err();
        let text = chain(&error);
        assert!(text.starts_with(&format!("{}/app answered 200 to {what}", registry.host())));
        assert!(text.ends_with(", but does not have it"), "{text}");
    }
    // So does it when it is asked whether the manifest is there.
    let registry = Registry::start();
    for method in ["HEAD", "GET", "PUT"] {
        let answer = Action::Answer(page.clone());
        registry.fail(Fault::new(method, "/manifests/", usize::MAX, answer));
    }
    let error = push(&images, &client(), &[reference(&registry, "app:1")]).unwrap_err();
    assert!(matches!(error, PushError::NotStored { status: 200, .. }), "{}", chain(&error));
}

#[test]
fn a_manifest_may_be_stored_with_any_answer() {
    let images = small();
    for status in [200, 201, 202, 204] {
        for head in [None, Some(404), Some(405)] {
            let registry = Registry::start();
            let answer = Action::Claim(Response::new(status));
            registry.fail(Fault::new("PUT", "/manifests/", usize::MAX, answer));
            if let Some(status) = head {
                let no = Action::Answer(Response::new(status));
                registry.fail(Fault::new("HEAD", "/manifests/", usize::MAX, no));
            }
            push(&images, &client(), &[reference(&registry, "app:1")])
                .unwrap_or_else(|error| panic!("{status} {head:?}: {}", chain(&error)));
            is_whole(&registry, &images);
        }
    }
    // One that shows nothing to who pushes is believed.
    let registry = Registry::start();
    for method in ["HEAD", "GET"] {
        let no = Action::Answer(Response::new(403));
        registry.fail(Fault::new(method, "/manifests/", usize::MAX, no));
    }
    let answer = Action::Claim(Response::new(200));
    registry.fail(Fault::new("PUT", "/manifests/", usize::MAX, answer));
    push(&images, &client(), &[reference(&registry, "app:1")]).unwrap();
    is_whole(&registry, &images);
    // The usual answer costs no further request.
    let registry = Registry::start();
    push(&images, &client(), &[reference(&registry, "app:1")]).unwrap();
    assert_eq!(registry.count("HEAD", "/manifests/"), 1);
}

/// Servers answer 411 to requests that may have a body and do not say how long it is.
#[test]
fn empty_bodies_have_a_length() {
    let registry = Registry::start();
    registry.rules(Rules { chunk: Some(100), ..Rules::default() });
    let images = Images::new(&["linux/amd64"], &[&vec![7; 300_000]]);
    push(&images, &client(), &[reference(&registry, "app:1")]).unwrap();
    let log = registry.log();
    let bodies = log.iter().filter(|r| matches!(r.method.as_str(), "POST" | "PUT" | "PATCH"));
    let mut empty = 0;
    for request in bodies {
        let length = request.header("content-length").map(|text| text.parse::<usize>().unwrap());
        assert_eq!(length, Some(request.body.len()), "{} {}", request.method, request.target);
        empty += usize::from(length == Some(0));
    }
    assert!(empty > 1);
}

#[test]
fn permission_is_asked_for_before() {
    let registry = Registry::start();
    let target = [reference(&registry, "app:1"), reference(&registry, "app:2")];
    client().may_push(&target).unwrap();
    // The upload that was begun is given up.
    assert_eq!(
        (registry.count("POST", "/uploads/"), registry.count("DELETE", "/uploads/")),
        (1, 1)
    );
    for status in [401, 403, 404] {
        let registry = Registry::start();
        let body = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"no such repository"}]}"#;
        let no = Action::Answer(Response::new(status).body(body));
        registry.fail(Fault::new("POST", "/uploads/", 9, no));
        let error = client().may_push(&[reference(&registry, "app:1")]).unwrap_err();
        let text = chain(&error);
        assert!(text.contains(&status.to_string()) || status == 401, "{text}");
        assert_eq!(registry.count("POST", "/uploads/"), 1);
    }
    // Whatever else is wrong may be gone when the push comes.
    for status in [400, 405, 429, 500, 503] {
        let registry = Registry::start();
        registry.fail(Fault::new("POST", "/uploads/", 9, Action::Answer(Response::new(status))));
        client().may_push(&[reference(&registry, "app:1")]).unwrap();
        assert_eq!(registry.count("POST", "/uploads/"), 1, "{status}");
    }
    let gone = Registry::start();
    let target = [reference(&gone, "app:1")];
    drop(gone);
    client().may_push(&target).unwrap();
}

/// All requests for a blob share one number of attempts.
#[test]
fn attempts_do_not_multiply() {
    let images = Images::new(&["linux/amd64"], &[b"x"]);
    let registry = Registry::start();
    for (method, part) in [("POST", "/uploads/"), ("PUT", "/uploads/"), ("GET", "/uploads/")] {
        let busy = Action::Answer(Response::new(503));
        registry.fail(Fault::new(method, part, usize::MAX, busy));
        let client = Client::new(ClientOptions { jobs: 1, ..options() });
        assert!(push(&images, &client, &[reference(&registry, "app:1")]).is_err());
    }
    let posts = registry
        .log()
        .into_iter()
        .filter(|request| matches!(request.method.as_str(), "POST" | "PUT"));
    assert!(posts.count() <= 15);
}
