//! Registries with quirks, and the logins of this user, as the program meets them. The rules are
//! tests of the crates `registry` and `image`; here they are wired.

use std::fs;
use std::time::Duration;

use serde_json::json;
use xbuild_model::manifest::{OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST};
use xbuild_model::{Descriptor, Digest};
use xbuild_testkit::registry::{Action, Fault, Login, Registry, Rules};
use xbuild_testkit::wire::Response;

use crate::harness::{Finished, Place, User};

/// Puts an image for amd64 with one file into the registry, in an index that says `platform`; returns
/// its name and the digest of its layer.
fn base(registry: &Registry, platform: &str) -> (String, Digest) {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(6);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, "hello.txt", &b"hello\n"[..]).unwrap();
    // The type says gzip: the first bytes decide.
    let layer = tar.into_inner().unwrap();
    let config = json!({"os": "linux", "architecture": "amd64", "config": {"User": null},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]}})
    .to_string();
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "annotations": null,
        "config": Descriptor::of(OCI_CONFIG, config.as_bytes()),
        "layers": [Descriptor::of(OCI_LAYER_GZIP, &layer)]})
    .to_string();
    let digest = registry.put_blob("base", &layer);
    registry.put_blob("base", config.as_bytes());
    registry.put_manifest("base", "manifest", OCI_MANIFEST, manifest.as_bytes());
    let mut entry = json!(Descriptor::of(OCI_MANIFEST, manifest.as_bytes()));
    entry["platform"] = json!({"os": "linux", "architecture": platform, "os.features": null});
    let index = json!({"schemaVersion": 2, "manifests": [null, entry]}).to_string();
    registry.put_manifest("base", "latest", OCI_INDEX, index.as_bytes());
    (format!("{}/base", registry.host()), digest)
}

fn login(place: &Place, text: &str) {
    let folder = place.path().join("home/.docker");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.json"), text).unwrap();
}

