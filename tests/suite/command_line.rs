//! The command line, as people and programs see it: options, exit statuses, digests, error messages.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Finished, Need, Place, Typed, User, is_root, to_layout};
use crate::image;

/// Builds a Dockerfile.
fn build(dockerfile: &str, args: &[&str]) -> Finished {
    let place = Place::new(User::Me);
    place.dockerfile(dockerfile).build(args)
}

#[test]
fn exit_status_tells_whose_business_a_failure_is() {
    build("FROM scratch\nENV a=b\n", &[]).fails(0, &[]);
    build("FROM scratch\nCOPY missing /\n", &[]).fails(1, &["missing"]);
    build("FROM scratch\n", &["--no-such-option"]).fails(2, &["--no-such-option"]);
    build("FROM scratch\n", &["--platform", "linux/"]).fails(2, &["linux/"]);
    build("FROM scratch\n", &["--push"]).fails(2, &["--push", "--tag"]);
    if Need::Run.is_met() {
        build("FROM busybox\nRUN exit 7\n", &[]).fails(3, &["exit code 7"]);
    }
    // Nothing listens on port 1.
    build("FROM 127.0.0.1:1/none\nENV a=b\n", &[]).fails(4, &["127.0.0.1:1/none"]);
    build("FROM busybox\nRUN true\n", &["--isolation", "none"]).fails(5, &["RUN"]);
}

#[test]
fn options_of_buildx_that_are_missing_are_refused_by_name() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM scratch\nENV a=b\n");
    for (option, value) in [
        ("--attest", "type=sbom,generator=image"),
        ("--builder", "other"),
        ("--cache-to", "type=inline"),
        ("--cgroup-parent", "a"),
        ("--policy", "reset=true"),
        ("--resource", "memory=1g"),
        // buildx accepts and ignores these, and hides them from its help.
        ("--cpu-period", "1"),
        ("--cpu-shares", "1"),
        ("-c", "1"),
        ("--cpuset-mems", "0"),
        ("--memory", "1g"),
        ("-m", "1g"),
        ("--memory-swap", "1g"),
        ("--rm=false", ""),
        ("--security-opt", "a"),
        ("--squash", ""),
    ] {
        let mut args = vec!["build", option];
        args.extend(Some(value).filter(|value| !value.is_empty()));
        let mut command = place.xbuild(args);
        command.arg(place.context());
        let name = match option {
            "-c" => "--cpu-shares",
            "-m" => "--memory",
            option => option,
        };
        let finished = Finished::run(command).fails(2, &[name, "implemented"]);
        assert_eq!(finished.stdout, "", "{option}");
    }
    // An option that asks for nothing is no reason to refuse a build.
    place.build(&["--provenance=false", "--sbom=false", "--load=false"]).ok();
    place.build(&["--provenance", "false"]).ok();
    place.build(&["--allow", "network.host"]).ok();
    // These are so in any case.
    place.build(&["--rm", "--force-rm", "--compress", "--squash=false", "-D"]).ok();
    place.build(&["--rm=true", "--force-rm=false", "--compress=0"]).ok();
    place.build(&["--compress=maybe"]).fails(2, &["--compress"]);
}

#[test]
fn commands_of_other_builders_are_refused_with_what_to_do() {
    let place = Place::new(User::Me);
    place.run(["create", "--use"]).fails(2, &["no command create", "xbuild itself builds"]);
    place.run(["image", "ls"]).fails(2, &["no command image", "`xbuild images`"]);
    place.run(["run", "-p", "80:80", "app"]).fails(125, &["-p is not implemented", "ports"]);
    // A status that the command in the image might have would mislead.
    place.run(["run", "--no-such-option", "app"]).fails(125, &["--no-such-option"]);
    place.run(["run", "--help"]).ok();
}

#[test]
fn places_that_cannot_be_written_are_found_out_before_the_first_step() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM scratch\nCOPY missing /\n");
    for (option, value) in [
        ("--output", "type=oci,dest=none/x"),
        ("--metadata-file", "none/x"),
        ("--iidfile", "none/x"),
        ("--timeline", "none/x"),
    ] {
        let finished = place.build(&[option, value]);
        finished.fails(1, &["cannot write none/x: there is no folder none", "mkdir -p none"]);
    }
    place.build(&["--iidfile", "."]).fails(1, &["cannot write .: it is a folder"]);
}

