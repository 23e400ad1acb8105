//! Tags of a repository.

use std::time::{Duration, Instant};

use xbuild_registry::Deletion;
use xbuild_testkit::registry::{Action, Fault, Login, Registry, Rules};
use xbuild_testkit::wire::Response;

use crate::fixture::client;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn registry(tags: &[&str]) -> (Registry, xbuild_model::Reference) {
    let registry = Registry::start();
    for tag in tags {
        registry.put_manifest("r/a", tag, MANIFEST, tag.as_bytes());
    }
    let place = format!("{}/r/a", registry.host()).parse().unwrap();
    (registry, place)
}

#[test]
fn all_pages_of_a_list_are_read() {
    let (registry, place) = registry(&["a", "b", "c", "d", "e"]);
    for (tags_per_page, requests) in [(0, 1), (5, 1), (2, 3), (1, 5)] {
        let before = registry.count("GET", "/tags/list");
        registry.rules(Rules { tags_per_page, ..Rules::default() });
        let tags: Vec<String> = client().tags(&place).unwrap().into_iter().collect();
        assert_eq!(tags, ["a", "b", "c", "d", "e"]);
        assert_eq!(registry.count("GET", "/tags/list") - before, requests);
    }
}

#[test]
fn a_repository_that_does_not_exist_has_no_tags() {
    let (registry, place) = registry(&[]);
    registry.fail(Fault::new("GET", "/tags/list", 1, Action::Answer(Response::new(404))));
    assert!(client().tags(&place).unwrap().is_empty());
    let answer = Response::new(200).body("<html>");
    registry.fail(Fault::new("GET", "/tags/list", 1, Action::Answer(answer)));
    assert!(client().tags(&place).is_err());
}

#[test]
fn a_tag_is_removed_alone() {
    let (registry, place) = registry(&["a", "b"]);
    registry.require(Login::Token { realm: None, user: None });
    assert_eq!(client().delete(&place, "a").unwrap(), Deletion::Done);
    assert_eq!(client().delete(&place, "a").unwrap(), Deletion::Done);
    assert_eq!(client().tags(&place).unwrap().into_iter().collect::<Vec<_>>(), ["b"]);
    registry.rules(Rules { delete_by_digest: true, ..Rules::default() });
    assert_eq!(client().delete(&place, "b").unwrap(), Deletion::Unsupported);
    let digest = xbuild_model::Digest::of(b"b").to_string();
    assert_eq!(client().delete(&place, &digest).unwrap(), Deletion::Done);
    assert!(client().tags(&place).unwrap().is_empty());
    registry.rules(Rules { no_delete: true, ..Rules::default() });
    assert_eq!(client().delete(&place, &digest).unwrap(), Deletion::Unsupported);
}

#[test]
fn a_registry_that_wants_a_long_wait_is_not_waited_for() {
    let (registry, place) = registry(&["a"]);
    let busy = |wait: &str| Action::Answer(Response::new(429).with("retry-after", wait));
    let start = Instant::now();
    registry.fail(Fault::new("GET", "/manifests/a", 1, busy("3600")));
    assert_eq!(client().find_manifest(&place, "a").unwrap_err().status(), Some(429));
    assert!(start.elapsed() < Duration::from_secs(9));
    registry.fail(Fault::new("GET", "/manifests/a", 2, busy("0")));
    assert_eq!(client().find_manifest(&place, "a").unwrap().unwrap(), "a");
    assert_eq!(client().find_manifest(&place, "b").unwrap(), None);
    registry.fail(Fault::new("GET", "/manifests/a", 9, busy("0")));
    assert!(client().find_manifest(&place, "a").is_err());
    assert_eq!(registry.count("GET", "/manifests/a"), 1 + 3 + 3);
}