#[test]
fn odd_logins_are_warnings_of_builds_that_need_none() {
    for user in User::all() {
        let place = Place::new(user);
        place.write("f", "text").dockerfile("FROM scratch\nCOPY f /\n");
        for (text, said) in [
            ("", None),
            (r#"{"auths": null, "credHelpers": {"r.example": ""}}"#, None),
            (r#"{"auths": {"r.example": {"auth": "!!"}}}"#, Some("\"r.example\" is not base64")),
            ("{", Some("config.json: malformed at line 1")),
            (r#"{"proxies": []}"#, Some("\"proxies\" is not of the expected form")),
        ] {
            login(&place, text);
            let built = place.build(&[]).ok();
            match said {
                Some(said) => built.says(&["warning: ", said]),
                None => built.does_not_say("config.json"),
            }
            place.run(["check", "context"]).ok();
        }
    }
}

#[test]
fn logins_come_from_variables_and_files() {
    let registry = Registry::start();
    let (name, _) = base(&registry, "amd64");
    registry.require(Login::Basic("user".to_owned(), "pass".to_owned()));
    let place = Place::new(User::Me);
    place.write("f", "text").dockerfile(&format!("FROM {name}\nCOPY f /\n"));
    let auth = json!({"auths": {registry.host(): {"auth": "dXNlcjpwYXNz"}}}).to_string();
    let file = place.path().join("auth.json");
    fs::write(&file, &auth).unwrap();
    let config = place.path().join("config/containers");
    fs::create_dir_all(&config).unwrap();
    fs::copy(&file, config.join("auth.json")).unwrap();
    let folder = config.parent().unwrap().to_str().unwrap();
    let file = file.to_str().unwrap();
    let build = |variable: &str, value: &str| {
        let mut command = place.xbuild(place.build_args(&["--platform", "linux/amd64"]));
        command.env(variable, value);
        Finished::run(command)
    };
    for (variable, value) in [
        ("DOCKER_AUTH_CONFIG", auth.as_str()),
        ("REGISTRY_AUTH_FILE", file),
        ("XDG_RUNTIME_DIR", folder),
        ("XDG_CONFIG_HOME", folder),
    ] {
        build(variable, value).ok();
    }
    build("OTHER", "").fails(4, &["denied access", "log in with"]);
    build("REGISTRY_AUTH_FILE", "/nowhere").fails(4, &["cannot read /nowhere", "denied access"]);
    build("XBUILD_CREDENTIAL_TIMEOUT", "soon").fails(2, &["expected a number of seconds"]);
}

#[test]
fn the_index_counts_where_a_configuration_differs() {
    let registry = Registry::start();
    let (name, _) = base(&registry, "arm64");
    let place = Place::new(User::Me);
    place.write("f", "text").dockerfile(&format!("FROM {name}\nCOPY f /\n"));
    let said = "the index says linux/arm64, the configuration linux/amd64";
    place.build(&["--platform", "linux/arm64"]).ok().says(&["warning: ", said]);
}

/// Many machines start several builds of one base image at once.
#[test]
fn a_blob_is_pulled_once_for_all_builds_that_share_a_store() {
    let registry = Registry::start();
    let (name, layer) = base(&registry, "amd64");
    let part = format!("/blobs/{layer}");
    let place = Place::new(User::Me);
    place.write("f", "text").dockerfile(&format!("FROM {name}\nCOPY f /\n"));
    let start = || {
        let mut command = place.xbuild(place.build_args(&["--platform", "linux/amd64"]));
        command.spawn().unwrap()
    };
    let until_asked = |times: usize| {
        while registry.count("GET", &part) < times {
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    // The first one is killed while it pulls: that frees the way for the others.
    let slow = || Action::Delay(Duration::from_millis(1500));
    registry.fail(Fault::new("GET", &part, 2, slow()));
    let mut first = start();
    while fs::read_dir(place.store().join("pulls")).map_or(0, Iterator::count) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let mut others = [start(), start(), start()];
    for other in &mut others {
        assert!(other.wait().unwrap().success());
    }
    until_asked(1);
    // That of the killed build comes when the registry has finished its pause.
    assert!(registry.count("GET", &part) <= 2);
    assert_eq!(fs::read_dir(place.store().join("pulls")).unwrap().count(), 0);
}

/// A layer that no step needs goes from the registry to the output as it comes. The place of wrong bytes
/// is named in either case.
#[test]
fn other_bytes_than_announced_are_fetched_once_more() {
    let registry = Registry::start();
    let (name, layer) = base(&registry, "amd64");
    let size = registry.blob("base", &layer).unwrap().len();
    let other = || Action::Answer(Response::new(200).body(vec![b'x'; size]));
    let place = Place::new(User::Me);
    place.write("f", "text");
    for (number, step) in ["LABEL a=b", "COPY f /", "COPY f /a/b/"].into_iter().enumerate() {
        place.dockerfile(&format!("FROM {name}\n{step}\n"));
        for (times, kind) in [(1, "tar=false"), (1, "tar=true"), (2, "tar=false"), (2, "tar=true")]
        {
            let store = place.out(&format!("store-{number}-{times}-{kind}"));
            let out = place.out(&format!("out-{number}-{times}-{kind}"));
            let output = format!("type=oci,{kind},dest={}", out.display());
            let args = ["--platform", "linux/amd64", "--output", &output, "--root"];
            registry.fail(Fault::new("GET", &format!("/blobs/{layer}"), times, other()));
            let built = place.build(&[&args[..], &[store.to_str().unwrap()]].concat());
            match times {
                1 => drop(built.ok()),
                _ => drop(built.fails(4, &["other bytes came from", &name])),
            }
        }
    }
}

/// Only the registry's own bytes are final, wherever the layer goes.
#[test]
fn wrong_bytes_of_mirrors_are_fetched_elsewhere() {
    let (registry, mirrors) = (Registry::start(), [Registry::start(), Registry::start()]);
    let (name, layer) = base(&registry, "amd64");
    let size = registry.blob("base", &layer).unwrap().len();
    let mut flags = Vec::new();
    for mirror in &mirrors {
        base(mirror, "amd64");
        mirror.put_blob_as("base", &layer, &vec![b'x'; size]);
        let flag = format!("{}={}", registry.host(), mirror.host());
        flags.extend(["--registry-mirror".to_owned(), flag]);
    }
    let place = Place::new(User::Me);
    place.write("f", "text");
    let run = |number: usize, args: &[&str]| {
        let store = place.out(&format!("store-{number}"));
        let flags = flags.iter().map(String::as_str).chain(["--root", store.to_str().unwrap()]);
        let args: Vec<&str> = args.iter().copied().chain(flags).collect();
        match args[0] {
            "--platform" => place.build(&args),
            _ => place.run(args),
        }
        .ok()
        .says(&[&mirrors[0].host(), &mirrors[1].host(), "the next place is asked"]);
    };
    let image = format!("docker://{name}");
    let out = |name: &str| place.out(name).display().to_string();
    run(0, &["pull", "--platform", "linux/amd64", &name]);
    for (number, to) in [
        (1, format!("oci:{}", out("folder"))),
        (2, format!("oci-archive:{}", out("archive"))),
        (7, format!("docker://{}/copy:1", mirrors[0].host())),
    ] {
        run(number, &["copy", "--platform", "linux/amd64", &image, &to]);
    }
    for (number, step) in ["LABEL a=b", "COPY f /"].into_iter().enumerate() {
        place.dockerfile(&format!("FROM {name}\n{step}\n"));
        for (other, kind) in ["tar=false", "tar=true"].into_iter().enumerate() {
            let number = 3 + 2 * number + other;
            let output = format!("type=oci,{kind},dest={}", out(&format!("out-{number}")));
            run(number, &["--platform", "linux/amd64", "--output", &output]);
        }
    }
}

/// The place that has other bytes is blamed, not the one that gets them.
#[test]
fn a_damaged_source_of_a_copy_is_asked_once_more_and_blamed() {
    let (registry, target) = (Registry::start(), Registry::start());
    let (name, layer) = base(&registry, "amd64");
    let size = registry.blob("base", &layer).unwrap().len();
    let place = Place::new(User::Me);
    for times in [1, 2] {
        let out = |name: &str| place.out(&format!("{name}-{times}")).display().to_string();
        for (number, to) in [
            format!("docker://{}/copy-{times}", target.host()),
            format!("oci:{}", out("folder")),
            format!("oci-archive:{}", out("archive")),
            format!("docker-archive:{}", out("docker")),
            format!("copied:{times}"),
        ]
        .into_iter()
        .enumerate()
        {
            let other = Action::Answer(Response::new(200).body(vec![b'x'; size]));
            registry.fail(Fault::new("GET", &format!("/blobs/{layer}"), times, other));
            let store = out(&format!("store-{number}"));
            let from = format!("docker://{name}");
            let copied =
                place.run(["copy", "--platform", "linux/amd64", "--root", &store, &from, &to]);
            match times {
                1 => drop(copied.ok()),
                _ => drop(copied.fails(4, &["other bytes came from", &name, &layer.to_string()])),
            }
        }
    }
}

#[test]
fn a_build_that_may_not_push_ends_before_its_first_step() {
    let registry = Registry::start();
    let place = Place::new(User::Me);
    place.write("f", "text").dockerfile("FROM scratch\nCOPY f /\n");
    let target = format!("{}/app:1", registry.host());
    let push = ["--push", "-t", &target];
    let no = Response::new(403).body(r#"{"errors":[{"code":"DENIED","message":"read only"}]}"#);
    registry.fail(Fault::new("POST", "/uploads/", 1, Action::Answer(no)));
    place.build(&push).fails(4, &["read only", &target[..target.len() - 2]]).does_not_say("COPY");
    place.build(&push).ok();
    // An immutable tag that names the image is no reason to fail.
    registry.rules(Rules { immutable_tags: true, ..Rules::default() });
    place.build(&push).ok();
    place.write("f", "other").build(&push).fails(4, &["TAG_INVALID", "another tag"]);
}

#[test]
fn options_of_registries_come_from_flags_and_files() {
    let registry = Registry::start();
    let (name, _) = base(&registry, "amd64");
    let place = Place::new(User::Me);
    // An address of this machine that does not look like one.
    let port = registry.address().port();
    let host = format!("0.0.0.0:{port}");
    let own = |text: &str| {
        let folder = place.path().join("home/.config/xbuild");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("config.toml"), text).unwrap();
    };
    place.write("f", "text").dockerfile(&format!("FROM {host}/base\nCOPY f /\n"));
    let amd64 = ["--platform", "linux/amd64"];
    place.build(&amd64).fails(4, &["cannot connect to https://0.0.0.0"]);
    place.build(&[&amd64[..], &["--registry-insecure", &host]].concat()).ok();
    let mut command = place.xbuild(place.build_args(&amd64));
    command.env("XBUILD_REGISTRY_INSECURE", format!("other.example,{host}"));
    Finished::run(command).ok();
    own(&format!("[registry.{host:?}]\ninsecure = true\nmore = 1\n"));
    place.build(&amd64).ok().says(&["config.toml", ".more\" has no effect"]);
    // A name that is nowhere has a mirror, by a flag and in the file.
    let flag = format!("nowhere.invalid=http://{host}");
    place.dockerfile("FROM nowhere.invalid/base\nCOPY f /\n");
    place.build(&[&amd64[..], &["--registry-mirror", &flag]].concat()).ok();
    place.build(&["--registry-mirror", "nowhere"]).fails(2, &["expected HOST=MIRROR"]);
    let secret = ["--registry-mirror", "docker.io=http://user:SECRET@m.example"];
    place.build(&secret).fails(2, &["\"http://m.example\" with a user"]).does_not_say("SECRET");
    let image = format!("{host}/base");
    place.run(["doctor", "--registry-insecure", &host, &image]).prints(&["0.0.0.0"]);
    let doctor = place.run(["doctor", "--format", "json", "--registry-insecure", &host, &image]);
    let found: serde_json::Value = serde_json::from_str(&doctor.stdout).unwrap();
    assert_eq!(found["registries"][0]["possible"], true, "{found}");
    let install = ["emulators", "install", "--registry-insecure", &host, &image];
    place.run(install).does_not_say("cannot connect");
    own(&format!("[registry.\"nowhere.invalid\"]\nmirrors = [{:?}]\n", registry.host()));
    place.dockerfile("FROM nowhere.invalid/base\nCOPY f /\n").build(&amd64).ok();
    drop(name);
}

#[test]
fn a_login_is_verified_and_kept() {
    let registry = Registry::start();
    let (name, _) = base(&registry, "amd64");
    let host = registry.host();
    for basic in [true, false] {
        registry.require(match basic {
            true => Login::Basic("user".to_owned(), "pass".to_owned()),
            false => {
                Login::Token { realm: None, user: Some(("user".to_owned(), "pass".to_owned())) }
            }
        });
        for helper in [false, true] {
            let place = Place::new(User::Me);
            place.write("f", "text").dockerfile(&format!("FROM {name}\nCOPY f /\n"));
            let programs = place.path().join("programs");
            fs::create_dir(&programs).unwrap();
            if helper {
                login(&place, r#"{"credsStore": "test", "x": 1}"#);
                let kept = programs.join("kept");
                let script = format!(
                    "#!/bin/sh\ncase $1 in store) cat;; esac > {0}.new; case $1 in store) mv {0}.new \
                     {0};; erase) rm {0};; get) cat {0};; esac\n",
                    kept.display()
                );
                let program = programs.join("docker-credential-test");
                fs::write(&program, script).unwrap();
                fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                    .unwrap();
            }
            let run = |args: &[&str], input: &str| {
                let mut command = place.command("sh");
                let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
                command.env("PATH", path);
                command.args(["-c", "printf %s \"$0\" | \"$@\"", input]);
                command.arg(place.path().join("xbuild")).args(args);
                Finished::run(command)
            };
            let log_in = ["login", "-u", "user", "--password-stdin", &host];
            run(&log_in, "wrong").fails(4, &["cannot log in", "denied access", "the password"]);
            run(&log_in, "").fails(1, &["no password"]);
            run(&["login", "-u", "user", "-p", "pass", &host], "").fails(2, &["--password-stdin"]);
            let config = place.path().join("home/.docker/config.json");
            assert!(!fs::read_to_string(&config).unwrap_or_default().contains("auths"));
            run(&log_in, "pass\n").ok().prints(&["logged in to"]);
            let text = fs::read_to_string(&config).unwrap();
            assert_eq!((text.contains("\"auth\""), text.contains("\"x\"")), (!helper, helper));
            let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&config).unwrap());
            assert!(helper || mode & 0o77 == 0);
            let build: Vec<String> = place
                .build_args(&["--platform", "linux/amd64", "--no-cache"])
                .into_iter()
                .map(|arg| arg.into_string().unwrap())
                .collect();
            let build: Vec<&str> = build.iter().map(String::as_str).collect();
            run(&build, "").ok();
            run(&["logout", &host], "").ok().prints(&["logged out of"]);
            let hint = format!("`xbuild login {host}`");
            run(&build, "").fails(4, &["denied access", &hint]);
        }
    }
}
