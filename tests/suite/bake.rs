//! `xbuild bake`: the answers of `--print` to the bake files of `fixtures/bake`, and builds of several
//! targets.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::{Finished, Place, User, found_in_path, needs};
use crate::image::{self, Image};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/bake")
}

/// Returns the folders of the cases.
fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path());
    let cases: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    assert!(cases.len() >= 90, "{} cases", cases.len());
    cases
}

/// Prints the targets of a case with a program, as `fixtures/bake/record` does.
fn print(case: &Path, program: &str) -> Finished {
    let words = fs::read_to_string(case.join("command")).unwrap();
    let is_variable = |word: &str| {
        let name = word.split_once('=').map_or("", |(name, _)| name);
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    };
    // The variables are the first words; in quotes they may have blanks.
    let (mut variables, mut rest) = (String::new(), words.trim());
    while is_variable(rest) {
        let quoted = rest.find('\'').filter(|at| !rest[..*at].contains(' '));
        let end = match quoted {
            Some(start) => rest[start + 1..].find('\'').map_or(rest.len(), |at| start + at + 2),
            None => rest.find(' ').unwrap_or(rest.len()),
        };
        variables += &rest[..end];
        variables.push(' ');
        rest = rest[end..].trim_start();
    }
    let line = format!("set -f; HOME=/home/user {variables}exec {program} bake --print {rest}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).env_clear().current_dir(case);
    Finished::run(shell)
}

#[test]
fn bake_files_print_what_buildx_prints() {
    for case in cases() {
        let (name, done) = (case.display(), print(&case, env!("CARGO_BIN_EXE_xbuild")));
        match fs::read_to_string(case.join("error")) {
            Ok(words) => {
                assert!(matches!(done.status, 1 | 2), "{name}: {}", done.stderr);
                for word in words.lines() {
                    assert!(done.stderr.contains(word), "{name}: no {word:?} in {}", done.stderr);
                }
            }
            Err(_) => {
                let expected = fs::read_to_string(case.join("print.json")).unwrap();
                assert_eq!(done.stdout, expected, "{name}: {}", done.stderr);
            }
        }
    }
}

/// The recorded answers are those of the docker-buildx of this machine, if there is one.
#[test]
fn docker_buildx_prints_what_was_recorded() {
    needs!(Tool("docker-buildx"));
    let program = found_in_path("docker-buildx").display().to_string();
    for case in cases().iter().filter(|case| !case.join("differs").exists()) {
        let (name, done) = (case.display(), print(case, &program));
        match fs::read_to_string(case.join("print.json")) {
            Ok(recorded) => assert_eq!(done.stdout, recorded, "{name}: {}", done.stderr),
            Err(_) => assert_ne!(done.status, 0, "{name}"),
        }
    }
}

/// Runs `xbuild bake ARGS` in the context of a place.
fn bake(place: &Place, args: &[&str]) -> Finished {
    let mut command = place.xbuild(["bake", "--progress", "plain"]);
    command.args(args).current_dir(place.context());
    Finished::run(command)
}

fn built(place: &Place, name: &str) -> Image {
    let mut images = image::read(&place.context().join("out").join(name));
    assert_eq!(images.len(), 1);
    images.remove(0)
}

#[test]
fn targets_share_equal_steps_and_no_contexts() {
    needs!(Run);
    let place = Place::new(User::Me);
    place.write("a/file", "a").write("b/file", "b");
    let target = |name: &str| {
        format!(
            "target \"{name}\" {{\n  context = \"{name}\"\n  \
             dockerfile-inline = \"FROM busybox\\nRUN echo number-$((40+2))\\nCOPY . /src/\\n\"\n  \
             output = [\"type=oci,tar=false,dest=out/{name}\"]\n}}\n"
        )
    };
    let group = "group \"default\" { targets = [\"a\", \"b\"] }\n".to_owned();
    place.write("docker-bake.hcl", group + &target("a") + &target("b"));
    let base = format!("*.contexts.{}", place.base("busybox"));
    let done = bake(&place, &["--set", &base, "--metadata-file", "meta.json"]).ok();
    assert_eq!(done.stderr.matches("number-42").count(), 1, "{}", done.stderr);
    for name in ["a", "b"] {
        assert_eq!(built(&place, name).text("src/file"), name);
    }
    let meta = fs::read_to_string(place.context().join("meta.json")).unwrap();
    let meta: Value = serde_json::from_str(&meta).unwrap();
    let digest = |name: &str| meta[name]["containerimage.digest"].as_str().unwrap().to_owned();
    assert_ne!(digest("a"), digest("b"));
    let names: Vec<&String> = meta.as_object().unwrap().keys().collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn a_target_is_the_context_of_another() {
    let place = Place::new(User::Me);
    place.write("f", "f").write("g", "g").write(
        "docker-bake.hcl",
        r#"
target "base" {
  dockerfile-inline = "FROM scratch\nCOPY f /\nENV FROM_BASE=yes\n"
}
target "app" {
  contexts = { below = "target:base" }
  dockerfile-inline = "FROM below\nCOPY g /\nCOPY --from=below f /again\n"
  platforms = ["linux/arm64"]
  output = ["type=oci,tar=false,dest=out/app"]
}
"#,
    );
    bake(&place, &["app"]).ok();
    let app = built(&place, "app");
    assert_eq!([app.text("f"), app.text("g"), app.text("again")], ["f", "g", "f"]);
    assert_eq!(app.config["config"]["Env"].as_array().unwrap().last().unwrap(), "FROM_BASE=yes");
    assert_eq!(app.config["architecture"], "arm64");
}

#[test]
fn what_a_bake_file_may_not_do_unasked_is_refused() {
    let place = Place::new(User::Me);
    fs::create_dir(place.path().join("outside")).unwrap();
    let text = "target \"default\" {\n  context = \"../outside\"\n  \
                dockerfile-inline = \"FROM scratch\\nENV a=b\\n\"\n  output = [\"type=cacheonly\"]\n}\n";
    place.write("docker-bake.hcl", text);
    bake(&place, &[]).fails(2, &["fs.read=", "outside", "--allow"]);
    bake(&place, &["--allow", "fs.read=../outside"]).ok();
    bake(&place, &["--set", "*.context=../outside"]).ok();
    bake(&place, &["--set", "*.output=type=local,dest=../new", "--allow", "fs.read=.."]).ok();
    let insecure = ["--allow", "fs=*", "--set", "*.entitlements=security.insecure"];
    bake(&place, &insecure).fails(2, &["security.insecure"]);
    bake(&place, &[&insecure[..], &["--allow", "security.insecure"]].concat()).ok();
    bake(&place, &["--allow", "device"]).fails(2, &["--allow device is not implemented"]);
}

#[test]
fn a_problem_names_its_target() {
    let place = Place::new(User::Me);
    let text = "target \"app\" {\n  dockerfile-inline = \"FROM scratch\\nCOPY none /\\n\"\n}\n";
    place.write("docker-bake.hcl", text);
    bake(&place, &["app"]).fails(1, &["target app:", "none"]);
    bake(&place, &["app", "--set", "app.resources.memory=1g"])
        .fails(2, &["target app:", "--memory"]);
    bake(&place, &["https://r.example/x.git"]).fails(2, &["remote bake files are not implemented"]);
    bake(&place, &["app", "--builder", "x"]).fails(2, &["--builder"]);
    bake(&place, &["app", "--var", "x"]).fails(2, &["--var"]);
    bake(&place, &["app", "--check"]).ok().prints(&["no warnings"]);
}

#[test]
fn targets_and_variables_are_listed() {
    let case = fixtures().join("groups-nested");
    let place = Place::new(User::Me);
    let file = case.join("docker-bake.hcl").display().to_string();
    let done = bake(&place, &["-f", &file, "--list", "targets"]).ok();
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(lines[1], "default (all)");
    assert!(lines[2].starts_with("all (servers, tool, web)") && lines[2].ends_with("all of them"));
    let done = bake(&place, &["-f", &file, "--list", "type=targets,format=json"]).ok();
    let list: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(list[0]["group"][0], "all");
    let file = fixtures().join("json-override/docker-bake.hcl").display().to_string();
    let done = bake(&place, &["-f", &file, "--list", "variables"]).ok();
    done.prints(&["VARIABLE", "list of string", "[\"some\",\"list\"]"]);
    bake(&place, &["-f", &file, "--list", "nothing"]).fails(2, &["--list"]);
}
