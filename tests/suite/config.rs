//! The configuration file: defaults for options, and the command that shows and changes it.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::harness::{Finished, Place, User};
use crate::image;

/// Returns the place of the file.
fn path(place: &Place) -> PathBuf {
    place.path().join("home/.config/xbuild/config.toml")
}

/// Writes the file.
fn configure(place: &Place, text: &str) {
    fs::create_dir_all(path(place).parent().unwrap()).unwrap();
    fs::write(path(place), text).unwrap();
}

fn small() -> Place {
    let place = Place::new(User::Me);
    place.dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    place
}

/// Builds into a layout, with variables, and returns the platforms.
fn platforms(place: &Place, args: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
    let layout = place.out(&format!("{}-{}", args.join("_").replace('/', "-"), variables.len()));
    let mut command = place.xbuild(["build"]);
    command.args(args).envs(variables.iter().copied()).arg(place.context());
    command.args(["--output", &crate::harness::to_layout(&layout)]);
    Finished::run(command).ok();
    image::read(&layout).into_iter().map(|image| image.platform).collect()
}

#[test]
fn the_line_counts_before_the_environment_and_that_before_the_file() {
    let place = small();
    configure(
        &place,
        "platform = [\"linux/s390x\"]\n[build]\nplatform = [\"linux/arm64\", \"linux/arm/v7\"]\n",
    );
    assert_eq!(platforms(&place, &[], &[]), ["linux/arm64", "linux/arm/v7"]);
    let variable = [("DOCKER_DEFAULT_PLATFORM", "linux/386")];
    assert_eq!(platforms(&place, &[], &variable), ["linux/386"]);
    assert_eq!(platforms(&place, &["--platform", "linux/ppc64le"], &variable), ["linux/ppc64le"]);
    // What is empty is as good as unset.
    let empty = [("DOCKER_DEFAULT_PLATFORM", ""), ("BUILDKIT_PROGRESS", "")];
    assert_eq!(platforms(&place, &[], &empty), ["linux/arm64", "linux/arm/v7"]);
    configure(&place, "platform = \"linux/s390x\"\n");
    assert_eq!(platforms(&place, &["--pull"], &[]), ["linux/s390x"]);
}

#[test]
fn switches_of_the_file_can_be_turned_off() {
    let place = small();
    configure(&place, "[build]\nquiet = true\ntarget = \"none\"\n");
    let build = |args: &[&str]| {
        let context = place.context();
        place.run([&["build"], args, &[context.to_str().unwrap()]].concat())
    };
    build(&[]).fails(1, &["none"]);
    configure(&place, "[build]\nquiet = true\n");
    assert_eq!(build(&[]).ok().stderr, "");
    build(&["--quiet=false"]).ok().says(&["COPY"]);
    configure(&place, "[build]\npush = true\n");
    build(&[]).fails(2, &["--push", "has a default in", "config.toml:2"]);
    build(&["--push=false"]).ok();
}

#[test]
fn a_build_and_its_lock_have_the_same_options() {
    let place = small();
    place.dockerfile("FROM scratch\nARG A\nLABEL a=$A\n");
    configure(
        &place,
        "[build]\nbuild-arg = [\"A=1\"]\ntarget = \"none\"\n[lock]\ntarget = \"other\"\n",
    );
    let context = place.context();
    place.run(["lock", context.to_str().unwrap()]).fails(1, &["other"]);
    configure(&place, "[build]\ntarget = \"none\"\n");
    place.run(["lock", context.to_str().unwrap()]).fails(1, &["none"]);
    place.run(["check", context.to_str().unwrap()]).ok();
}

