//! Warnings about Dockerfiles: `xbuild check`, `build --check`, and those of a build.

use serde_json::Value;

use crate::harness::{Finished, Place, User};

/// A file that breaks rules about text, variables, the ignore file and the base image.
const UNWISE: &str = "\
ARG VERSION=latest
FROM busybox:$VERSION as Tools
ENV PATH=$PAHT:/tools
COPY target/app /app

FROM scratch
COPY --from=tools /app /
CMD /app
";

const RULES: [&str; 5] =
    ["StageNameCasing", "FromAsCasing", "UndefinedVar", "CopyIgnoredFile", "JSONArgsRecommended"];

fn place(dockerfile: &str) -> Place {
    let place = Place::new(User::Me);
    place.dockerfile(dockerfile).write(".dockerignore", "target\n");
    place
}

fn check(place: &Place, more: &[&str]) -> Finished {
    let base = place.base("busybox");
    let context = place.context();
    let args = ["check", "--build-context", &base].into_iter().chain(more.iter().copied());
    place.run(args.chain([context.to_str().unwrap()]))
}

#[test]
fn a_check_shows_each_rule_with_its_lines_and_builds_nothing() {
    let place = place(UNWISE);
    let base = format!("busybox:latest={}", place.base("busybox").split_once('=').unwrap().1);
    let found = check(&place, &["--build-context", &base]);
    assert_eq!((found.status, found.stderr.as_str()), (1, ""), "{}", found.stdout);
    for rule in RULES {
        assert!(found.stdout.contains(&format!("warning: {rule}: ")), "{}", found.stdout);
    }
    found.prints(&["   3 |> ENV PATH=$PAHT:/tools\n"]);
    found.prints(&["did you mean $PATH?"]);
    assert!(found.stdout.ends_with("Dockerfile: 5 warnings\n"), "{}", found.stdout);
    assert!(!place.store().exists(), "a check leaves no store");

    let one = check(&place, &["--target", "tools", "--build-context", &base]);
    assert!(!one.stdout.contains("JSONArgsRecommended"), "{}", one.stdout);
}

#[test]
fn a_good_file_passes() {
    let place = place("FROM busybox\nRUN true\nCMD [\"sh\"]\n");
    let found = check(&place, &[]).ok();
    assert_eq!(found.stdout, "Dockerfile: no warnings\n");
}

#[test]
fn the_forms_for_programs() {
    let place = place(UNWISE);
    let base = format!("busybox:latest={}", place.base("busybox").split_once('=').unwrap().1);
    let json = check(&place, &["--format", "json", "--build-context", &base]);
    assert_eq!(json.status, 1, "{}", json.stderr);
    let document: Value = serde_json::from_str(&json.stdout).unwrap();
    let warnings = document["warnings"].as_array().unwrap();
    let rules: Vec<&str> = warnings.iter().map(|it| it["ruleName"].as_str().unwrap()).collect();
    assert_eq!(rules, RULES);
    assert_eq!(warnings[2]["location"]["ranges"][0]["start"]["line"], 3);

    let same = place.build(&["--call", "check,format=json", "--build-context", &base]);
    assert_eq!((same.status, same.stdout), (1, json.stdout));

    let sarif = check(&place, &["--format", "sarif", "--build-context", &base]);
    let document: Value = serde_json::from_str(&sarif.stdout).unwrap();
    assert_eq!(document["version"], "2.1.0");
    assert_eq!(document["runs"][0]["results"].as_array().unwrap().len(), RULES.len());
}