#[test]
fn archives_neither_go_to_a_terminal_nor_come_from_one() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM scratch\nENV a=b\n");
    for output in ["-", "type=oci,dest=-", "type=docker,dest=-"] {
        let typed = Typed::start(place.xbuild(place.build_args(&["--output", output])));
        typed.waits_for("hint: name a file: dest=FILE");
        typed.ends().fails(2, &["an archive does not go to a terminal"]);
    }
    let typed = Typed::start(place.xbuild(["load"]));
    typed.waits_for("no archive comes from a terminal: name a file with --input");
    typed.ends().fails(2, &[]);
    place.run(["load", "--input", "context/Dockerfile"]).fails(1, &["it is no tar file"]);
}

#[test]
fn no_umask_keeps_xbuild_from_its_own_files() {
    for user in User::all() {
        let place = Place::new(user);
        let run = if Need::Run.is_met() { "RUN echo x > /x\n" } else { "" };
        place.dockerfile(&format!("FROM busybox\nCOPY . /a\n{run}"));
        let mut command = place.command("sh");
        command.args(["-c", "umask 777; exec \"$@\"", "sh"]).arg(place.path().join("xbuild"));
        let output = format!("type=oci,dest={}", place.out("x.tar").display());
        command.args(place.build_args(&["--output", &output]));
        Finished::run(command).ok();
    }
}

#[test]
fn a_store_in_a_place_that_is_none_says_where_to_put_it() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM scratch\nENV a=b\n");
    for root in ["context/Dockerfile", "/proc/none/store"] {
        let words = ["cannot open or make the store", root, "--root or XBUILD_ROOT"];
        place.build(&["--root", root]).fails(1, &words);
    }
}

/// Buildah's names of ignore files come first for a Containerfile, else last.
#[test]
fn ignore_files_of_buildah_are_read() {
    let text = "FROM scratch\nCOPY . /\n";
    for (dockerfile, docker, buildah, left_out) in [
        ("Dockerfile", Some("a"), Some("b"), "a"),
        ("Dockerfile", None, Some("b"), "b"),
        ("Containerfile", Some("a"), Some("b"), "b"),
        ("Containerfile", Some("a"), None, "a"),
    ] {
        let place = Place::new(User::Me);
        place.write(dockerfile, text).write("a", "").write("b", "");
        for (name, text) in [(".dockerignore", docker), (".containerignore", buildah)] {
            if let Some(text) = text {
                place.write(name, text);
            }
        }
        let files = place.image(&[]).files();
        assert_eq!(
            ["a", "b"].map(|name| files.contains_key(name)),
            ["a", "b"].map(|name| name != left_out),
            "{dockerfile} {docker:?} {buildah:?}"
        );
    }
}

#[test]
fn a_wrong_ignore_file_is_named_with_the_line() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM scratch\nCOPY . /\n").write(".dockerignore", "# comment\na\n!\n");
    place.build(&[]).fails(1, &["/.dockerignore, line 3: a \"!\" without a pattern"]);
}

#[test]
fn progress_may_be_quiet() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM scratch AS a\nCOPY Dockerfile /\n");
    for (option, variable) in [("quiet", None), ("none", None), ("", Some("quiet"))] {
        let mut command = place.xbuild(["build"]);
        command.envs(variable.map(|value| ("BUILDKIT_PROGRESS", value)));
        if variable.is_none() {
            command.args(["--progress", option]);
        }
        command.arg(place.context());
        let built = Finished::run(command).ok();
        assert_eq!(built.stderr, "", "{option}");
        assert!(built.stdout.contains("sha256:"), "{}", built.stdout);
    }
}