#[test]
fn faults_of_the_file_are_named() {
    let place = small();
    let refused = |text: &str, words: &[&str]| {
        configure(&place, text);
        let words: Vec<&str> = words.iter().copied().chain(["error: ", "config.toml:"]).collect();
        place.build(&[]).fails(1, &words);
        place.run(["config"]).fails(1, &words[..1]);
    };
    for (text, words) in [
        (
            "[build]\nplatfrom = []\n",
            &["config.toml:2: unknown key build.platfrom", "did you mean build.platform?"][..],
        ),
        ("[buidl]\npush = true\n", &["unknown table buidl", "did you mean build?"]),
        ("\nprogess = \"x\"\n", &["config.toml:2: unknown key progess", "did you mean progress?"]),
        (
            "[index.crate]\nfile = \"x\"\n",
            &["unknown table index.crate", "did you mean index.create?"],
        ),
        (
            "[build]\nprogress = \"moon\"\n",
            &["config.toml:2: invalid build.progress \"moon\"", "auto"],
        ),
        ("[build]\njobs = 0\n", &["invalid build.jobs \"0\""]),
        ("[build]\npush = \"maybe\"\n", &["invalid build.push", "true or false"]),
        ("[build]\ntarget = [\"a\"]\n", &["build.target is a list, but --target takes one value"]),
        ("[build]\ncontext = \".\"\n", &["build.context is no option", "command line"]),
        ("[build]\nmemory = \"1g\"\n", &["build.memory: --memory has no default", "no cgroups"]),
        ("[login]\npassword-stdin = true\n", &["login.password-stdin", "belongs to a single call"]),
        ("build = true\n", &["build is a command", "the table [build]"]),
        ("[build]\nplatform = \n", &["config.toml:2: "]),
        ("[build]\nlabel = { a = 1 }\n", &["unknown table build.label"]),
        (
            "[store]\nmax-used-spce = 1\n",
            &["unknown key store.max-used-spce", "did you mean store.max-used-space?"],
        ),
    ] {
        refused(text, words);
    }
    // What is wrong elsewhere is found by the command that shows the file.
    configure(&place, "[bake]\nprogress = \"moon\"\n[store]\nmax-used-space = \"1g\"\n");
    place.run(["check", place.context().to_str().unwrap()]).ok();
    place.run(["config"]).fails(1, &["config.toml:2: invalid bake.progress"]);
    configure(&place, "broken");
    place.run(["version"]).ok();
    place.run(["build", "--help"]).ok().prints(&["--push\n"]);
    place.run(["config", "path"]).ok().prints(&["/home/.config/xbuild/config.toml\n"]);
    place.build(&[]).fails(1, &["config.toml:1", "xbuild config"]);
}

#[test]
fn the_file_bounds_the_store() {
    let place = small();
    configure(&place, "[store]\nmax-used-space = \"moon\"\n");
    place.build(&[]).fails(2, &["store.max-used-space"]);
    configure(&place, "[store]\nmax-used-space = \"7m\"\n");
    let bound = |command: &str, variable: Option<&str>| {
        let mut command = place.xbuild([command, "--format", "json"]);
        command.envs(variable.map(|value| ("XBUILD_MAX_USED_SPACE", value)));
        let shown: Value = serde_json::from_str(&Finished::run(command).ok().stdout).unwrap();
        shown["bound"].clone()
    };
    assert_eq!(bound("du", None), 7 << 20);
    assert_eq!(bound("du", Some("8m")), 8 << 20);
}

#[test]
fn the_configuration_is_shown_with_its_places() {
    let place = small();
    configure(
        &place,
        "root = \"~/other\"\n[build]\njobs = 3\nprogress = \"quiet\"\n[registry.\"r.example\"]\nheaders = { A = \"hidden\" }\n",
    );
    let config = |args: &[&str]| {
        let mut command = place.xbuild(["config"]);
        command.args(args).env("BUILDKIT_PROGRESS", "plain");
        Finished::run(command)
    };
    let list = config(&[]).ok();
    list.prints(&[
        "build.jobs",
        "config.toml:3\n",
        "without effect: BUILDKIT_PROGRESS is set",
        "environment",
    ]);
    assert!(!list.stdout.contains("hidden"), "{}", list.stdout);
    let shown =
        config(&["list", "--format", "json", "build", "--no-cache", "--target", "t", "."]).ok();
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    let of = |key: &str| {
        let rows = shown["values"].as_array().unwrap();
        let row = rows.iter().find(|row| row["key"] == key).unwrap();
        (row["values"][0].as_str().unwrap().to_owned(), row["from"].as_str().unwrap().to_owned())
    };
    let at = |line: u32| format!("{}:{line}", path(&place).display());
    let own = |text: &str, from: &str| (text.to_owned(), from.to_owned());
    assert_eq!(of("target"), own("t", "command line"));
    assert_eq!(of("no-cache"), own("true", "command line"));
    assert_eq!(of("progress"), own("plain", "BUILDKIT_PROGRESS"));
    assert_eq!(of("jobs"), own("3", &at(3)));
    assert_eq!(of("network"), own("default", "built in"));
    let home = place.path().join("home/other").display().to_string();
    assert_eq!(of("root"), (home.clone(), at(1)));
    assert_eq!(config(&["get", "build.progress"]).ok().stdout, "plain\n");
    assert_eq!(place.run(["config", "get", "build.progress"]).ok().stdout, "quiet\n");
    assert_eq!(config(&["get", "run.network"]).ok().stdout, "default\n");
    config(&["get", "build.target"]).fails(1, &["build.target has no value"]);
    config(&["list", "build", "--nonsense"]).fails(2, &["--nonsense"]);
    place.run(["du"]).ok().prints(&[&home]);
}