#[test]
fn errors_are_shown_with_the_warnings_all_together() {
    let text = "FROM scratch AS A\nEXPOSE no\nCOPY --from=9 a b\nFROM scratch\nSTOPSIGNAL x\n";
    let place = place(text);
    let found = check(&place, &[]);
    found.prints(&["StageNameCasing"]);
    found.fails(1, &["stage 9 not found", "invalid signal", "Dockerfile:3", "Dockerfile:5"]);
    let found = check(&place, &["--format", "json"]);
    let document: Value = serde_json::from_str(&found.stdout).unwrap();
    assert_eq!(document["buildErrors"].as_array().unwrap().len(), 2, "{document}");

    place.dockerfile("FORM a\nRUN --mont=x y\n");
    let found = check(&place, &[]);
    found.fails(1, &["did you mean FROM?", "did you mean --mount?", "Dockerfile:2"]);
}

#[test]
fn warnings_about_the_lines_above_a_syntax_error_come_with_it() {
    let place = place("FROM scratch AS Tools\nCOPY --from a b\nFROM scratch AS Later\n");
    for found in [check(&place, &[]), place.build(&["--output", "type=cacheonly"])] {
        let shown = format!("{}{}", found.stdout, found.stderr);
        assert!(shown.contains("the stage \"Tools\""), "{shown}");
        assert!(!shown.contains("the stage \"Later\""), "{shown}");
        found.fails(1, &["flag --from of COPY is missing a value"]);
    }
}

#[test]
fn a_check_refuses_what_every_build_refuses() {
    let cacheonly = ["--output", "type=cacheonly"];
    for (text, more, expected) in [
        ("FROM scratch\nCOPY --chmod=rwx Dockerfile /\n", &[][..], "invalid --chmod \"rwx\""),
        (
            "ARG SOURCE_DATE_EPOCH=yesterday\nFROM scratch\nCOPY Dockerfile /\n",
            &[],
            "invalid SOURCE_DATE_EPOCH \"yesterday\"",
        ),
        ("FROM busybox\n", &["--platform", "linux/riscv64"], "linux/riscv64"),
        ("FROM scratch\nCOPY Dockerfile /\n", &["--secret", "nonsense"], "--secret"),
    ] {
        let place = place(text);
        let base = place.base("busybox");
        let args = [&["--build-context", &base], more].concat();
        let built = place.build(&[&args[..], &cacheonly].concat());
        let checked = place.build(&[&args[..], &["--check"]].concat());
        assert!(built.stderr.contains(expected) && built.status != 0, "{}", built.stderr);
        checked.fails(built.status, &[expected]);
    }
}

#[test]
fn a_base_image_out_of_reach_does_not_stop_a_check() {
    // Nothing listens on port 1.
    let place = place("FROM 127.0.0.1:1/none as a\nCOPY $x /\nEXPOSE no\n");
    let found = check(&place, &[]);
    found.prints(&["FromAsCasing"]);
    assert!(!found.stdout.contains("UndefinedVar"), "{}", found.stdout);
    found.fails(1, &["127.0.0.1:1/none", "left out", "invalid port \"no\""]);
}

#[test]
fn a_build_shows_warnings_and_fails_if_the_file_asks_for_it() {
    let place = place("FROM scratch as a\nCMD a\n");
    let built = place.build(&["--output", "type=cacheonly"]).ok();
    for words in ["warning: FromAsCasing: ", "   1 |> FROM scratch as a", "JSONArgsRecommended"] {
        assert!(built.stderr.contains(words), "{}", built.stderr);
    }
    let skip = "--build-arg=BUILDKIT_DOCKERFILE_CHECK=skip=all";
    assert!(!place.build(&["--output", "type=cacheonly", skip]).ok().stderr.contains("warning"));

    place.dockerfile("# check=error=true\nFROM scratch as a\nCMD a\n");
    let words = ["lint violation", "FromAsCasing, JSONArgsRecommended"];
    place.build(&["--output", "type=cacheonly"]).fails(1, &words);
    place.build(&["--output", "type=cacheonly", skip]).ok();
    let wrong = "--build-arg=BUILDKIT_DOCKERFILE_CHECK=skp=all";
    place.build(&["--output", "type=cacheonly", wrong]).fails(2, &["skp=all"]);
}