#[test]
fn the_version_is_printed_in_two_ways() {
    let place = Place::new(User::Me);
    let version = place.run(["version"]).ok().stdout;
    assert_eq!(version, place.run(["--version"]).ok().stdout);
    assert_eq!(version, format!("xbuild {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn build_arguments_come_from_files() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM scratch\nARG A B C D\nENV A=$A B=$B C=$C D=$D\n");
    place.write("one", "# A=comment\n\nA=1\nB=2=3 # kept\n  C=4\n").write("two", "A=5\nFROM_ENV\n");
    let file = |name: &str| place.context().join(name).display().to_string();
    let (one, two) = (file("one"), file("two"));
    let files = ["--build-arg-file", &one, "--build-arg-file", &two];
    let image = place.image(&[&files[..], &["--build-arg", "C=6"]].concat());
    let wanted = ["A=5", "B=2=3 # kept", "C=6", "D="];
    let env = image.config["config"]["Env"].as_array().unwrap();
    assert!(wanted.iter().all(|one| env.contains(&json!(one))), "{env:?}");
    place.write("bad", "A=1\n=2\n");
    place.build(&["--build-arg-file", &file("bad")]).fails(1, &["bad:2", "NAME=VALUE"]);
    place.build(&["--build-arg-file", &file("absent")]).fails(1, &["absent", "--build-arg-file"]);
    let mut command = place.xbuild(["build", "--build-arg", "ODD", "."]);
    command.env("ODD", OsStr::from_bytes(b"\xff")).current_dir(place.context());
    Finished::run(command).fails(2, &["--build-arg \"ODD\"", "is no text"]);
}

#[test]
fn names_that_help_shows_are_suggested() {
    let place = Place::new(User::Me);
    let done = place.run(["buidl", "."]).fails(2, &["'build'"]);
    assert!(!done.stderr.contains("'b'"), "{}", done.stderr);
}

#[test]
fn values_without_meaning_are_refused_by_name() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM scratch\nENV a=b\n");
    for (option, value, word) in [
        ("--add-host", "a", "--add-host"),
        ("--allow", "device", "device"),
        ("--allow", "ssh", "--allow"),
        ("--annotation", "a", "--annotation"),
        ("--build-context", "a=ftp://host.example/", "ftp://"),
        ("--build-context", "a=target:b", "target:"),
        ("--isolation", "moon", "--isolation"),
        ("--jobs", "0", "--jobs"),
        ("--label", "=a", "--label"),
        ("--network", "moon", "--network"),
        ("--output", "type=docker,dest=a,context=b", "context="),
        ("--output", "type=oci,dest=a,compression=lz4", "compression"),
        ("--progress", "moon", "--progress"),
        ("--shm-size", "a", "--shm-size"),
        ("--tag", "UPPER", "UPPER"),
        ("--ulimit", "nofile=2:1", "--ulimit"),
    ] {
        place.build(&[option, value]).fails(2, &[word]);
    }
    for context in ["https://host.example/a.git?depth=1", "git@host.example:a#-x", "ftp://x/y"] {
        place.run(["build", context]).fails(2, &["error: "]);
    }
}

#[test]
fn contexts_that_cannot_be_read_are_named() {
    let place = Place::new(User::all().into_iter().last().unwrap());
    let build = |context: &str| place.run(["build", context]);
    build("absent").fails(1, &["absent", "not found"]);
    build("xbuild").fails(1, &["xbuild", "neither a folder nor a tar archive"]);
    build("context").fails(1, &["no Dockerfile", "--file"]);
    place.build(&["--file", "absent"]).fails(1, &["absent", "--file"]);
    place.dockerfile("FROM scratch\nCOPY secret /\n").write("secret", "");
    if !is_root() || place.user != User::Me {
        fs::set_permissions(place.context(), fs::Permissions::from_mode(0o700)).unwrap();
        if is_root() {
            build("context").fails(1, &["context", "ermission denied"]);
        }
        fs::set_permissions(place.context(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(place.context().join("secret"), fs::Permissions::from_mode(0o0))
            .unwrap();
        place.build(&[]).fails(1, &["secret", "ermission denied"]);
    }
}

#[test]
fn a_folder_of_docker_without_a_configuration_is_none() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nCOPY Dockerfile /\n");
    let mut command = place.xbuild(place.build_args(&[]));
    command.env("DOCKER_CONFIG", place.path().join("none"));
    Finished::run(command).ok().does_not_say("logins");
    let mut command = place.xbuild(place.build_args(&[]));
    command.env("REGISTRY_AUTH_FILE", place.path().join("none"));
    Finished::run(command).ok().says(&["warning: ", "none", "logins have no effect"]);
}

/// As in a container whose HOME is root's.
#[test]
fn a_home_folder_of_somebody_else_is_passed_over() {
    let place = Place::new(User::Single);
    let home = place.dockerfile("FROM scratch\nENV a=b\n").path().join("closed");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o0)).unwrap();
    let build = |folder: Option<&str>| {
        let mut command = place.xbuild(place.build_args(&[]));
        command.env("HOME", &home).envs(folder.map(|folder| ("DOCKER_CONFIG", home.join(folder))));
        Finished::run(command)
    };
    build(None).ok().says(&["warning: ", "closed is closed to this user", "DOCKER_CONFIG"]);
    // A folder that the user names cannot be read either: this build needs no login.
    build(Some("docker")).ok().says(&["warning: cannot read", "closed/docker/config.json"]);
    // What is closed to its owner cannot be removed with its place.
    fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn errors_show_their_lines() {
    build("FROM scratch\nENV a=b\nRUNN true\nENV c=d\n", &[]).fails(
        1,
        &[
            " --> context/Dockerfile:3",
            "   2 |  ENV a=b\n   3 |> RUNN true\n   4 |  ENV c=d",
            "RUN",
        ],
    );
    build("FROM scratch\nCOPY \\\n  missing \\\n  /\n", &[]).fails(
        1,
        &[
            "missing",
            " --> context/Dockerfile:2-4",
            "   2 |> COPY \\\n   3 |>   missing \\\n   4 |>   /",
        ],
    );
    build("FROM scratch\nRUN --mount=type=cahce,target=/a true\n", &[])
        .fails(1, &["\"cahce\"", "   2 |> RUN", "did you mean cache?"]);
    build("FROM scratch AS a\nENV a=b\n", &["--target", "b"]).fails(1, &["b"]);
    // Control characters do not reach the reader's terminal.
    let finished = build("FROM scratch\nCOPY \u{1b}[31mred /\n", &[]).fails(1, &["red"]);
    assert!(!finished.stderr.contains('\u{1b}'), "{:?}", finished.stderr);
}