#[test]
fn the_configuration_is_changed_in_place() {
    let place = small();
    let config = |args: &[&str]| place.run([&["config"], args].concat());
    config(&["set", "build.platform", "linux/amd64", "linux/arm64"]).ok();
    config(&["set", "build.push", "false"]).ok();
    let text = || fs::read_to_string(path(&place)).unwrap();
    assert_eq!(text(), "[build]\nplatform = [\"linux/amd64\", \"linux/arm64\"]\npush = false\n");
    config(&["set", "build.progress", "moon"]).fails(1, &["build.progress", "auto"]);
    config(&["set", "build.progres", "tty"]).fails(1, &["did you mean build.progress?"]);
    config(&["set", "build.target", "a", "b"]).fails(2, &["one value"]);
    config(&["unset", "build.target"]).fails(1, &["does not set build.target"]);
    config(&["unset", "build.push"]).ok();
    config(&["unset", "build.platform"]).ok();
    assert_eq!(text(), "");
    config(&["set", "registry.\"r.example\".mirrors", "m.example", "n.example:5000"]).ok();
    config(&["set", "registry.\"r.example\".chunk-size", "5000"]).ok();
    config(&["set", "registry.\"r.example\".headers.X-Token", "7"]).ok();
    assert_eq!(
        text(),
        "[registry.\"r.example\"]\nmirrors = [\"m.example\", \"n.example:5000\"]\nchunk-size = 5000\n\n\
         [registry.\"r.example\".headers]\nX-Token = \"7\"\n"
    );
    place.build(&[]).ok().does_not_say("has no effect");
    config(&["get", "registry.\"r.example\".chunk-size"]).ok().prints(&["5000\n"]);
    config(&["set", "registry.r.example.insecure", "true"])
        .fails(1, &["did you mean registry.\"r.example\".insecure?"]);
    config(&["set", "registry.\"r.example\".mirror", "m"]).fails(1, &["\".mirrors?"]);
    config(&["unset", "registry"]).ok();
    configure(&place, "[registry.\"r.example\"]\nmirror = [\"m\"]\n");
    config(&["list"]).fails(1, &["config.toml:2", "\".mirrors?"]);
    configure(&place, "broken");
    config(&["set", "build.push", "true"]).fails(1, &["config.toml"]);
    // Another file.
    let mut command = place.xbuild(["config", "set", "build.push", "true"]);
    command.env("XBUILD_CONFIG", place.out("own.toml"));
    Finished::run(command).ok();
    assert_eq!(fs::read_to_string(place.out("own.toml")).unwrap(), "[build]\npush = true\n");
}

#[test]
fn a_wrong_variable_is_named_and_not_its_option() {
    let place = small();
    let context = place.context();
    let run = |args: &[&str], (name, value): (&str, &str)| {
        let mut command = place.xbuild(args);
        command.env(name, value).current_dir(&context);
        Finished::run(command)
    };
    for (args, variable, status, words) in [
        (&["build", "."][..], ("BUILDKIT_PROGRESS", "moon"), 2, &["expected auto", "rawjson"][..]),
        (&["build", "."], ("XBUILD_EMULATION", "moon"), 2, &["moon"]),
        (
            &["build", "."],
            ("DOCKER_DEFAULT_PLATFORM", "linux/amd46"),
            2,
            &["did you mean linux/amd64?"],
        ),
        (
            &["lock", "."],
            ("DOCKER_DEFAULT_PLATFORM", "linux/amd46"),
            2,
            &["did you mean linux/amd64?"],
        ),
        (&["run", "none"], ("DOCKER_DEFAULT_PLATFORM", "a/b/c/d/e"), 125, &["a/b/c/d/e"]),
        (&["pull", "none"], ("DOCKER_DEFAULT_PLATFORM", "a/b/c/d/e"), 2, &["a/b/c/d/e"]),
        (
            &["build", "."],
            ("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY", "/none"),
            1,
            &["cannot read /none"],
        ),
        (&["du"], ("XBUILD_MAX_USED_SPACE", "moon"), 2, &["moon"]),
        (&["build", "."], ("XBUILD_CREDENTIAL_TIMEOUT", "moon"), 2, &["number of seconds"]),
        (&["config", "list", "build", "."], ("BUILDKIT_PROGRESS", "moon"), 2, &["expected auto"]),
    ] {
        let words: Vec<&str> = words.iter().copied().chain([variable.0]).collect();
        run(args, variable).fails(status, &words);
    }
    // What is on the line counts, and is to blame for itself.
    let variable = ("BUILDKIT_PROGRESS", "moon");
    run(&["build", "--progress", "plain", "."], variable).ok();
    run(&["build", "--progress", "sun", "."], variable)
        .fails(2, &["--progress", "sun"])
        .does_not_say("BUILDKIT_PROGRESS");
    run(&["build", "--platform", "linux/amd46", "."], ("DOCKER_DEFAULT_PLATFORM", "linux/386"))
        .fails(2, &["amd46"])
        .does_not_say("DOCKER_DEFAULT_PLATFORM");
}
