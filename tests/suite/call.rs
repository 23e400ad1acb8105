//! `--call`: methods that look at a Dockerfile instead of building it, in the forms of buildx.

use serde_json::{Value, json};

use crate::harness::{Place, User};

const FILE: &str = "\
# GO is the version of the compiler
ARG GO=1.22
ARG VERSION
# base has the tools
FROM scratch AS base
ARG GO
COPY Dockerfile /

FROM --platform=$BUILDPLATFORM base
# alpine gives the shell
FROM base AS release
# VERSION names the release
ARG VERSION=v1
RUN --mount=type=secret,id=key,required --mount=type=secret,id=other --mount=type=ssh true
";

fn place() -> Place {
    let place = Place::new(User::Me);
    place.dockerfile(FILE);
    place
}

fn call(place: &Place, args: &[&str]) -> String {
    let context = place.context().display().to_string();
    place.run([&["build"], args, &[context.as_str()]].concat()).ok().stdout
}

#[test]
fn targets_are_listed() {
    let place = place();
    assert_eq!(
        call(&place, &["--call", "targets"]),
        "TARGET            DESCRIPTION\nbase              has the tools\n                  \nrelease (default) \n"
    );
    let listed: Value =
        serde_json::from_str(&call(&place, &["--call=targets,format=json"])).unwrap();
    let at =
        |line: u32| json!({ "ranges": [{ "start": { "line": line }, "end": { "line": line } }] });
    assert_eq!(
        listed["targets"],
        json!([
            { "name": "base", "description": "has the tools", "base": "scratch", "location": at(5) },
            { "base": "base", "platform": "$BUILDPLATFORM", "location": at(9) },
            { "name": "release", "default": true, "base": "base", "location": at(11) },
        ])
    );
    assert_eq!(listed["sources"].as_array().unwrap().len(), 1);
}

#[test]
fn an_outline_says_what_a_target_can_be_given() {
    let place = place();
    // As in BuildKit, an ARG that is given a value stands for itself, not for the global one.
    assert_eq!(
        call(&place, &["--call=outline", "--build-arg", "GO=1.23"]),
        "TARGET: release\n\n\
         BUILD ARG   VALUE   DESCRIPTION\n\
         GO          1.23    \n\
         VERSION     v1      names the release\n\n\
         SECRET   REQUIRED\nkey      true\nother    \n\n\
         SSH       REQUIRED\ndefault   \n\n"
    );
    assert_eq!(
        call(&place, &["--print", "outline", "--target", "base"]),
        "TARGET:      base\nDESCRIPTION: has the tools\n\n\
         BUILD ARG   VALUE   DESCRIPTION\nGO          1.22    is the version of the compiler\n\n"
    );
    let text = call(&place, &["--call", "format=json,outline"]);
    let outline: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(outline["name"], "release");
    assert_eq!(outline["description"], Value::Null);
    assert_eq!(outline["args"][1]["name"], "VERSION");
    assert_eq!(outline["args"][1]["value"], "v1");
    assert_eq!(outline["args"][1]["description"], "names the release");
    assert_eq!(outline["args"][1]["location"]["ranges"][0]["start"]["line"], 13);
    assert_eq!(outline["secrets"][0]["required"], true);
    assert_eq!(outline["secrets"][1]["required"], Value::Null);
    assert_eq!(outline["ssh"][0]["name"], "default");
    assert_eq!(outline["cache"], Value::Null);
}

#[test]
fn methods_fail_as_builds_do() {
    let place = place();
    let call = |args: &[&str]| place.build(args);
    call(&["--call", "outline", "--target", "relaese"]).fails(1, &["did you mean release?"]);
    call(&["--call", "outlin"]).fails(2, &["did you mean outline?"]);
    call(&["--call", "outline", "--check"]).fails(2, &["--check is not --call outline"]);
    let files = [
        "-f",
        "Dockerfile",
        "-f",
        "linux/arm64=Dockerfile",
        "--platform",
        "linux/arm64,linux/amd64",
    ];
    call(&[&["--call", "targets"], &files[..]].concat()).fails(2, &["one Dockerfile"]);
    place.dockerfile("FROM scratch\nARG A=${B:?give it}\n");
    call(&["--call", "outline"]).fails(1, &["context/Dockerfile:2", "give it"]);
    place.dockerfile("FROM scratch\nCOPPY a b\n");
    call(&["--call", "targets"]).fails(1, &["context/Dockerfile:2", "COPY"]);
    // A base image that is out of reach is a warning.
    place.dockerfile("FROM 127.0.0.1:1/a\nARG A=1\n");
    let done = call(&["--call", "outline"]).ok();
    done.says(&["warning: ", "127.0.0.1:1/a"]);
    assert_eq!(done.stdout, "BUILD ARG   VALUE   DESCRIPTION\nA           1       \n\n");
    call(&["--call", "targets"]).ok().prints(&["(default)"]);
    call(&["--call", "subrequests.describe"]).ok().prints(&["outline              1.0.0"]);
}

#[test]
fn a_check_may_ignore_its_findings() {
    let place = place();
    place.dockerfile("FROM scratch as a\nCOPY Dockerfile /\n");
    place.build(&["--check"]).fails(1, &[]);
    place.build(&["--call", "check,ignorestatus=true"]).ok().prints(&["FromAsCasing"]);
    place.dockerfile("FROM scratch as a\nCOPPY Dockerfile /\n");
    place.build(&["--call", "check,ignorestatus=true"]).fails(1, &["COPPY"]);
}

#[test]
fn bake_calls_methods_of_its_targets() {
    let place = place();
    place.write("docker-bake.hcl", "target \"default\" {\n  target = \"base\"\n}\n");
    let mut command = place.xbuild(["bake", "--call", "outline"]);
    command.current_dir(place.context());
    crate::harness::Finished::run(command).ok().prints(&["TARGET:      base", "GO"]);
}