#[test]
fn quiet_prints_the_digest_alone() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nCOPY Dockerfile /\n");
    let layout = place.out("image");
    let output = to_layout(&layout);
    let id = place.out("id");
    let finished =
        place.build(&["-q", "--output", &output, "--iidfile", id.to_str().unwrap()]).ok();
    assert_eq!(finished.stderr, "");
    let digest = finished.stdout.trim_end_matches('\n');
    assert_eq!(finished.stdout, format!("{digest}\n"));
    assert_eq!(image::read(&layout)[0].digest, digest);
    assert_eq!(fs::read_to_string(id).unwrap().trim_end(), digest);
}

#[test]
fn the_metadata_file_says_what_came_out() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nCOPY Dockerfile /\n");
    let file = place.out("metadata.json");
    let build = |layout: &str, platforms: &str| -> (Value, Value) {
        let layout = place.out(layout);
        let output = to_layout(&layout);
        let args = ["--output", &output, "--platform", platforms, "-t", "registry.example/a:1"];
        let more = ["-t", "registry.example/b:2", "--metadata-file", file.to_str().unwrap()];
        let finished = place.build(&[&args[..], &more].concat()).ok();
        let metadata: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(metadata["image.name"], "registry.example/a:1,registry.example/b:2");
        for image in image::read(&layout) {
            finished.prints(&[&image.digest]);
        }
        let top = fs::read(layout.join("index.json")).unwrap();
        let top: Value = serde_json::from_slice(&top).unwrap();
        (metadata, top["manifests"][0].clone())
    };
    let images = |layout: &str| image::read(&place.out(layout));
    let of = |descriptor: &Value| {
        json!({
            "mediaType": descriptor["mediaType"],
            "digest": descriptor["digest"],
            "size": descriptor["size"],
        })
    };

    let (metadata, top) = build("one", "linux/arm64");
    let image = &images("one")[0];
    assert_eq!(metadata["containerimage.digest"], image.digest);
    assert_eq!(metadata["containerimage.config.digest"], image.manifest["config"]["digest"]);
    let descriptor = &metadata["containerimage.descriptor"];
    assert_eq!(of(descriptor), of(&top));

    let (metadata, top) = build("two", "linux/s390x,linux/amd64");
    assert_eq!(metadata["containerimage.digest"], top["digest"]);
    assert_eq!(metadata["containerimage.config.digest"], Value::Null);
    assert_eq!(of(&metadata["containerimage.descriptor"]), of(&top));
    let platforms = metadata["containerimage.platforms"].as_array().unwrap();
    let images = images("two");
    assert_eq!((platforms.len(), images.len()), (2, 2));
    for (text, image) in platforms.iter().zip(&images) {
        assert!(text.to_string().contains(&image.digest), "{text}");
        assert!(text.to_string().contains(&image.platform), "{text}");
    }
    assert_eq!(images[0].platform, "linux/s390x");
}

