//! Registries that answer nonsense: a cache that they hold neither fails a build nor holds it up.

use std::time::{Duration, Instant};

use xbuild_testkit::registry::{Action, Fault, Registry};
use xbuild_testkit::wire::Response;

use super::{build, registry_cache};
use crate::harness::{Place, User};

/// Three steps that need no namespace.
fn place() -> Place {
    let place = Place::new(User::Me);
    place.write("a", "a").write("Dockerfile", "FROM scratch\nCOPY a /a\nCOPY a /b\nCOPY a /c\n");
    place
}

/// Does work with each way to answer badly, at the same time: most of it is waiting.
fn each(work: impl Fn(&str, Action, &str) + Sync) {
    std::thread::scope(|scope| {
        for (what, action, words) in actions() {
            let work = &work;
            scope.spawn(move || work(what, action, words));
        }
    });
}

/// Ways to answer badly, with the words of the warning about it; without words it is a miss.
fn actions() -> Vec<(&'static str, Action, &'static str)> {
    let status = |status: u16| Action::Answer(Response::new(status));
    let to =
        |status: u16, place: &str| Action::Answer(Response::new(status).with("location", place));
    let html = Response::new(200).with("content-type", "text/html").body("<html>log in</html>");
    vec![
        (
            "a limit for an hour",
            Action::Answer(Response::new(429).with("retry-after", "3600")),
            "limits the rate",
        ),
        ("a refusal midway", status(401), "cannot be read"),
        ("no access", status(403), "cannot be read"),
        ("a method that is not allowed", status(405), "cannot be read"),
        ("what is gone", status(410), ""),
        ("a server that fails", status(500), "cannot be read"),
        ("a page", Action::Answer(html), "is not used"),
        ("an empty answer", status(200), "is not used"),
        ("a connection that breaks", Action::CutAnswer(10), "cannot be read"),
        ("no target", status(302), "cannot be read"),
        ("a target without a server", to(307, "http://127.0.0.1:1/x"), "cannot be read"),
        ("a file as target", to(302, "file:///etc/passwd"), "cannot be read"),
    ]
}

/// Builds with a registry that answers requests of one kind badly, and returns what is said.
fn built(kind: (&'static str, &str), what: &str, action: &Action) -> String {
    let registry = Registry::start();
    let cache = registry_cache(&registry.host());
    build(&place(), &cache, &[]);
    if kind.1 == "c1-" {
        let missing = Action::Answer(Response::new(404));
        registry.fail(Fault::new("GET", "/manifests/t1-", usize::MAX, missing));
    }
    registry.fail(Fault::new(kind.0, kind.1, usize::MAX, action.clone()));
    let before = registry.log().len();
    let start = Instant::now();
    // The bytes of the layers are needed.
    let place = place();
    let output = format!("type=oci,dest={}", place.out("image.tar").display());
    let (finished, _) = build(&place, &cache, &["-o", &output]);
    let asked =
        registry.log()[before..].iter().filter(|request| request.target.contains(kind.1)).count();
    assert!(asked < 40, "{what}: {asked} requests");
    assert!(start.elapsed() < Duration::from_secs(60), "{what}: {:?}", start.elapsed());
    finished.stderr
}

#[test]
fn no_answer_about_steps_fails_a_build() {
    for part in ["/manifests/", "c1-"] {
        each(|what, action, words| {
            let said = built(("GET", part), what, &action);
            assert!(said.contains(words), "{part} {what}: {said}");
            assert!(!words.is_empty() || !said.contains("warning: the cache"), "{what}: {said}");
        });
    }
}

#[test]
fn no_answer_about_layers_fails_a_build() {
    each(|what, action, _| {
        let said = built(("GET", "/blobs/sha256:"), what, &action);
        assert!(said.contains("warning:"), "{what}: {said}");
    });
}

#[test]
fn no_answer_to_writers_fails_a_build() {
    for (method, part) in
        [("POST", "/blobs/uploads/"), ("PUT", "/blobs/uploads/"), ("PUT", "/manifests/")]
    {
        each(|what, action, _| {
            let registry = Registry::start();
            registry.fail(Fault::new(method, part, usize::MAX, action));
            let start = Instant::now();
            let (finished, _) = build(&place(), &registry_cache(&registry.host()), &[]);
            let said = finished.stderr;
            assert!(start.elapsed() < Duration::from_secs(60), "{method} {part} {what}");
            // Some servers answer uploads with a page, and mean that all is well.
            let is_told = said.contains("warning: 3 steps") || said.contains("limits the rate");
            assert!(is_told || said.contains("cache: 3 steps in"), "{method} {what}: {said}");
        });
    }
}
