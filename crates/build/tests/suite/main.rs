//! Builds without a command line.

#![allow(clippy::unwrap_used, reason = "tests")]

mod harness;

use std::fs;
use std::sync::Arc;

use xbuild_build::error::{BuildError, ErrorKind, Fault};
use xbuild_build::{BuildRequest, check};
use xbuild_image::Layout;
use xbuild_model::FailureKind;

use harness::{Place, Told};

#[test]
fn a_request_that_was_sent_as_json_makes_the_same_image() {
    let place = Place::new("FROM scratch\nCOPY --chmod=640 greeting /srv/\nENV a=b\n");
    fs::write(place.context().join("greeting"), "hello").unwrap();
    let direct = place.request("direct");
    let here = place.build(direct.clone()).unwrap();

    let text = serde_json::to_string_pretty(&place.request("sent")).unwrap();
    // The worker has a store of its own, so it does the work anew.
    let there = Place::worker_of(&place);
    let sent: BuildRequest = serde_json::from_str(&text).unwrap();
    assert_eq!(sent, place.request("sent"));
    let sent = there.build(sent).unwrap();

    let digest = &here.assembled.root().0.digest;
    assert_eq!(&sent.assembled.root().0.digest, digest);
    let index = |name: &str| fs::read_to_string(place.out(name).join("index.json")).unwrap();
    assert_eq!(index("sent"), index("direct"));
    let layout = Layout::open(&place.out("sent")).unwrap();
    let image = layout.resolve(None, &direct.input.platforms[0]).unwrap();
    assert_eq!(&image.manifest.digest, digest);
    assert_eq!(image.layers.len(), 1);
}

#[test]
fn a_request_with_an_unknown_member_is_refused() {
    let place = Place::new("FROM scratch\n");
    let mut value = serde_json::to_value(place.request("out")).unwrap();
    value["steps"]["gpus"] = "all".into();
    let error = serde_json::from_value::<BuildRequest>(value).unwrap_err();
    assert!(error.to_string().contains("gpus"), "{error}");
}

#[test]
fn the_failure_of_a_step_has_its_lines() {
    let place = Place::new("FROM scratch\nCOPY missing /\n");
    let error = place.build(place.request("out")).unwrap_err();
    assert!(matches!(error, BuildError::Run(_)), "{error:?}");
    assert_eq!(error.span().unwrap().to_string(), place.dockerfile(2));
    assert_eq!(Fault::kind(&error), ErrorKind::Stage(FailureKind::User));
    assert!(error.step().unwrap().contains("COPY missing /"), "{error}");
}

#[test]
fn errors_that_are_found_together_are_told_one_by_one() {
    let place = Place::new("FROM scratch\nRUNN a\nCOPPY b c\n");
    let error = place.build(place.request("out")).unwrap_err();
    let lines = error.each().into_iter().map(|fault| fault.span().unwrap().to_string());
    assert_eq!(lines.collect::<Vec<_>>(), [place.dockerfile(2), place.dockerfile(3)]);
}

#[test]
fn what_happens_is_told() {
    let place = Place::new("FROM scratch AS A\nARG used\nCOPY greeting /\n");
    fs::write(place.context().join("greeting"), "hello").unwrap();
    let mut request = place.request("out");
    request.input.build_args.push(("unused".to_owned(), "1".to_owned()));
    let told = Told::default();
    place.build_told(request.clone(), &told).unwrap();
    let first =
        ["lint 1", "warning build argument \"unused\" is not declared by any ARG", "planned"];
    assert_eq!(told.take(), [&first[..], &["started", "done"]].concat());
    place.build_told(request, &told).unwrap();
    assert_eq!(told.take(), [&first[..], &["cached"]].concat());
}

#[test]
fn a_check_builds_nothing() {
    let place = Place::new("FROM scratch AS A\nCOPY missing /\n");
    let request = place.request("out");
    let events: Arc<dyn xbuild_build::Events> = Arc::new(Told::default());
    let checked = check(&request.input, &place.machine(), &events, &mut std::io::empty()).unwrap();
    assert_eq!(checked.files[0].findings.len(), 1);
    assert!(checked.files[0].error.is_none());
    assert!(!place.store().exists() && !place.out("out").exists());
}