#[test]
fn help_names_every_command_and_option() {
    let place = Place::new(User::Me);
    let help = |args: &[&str]| place.run(args).ok().stdout;
    let top = help(&["--help"]);
    for command in
        ["build", "doctor", "platforms", "emulators", "inspect", "du", "prune", "completions"]
    {
        assert!(top.contains(&format!("\n  {command} ")), "{command}");
        assert!(help(&[command, "--help"]).contains("Usage: xbuild"), "{command}");
    }
    assert!(top.contains("Exit status:"));
    let build = help(&["build", "--help"]);
    for option in [
        "-f, --file",
        "-t, --tag",
        "--platform",
        "--build-arg",
        "--build-context",
        "--target",
        "--label",
        "--annotation",
        "--no-cache",
        "--pull",
        "--push",
        "-o, --output",
        "--metadata-file",
        "--iidfile",
        "--progress",
        "-q, --quiet",
        "--root",
        "--isolation",
        "--jobs",
        "--network",
        "--add-host",
        "--ulimit",
        "--shm-size",
    ] {
        assert!(build.contains(option), "{option}");
    }
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let place = Place::new(User::Me);
    let image = format!("oci-layout://{}", place.base("busybox").split_once("//").unwrap().1);
    for args in [
        &["--help"][..],
        &["build", "--help"],
        &["completions", "bash"],
        &["platforms"],
        &["doctor"],
        &["du"],
        &["inspect", "--raw", &image],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command: Command = place.xbuild(args);
        let output =
            command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output();
        let finished = Finished::of(output.unwrap()).ok();
        assert_eq!(finished.stderr, "", "{args:?}");
    }
    // The same for the reader of the progress, in a build that has warnings.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    place.dockerfile("FROM busybox as base\nCOPY Dockerfile /\n");
    let mut command = place.xbuild(place.build_args(&[]));
    let finished = Finished::of(command.stderr(writer).output().unwrap());
    assert_eq!(finished.status, 0);
    finished.prints(&["sha256:"]);
}

#[test]
fn inspect_shows_what_is_there() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nCOPY Dockerfile /\nCMD [\"sh\", \"-c\", \"true\"]\n");
    let images = place.images(&["--platform", "linux/amd64,linux/arm/v7"]);
    let layout = fs::read_dir(place.out("")).unwrap().next().unwrap().unwrap().path();
    let name = format!("oci-layout://{}", layout.display());
    let inspect = |args: &[&str]| place.run([&["inspect", &name], args].concat()).ok().stdout;

    let raw = inspect(&["--raw"]);
    let top: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    assert_eq!(image::digest(raw.as_bytes()), top["manifests"][0]["digest"]);

    let json: Value = serde_json::from_str(&inspect(&["--format", "json"])).unwrap();
    let text = inspect(&[]);
    for (number, image) in images.iter().enumerate() {
        assert_eq!(json["images"][number]["platform"], image.platform);
        assert_eq!(json["images"][number]["manifest"], image.manifest);
        assert_eq!(json["images"][number]["config"], image.config);
        for layer in image.manifest["layers"].as_array().unwrap() {
            assert!(text.contains(layer["digest"].as_str().unwrap()), "{text}");
        }
        assert!(text.contains(&image.digest), "{text}");
    }
    place.run(["inspect", "oci-layout:///absent"]).fails(1, &["/absent"]);
}

#[test]
fn platforms_names_all_and_says_how() {
    let place = Place::new(User::Me);
    let table = place.run(["platforms"]).ok().stdout;
    for platform in [
        "linux/amd64",
        "linux/arm64",
        "linux/arm/v7",
        "linux/arm/v6",
        "linux/arm/v5",
        "linux/386",
        "linux/ppc64le",
        "linux/s390x",
        "linux/riscv64",
        "linux/mips64le",
        "linux/loong64",
    ] {
        assert!(table.lines().any(|line| line.starts_with(platform)), "{platform}:\n{table}");
    }
    if Need::Run.is_met() {
        let own = if cfg!(target_arch = "x86_64") { "linux/amd64" } else { "linux/arm64" };
        let line = table.lines().find(|line| line.starts_with(own)).unwrap();
        assert!(line.contains("native"), "{line}");
    }
    let mut nowhere = place.xbuild(["platforms"]);
    nowhere.env("PATH", "/nowhere");
    let table = Finished::run(nowhere).ok().stdout;
    assert!(table.contains("qemu"), "{table}");
}
