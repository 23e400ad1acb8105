//! `xbuild bake`: the answers of `--print` to the bake files of `fixtures/bake`, and builds of several
//! targets.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::{Finished, Place, User, checkout, found_in_path, host_state, needs, program};
use crate::image::{self, Image};
use crate::kill::Mark;

fn fixtures() -> PathBuf {
    checkout().join("fixtures/bake")
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
        let (name, done) = (case.display(), print(&case, program().to_str().unwrap()));
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

/// A context is built for all platforms that it is used on, through another context as well, and for this
/// machine's if a target names none.
#[test]
fn a_context_has_the_platforms_of_its_users() {
    let place = Place::new(User::Me);
    let stage = |text: &str| format!("FROM scratch\\nARG TARGETARCH\\n{text}\\n");
    let base = stage("COPY <<END /b\\n$TARGETARCH\\nEND");
    let file = format!(
        r#"
target "base" {{
  dockerfile-inline = "{base}"
}}
target "mid" {{
  contexts = {{ of = "target:base" }}
  dockerfile-inline = "{}"
}}
target "far" {{
  contexts = {{ of = "target:mid" }}
  dockerfile-inline = "{}"
  platforms = ["linux/s390x", "linux/riscv64"]
  output = ["type=local,dest=out/far"]
}}
target "here" {{
  contexts = {{ of = "target:base" }}
  dockerfile-inline = "{}"
  output = ["type=local,dest=out/here"]
}}
"#,
        stage("COPY --from=of /b /"),
        stage("COPY --from=of /b /"),
        stage("COPY --from=of /b /"),
    );
    place.write("docker-bake.hcl", file);
    bake(&place, &["far", "here"]).ok();
    let read = |path: &str| fs::read_to_string(place.context().join("out").join(path)).unwrap();
    let own = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    for (path, expected) in
        [("far/linux_s390x/b", "s390x"), ("far/linux_riscv64/b", "riscv64"), ("here/b", own)]
    {
        assert_eq!(read(path).trim(), expected, "{path}");
    }
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
    assert_eq!((&list[0]["group"], &list[0]["targets"][0]), (&true.into(), &"all".into()));
    place.write("docker-bake.hcl", "target _base {}\ntarget app { inherits = [\"_base\"] }\n");
    let done = bake(&place, &["--list", "targets"]).ok();
    assert_eq!(done.stdout.lines().skip(1).collect::<Vec<_>>(), ["app"]);
    let file = fixtures().join("json-override/docker-bake.hcl").display().to_string();
    let done = bake(&place, &["-f", &file, "--list", "variables"]).ok();
    done.prints(&["VARIABLE", "list of string", "[\"some\",\"list\"]"]);
    bake(&place, &["-f", &file, "--list", "nothing"]).fails(2, &["--list"]);
}

/// Returns a bake file with targets that need `busybox`; each has a name, the text of its Dockerfile and
/// more attributes. The group `default` has all of them.
fn targets(targets: &[(&str, &str, &str)]) -> String {
    let names: Vec<String> = targets.iter().map(|(name, ..)| format!("{name:?}")).collect();
    let target = |(name, text, more): &(&str, &str, &str)| {
        let text = format!("FROM busybox\n{text}\n");
        format!(
            "target {name:?} {{\n  dockerfile-inline = {text:?}\n  \
             output = [\"type=oci,tar=false,dest=out/{name}\"]\n  {more}\n}}\n"
        )
    };
    let texts: String = targets.iter().map(target).collect();
    format!("group \"default\" {{ targets = [{}] }}\n{texts}", names.join(", "))
}

/// Bakes the targets of the file with busybox.
fn bake_all(place: &Place, more: &[&str]) -> Finished {
    // A layout keeps the images that it has.
    let _ = fs::remove_dir_all(place.context().join("out"));
    let base = format!("*.contexts.{}", place.base("busybox"));
    bake(place, &[&["--jobs", "2", "--set", &base], more].concat())
}

/// A command that makes a file and waits for another, both in a cache mount; it fails after a minute.
fn meet(own: &str, other: &str) -> String {
    format!(
        "RUN --mount=type=cache,id=meet,target=/meet touch /meet/{own}; i=0; \
         while [ ! -e /meet/{other} ]; do i=$((i+1)); [ $i -lt 600 ] || exit 9; sleep 0.1; done"
    )
}

/// Runs `xbuild compose-build ARGS` in a folder of the context of a place.
fn compose(place: &Place, folder: &str, args: &[&str]) -> Finished {
    let mut command = place.xbuild(["compose-build", "--progress", "plain"]);
    command.args(args).current_dir(place.context().join(folder));
    Finished::run(command)
}

/// Returns the targets that `compose-build --print` prints.
fn composed(place: &Place, folder: &str, args: &[&str]) -> Value {
    let done = compose(place, folder, &[args, &["--print"]].concat()).ok();
    serde_json::from_str::<Value>(&done.stdout).unwrap()["target"].take()
}

#[test]
fn a_compose_project_is_seen_from_its_folder() {
    let place = Place::new(User::Me);
    let file = "services:\n  a:\n    platform: linux/arm64\n    \
                build: {context: ., args: {V: $V, P: $COMPOSE_PROJECT_NAME}}\n  \
                b: {build: ./b, profiles: [p]}\n  c: {image: x, depends_on: [a]}\n";
    place.write("sub/compose.yaml", file).write("sub/.env", "V=sub\n").write("x.env", "V=x\n");
    place.write("sub/deep/er/file", "").write("other/.env", "V=other\n");
    for (folder, args, context, [value, name]) in [
        (".", &["-f", "sub/compose.yaml"][..], "sub", ["sub", "sub"]),
        ("sub/deep/er", &[], "../..", ["sub", "sub"]),
        (
            ".",
            &["-f", "sub/compose.yaml", "--env-file", "x.env", "-p", "mine"],
            "sub",
            ["x", "mine"],
        ),
        (
            ".",
            &["-f", "sub/compose.yaml", "--project-directory", "other"],
            "other",
            ["other", "other"],
        ),
    ] {
        let targets = composed(&place, folder, args);
        let a = &targets["a"];
        assert_eq!(a["context"], context, "{args:?}");
        assert_eq!([&a["args"]["V"], &a["args"]["P"]], [value, name], "{args:?}");
        assert_eq!([&a["tags"][0], &a["platforms"][0]], [&format!("{name}-a"), "linux/arm64"]);
        assert_eq!(targets.as_object().unwrap().len(), 1, "{args:?}");
    }
    place.write(
        ".env",
        "COMPOSE_PATH_SEPARATOR=,\nCOMPOSE_FILE=sub/compose.yaml,more.yaml\n\
         COMPOSE_PROFILES=p\nCOMPOSE_PROJECT_NAME=dot\n",
    );
    place.write("more.yaml", "services: {d: {build: d}}\n");
    let targets = composed(&place, ".", &["--build-arg", "COMPOSE_PROFILES"]);
    assert_eq!(targets["a"]["args"]["COMPOSE_PROFILES"], "p");
    assert_eq!([&targets["b"]["context"], &targets["d"]["context"]], ["sub/b", "sub/d"]);
    assert_eq!([&targets["a"]["tags"][0], &targets["a"]["args"]["V"]], ["dot-a", "sub"]);
}

#[test]
fn compose_build_says_what_it_does_not_do() {
    let place = Place::new(User::Me);
    place.write("compose.yaml", "services: {a: {image: \"x:$NONE\"}}\n");
    let done = compose(&place, ".", &[]).ok();
    done.says(&["warning: compose.yaml:1: variable NONE is not set", "nothing to build"]);
    compose(&place, ".", &["a"]).ok().says(&["nothing to build"]);
    compose(&place, ".", &["b"]).fails(2, &["there is no service b"]);
    compose(&place, ".", &["-p", "Foo"]).fails(2, &["invalid project name \"Foo\""]);
    compose(&place, ".", &["--dry-run"]).fails(2, &["--dry-run", "--print"]);
    compose(&place, ".", &["--env-file", "none"]).fails(1, &["none: there is no such file"]);
}

/// Neither target can be built before the other is.
#[test]
fn steps_of_independent_targets_run_at_once() {
    needs!(Run);
    let place = Place::new(User::Me);
    let (a, b) = (meet("a", "b"), meet("b", "a"));
    place.write("docker-bake.hcl", targets(&[("a", &a, ""), ("b", &b, "")]));
    let done = bake_all(&place, &[]).ok();
    done.says(&["[a 2/2] RUN", "[b 2/2] RUN", "built in ", "of 2 steps cached"]);
    assert_eq!(done.stderr.matches("built in ").count(), 1, "{}", done.stderr);
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert_eq!([lines[0], lines[2]], ["a", "b"], "{}", done.stdout);
}

/// The steps count how often they run in a cache mount.
const COUNT: &str = "RUN --mount=type=cache,id=count,target=/count echo >> /count/runs && \
                     wc -l < /count/runs > /number";

#[test]
fn a_shared_step_runs_once_also_without_cache_of_one() {
    needs!(Run);
    let place = Place::new(User::Me);
    let own = |name: &str| format!("{COUNT}\nRUN echo {name} > /name");
    let texts = ["a", "b", "c", "d"].map(own);
    let all: Vec<_> = ["a", "b", "c", "d"].into_iter().zip(&texts).collect();
    let all: Vec<_> = all.iter().map(|(name, text)| (*name, text.as_str(), "")).collect();
    place.write("docker-bake.hcl", targets(&all));
    let number = |name: &str| built(&place, name).text("number").trim().to_owned();
    // A target that is named twice is built once.
    let done = bake_all(&place, &["a", "b", "default", "a"]).ok();
    assert_eq!(["a", "b", "c", "d"].map(number), ["1", "1", "1", "1"]);
    assert_eq!(done.stdout.lines().filter(|line| *line == "a").count(), 1, "{}", done.stdout);
    bake_all(&place, &["--set", "b.no-cache=true"]).ok();
    assert_eq!(number("b"), "2");
    assert!(["a", "c", "d"].map(number).iter().all(|number| number == "1" || number == "2"));
    // Without a cache for all it runs once more, not once for each.
    bake_all(&place, &["--no-cache"]).ok();
    assert_eq!(["a", "b", "c", "d"].map(number), ["3", "3", "3", "3"]);
}

#[test]
fn each_target_has_its_own_secrets() {
    needs!(Run);
    let place = Place::new(User::Me);
    place.write("a.txt", "of a").write("b.txt", "of b");
    let text = "RUN --mount=type=secret,id=s,target=/s cat /s > /copy";
    let secret = |name: &str| format!("secret = [\"id=s,src={name}.txt\"]");
    let (a, b) = (secret("a"), secret("b"));
    let missing = "RUN --mount=type=secret,id=s,target=/s test ! -e /s";
    let all = [("a", text, a.as_str()), ("b", text, b.as_str()), ("c", missing, "")];
    place.write("docker-bake.hcl", targets(&all));
    bake_all(&place, &[]).ok();
    assert_eq!(["a", "b"].map(|name| built(&place, name).text("copy")), ["of a", "of b"]);
    // A target without the secret must not have the result of one with it.
    let all = [("a", text, a.as_str()), ("d", text, "")];
    place.write("docker-bake.hcl", targets(&all));
    bake_all(&place, &["--no-cache"]).fails(3, &["target d:"]);
}

#[test]
fn a_failure_ends_the_other_targets() {
    needs!(Run);
    let place = Place::new(User::Me);
    let long = "RUN --mount=type=cache,id=meet,target=/meet touch /meet/long; sleep 1000";
    let bad = format!("{} ; exit 3", meet("bad", "long"));
    place.write(
        "docker-bake.hcl",
        targets(&[
            ("bad", &bad, "contexts = { whole = \"target:whole\" }"),
            ("long", long, ""),
            ("whole", COUNT, ""),
        ]),
    );
    let start = std::time::Instant::now();
    let done = bake_all(&place, &["--metadata-file", "meta.json"]);
    let done = done.fails(3, &["target bad:", "CANCELED"]);
    assert!(start.elapsed().as_secs() < 500);
    assert!(!done.stderr.contains("target long:"), "{}", done.stderr);
    assert!(!place.context().join("meta.json").exists());
    // What was whole is kept.
    bake_all(&place, &["whole"]).ok().says(&["1 of 1 step cached"]);
}

#[test]
fn targets_are_contexts_through_two_levels() {
    needs!(Run);
    let place = Place::new(User::Me);
    let link = |name: &str| format!("contexts = {{ {name} = \"target:{name}\" }}");
    let (of_base, of_mid) = (link("base"), link("mid"));
    place.write(
        "docker-bake.hcl",
        targets(&[
            ("app", "COPY --from=mid /number /name /", &of_mid),
            ("base", COUNT, ""),
            ("mid", "COPY --from=base /number /\nRUN echo mid > /name", &of_base),
        ]),
    );
    bake_all(&place, &["app", "mid"]).ok().says(&["[base 2/2] RUN", "[mid 2/3] COPY"]);
    let app = built(&place, "app");
    assert_eq!([app.text("number"), app.text("name")], ["1", "mid"]);
    assert_eq!(built(&place, "mid").text("number"), "1");
    assert!(!place.context().join("out/base").exists());
    bake_all(&place, &["--set", "base.contexts.app=target:app"]).fails(1, &["context of it"]);
}

#[test]
fn equal_copies_of_other_contexts_are_other_steps() {
    let place = Place::new(User::Me);
    place.write("a/file", "a").write("b/file", "b").write("b/.dockerignore", "none");
    let target = |name: &str, context: &str| {
        format!(
            "target {name:?} {{\n context = {context:?}\n dockerfile-inline = \"FROM scratch\\nCOPY . /\\n\"\n \
             output = [\"type=oci,tar=false,dest=out/{name}\"]\n}}\n"
        )
    };
    let group = "group \"default\" { targets = [\"a\", \"b\", \"c\"] }\n".to_owned();
    let file = group + &target("a", "a") + &target("b", "b") + &target("c", "a");
    place.write("docker-bake.hcl", file);
    let mut command = place.xbuild(["bake", "--progress", "rawjson"]);
    command.current_dir(place.context());
    let done = Finished::run(command).ok();
    let names = ["a", "b", "c"].map(|name| built(&place, name).text("file"));
    assert_eq!(names, ["a", "b", "a"]);
    // Each target's step is told apart from the others.
    let copies = done.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let copies = copies.flat_map(|line| line["vertexes"].as_array().cloned().unwrap_or_default());
    let copies = copies.filter(|vertex| vertex["name"].as_str().unwrap().contains("COPY"));
    let digests: std::collections::BTreeSet<String> =
        copies.map(|vertex| vertex["digest"].to_string()).collect();
    assert_eq!(digests.len(), 3, "{}", done.stderr);
}

#[test]
fn a_signal_ends_all_targets() {
    needs!(Run);
    let place = Place::new(User::Me);
    let wait = |name: &str| {
        format!("RUN --mount=type=cache,id=meet,target=/meet touch /meet/{name}; sleep 1000")
    };
    let (a, b) = (wait("a"), wait("b"));
    place.write("docker-bake.hcl", targets(&[("a", &a, ""), ("b", &b, "")]));
    let base = format!("*.contexts.{}", place.base("busybox"));
    let mark = Mark::new();
    let before = host_state();
    let args = ["bake", "--jobs", "2", "--progress", "plain", "--set", &base];
    let mut build = mark.start_with(&place, &args);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let sleeps = || mark.bearers().iter().filter(|(_, line)| line.starts_with("sleep ")).count();
    while sleeps() < 2 {
        assert!(std::time::Instant::now() < deadline, "{:?}", mark.bearers());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let id = rustix::process::Pid::from_child(&build);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    build.wait().unwrap();
    mark.wait();
    assert_eq!(host_state(), before);
}
