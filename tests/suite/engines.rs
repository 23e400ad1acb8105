//! Container engines beside xbuild: images are loaded into them, and they read what it writes.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Docker, Finished, Place, Registry, User, needs, to_layout, tool};
use crate::image;

const TWO: [&str; 2] = ["--platform", "linux/s390x,linux/amd64"];

fn place() -> Place {
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nCOPY Dockerfile /a\n").write("more", "more");
    place
}

/// Builds with `--load` into a daemon.
fn load(place: &Place, docker: &Docker, more: &[&str]) -> Finished {
    let mut command = place.xbuild(place.build_args(&[&["--load"], more].concat()));
    command.env("DOCKER_HOST", docker.host());
    Finished::run(command)
}

#[test]
fn docker_gets_the_layers_that_it_lacks() {
    let (docker, place) = (Docker::start(), place());
    let named = ["-t", "r.example/app:1", "-t", "r.example/app:2"];
    let built = load(&place, &docker, &named).ok();
    built.says(&["loaded r.example/app:1, r.example/app:2 into docker at unix://"]);
    let layout = place.out("layout");
    place.build(&["-o", &to_layout(&layout)]).ok();
    let image = &image::read(&layout)[0];
    let id = image.manifest["config"]["digest"].as_str().unwrap();
    for name in ["r.example/app:1", "r.example/app:2", id] {
        assert_eq!(docker.id(name).as_deref(), Some(id), "{name}");
    }
    let count = image.layers.len();
    assert_eq!(docker.archives(), [count]);

    // Again: it has all of them. One more: it gets that one.
    load(&place, &docker, &named).ok().says(&[&format!(": 0 of {count} layers sent")]);
    place.dockerfile("FROM busybox\nCOPY more /b\n");
    let built = load(&place, &docker, &["-t", "r.example/other"]).ok();
    built.says(&[&format!(": 1 of {count} layers sent")]);
    assert_eq!(docker.archives(), [count, 0, 1]);
    assert!(docker.id("r.example/other:latest").is_some());

    // A daemon that lost layers gets all, and so does one whose images say nothing about them.
    docker.lose_layers();
    place.dockerfile("FROM busybox\nCOPY more /c\n");
    load(&place, &docker, &["-t", "r.example/third"]).ok();
    assert_eq!(docker.archives(), [count, 0, 1, 1, count]);
}

/// containerd knows images by their manifests, and whether their blobs are there.
#[test]
fn docker_with_containerd_gets_the_layers_that_it_lacks() {
    let (docker, place) = (Docker::start(), place());
    docker.be_containerd("1.47");
    for _ in 0..2 {
        load(&place, &docker, &[]).ok().says(&["loaded the image into docker", ": 2 of 2 layers"]);
    }
    // Before that version nothing says whether an image is whole.
    docker.be_containerd("1.48");
    load(&place, &docker, &[]).ok().says(&[": 0 of 2 layers sent"]);
    place.dockerfile("FROM busybox\nCOPY more /b\n");
    load(&place, &docker, &["-t", "r.example/app:1"]).ok().says(&[": 1 of 2 layers sent"]);
    docker.lose_layers();
    place.dockerfile("FROM busybox\nCOPY more /c\n");
    load(&place, &docker, &["-t", "r.example/app:2"]).ok().says(&[": 2 of 2 layers sent"]);
    assert_eq!(docker.archives(), [2, 2, 0, 1, 1, 2]);
}

/// podman takes an archive with several names for one of another kind, which has to be whole.
#[test]
fn podman_gets_further_names_afterwards() {
    let (docker, place) = (Docker::start(), place());
    docker.be_podman();
    let named = ["-t", "r.example/app:1", "-t", "r.example:5000/team/app:2", "-t", "app"];
    load(&place, &docker, &named).ok().says(&["into podman at unix://", ": 2 of 2 layers sent"]);
    load(&place, &docker, &named).ok().says(&[": 0 of 2 layers sent"]);
    for name in ["r.example/app:1", "r.example:5000/team/app:2", "docker.io/library/app:latest"] {
        assert_eq!(docker.id(name), docker.id("r.example/app:1"), "{name}");
    }
}

#[test]
fn one_platform_is_loaded_beside_other_outputs() {
    let (docker, place) = (Docker::start(), place());
    let layout = place.out("layout");
    let layout = to_layout(&layout);
    let more = [&TWO[..], &["-t", "r.example/app:1", "-o", &layout, "-o", "type=docker"]].concat();
    let built = load(&place, &docker, &more).ok();
    built.says(&["r.example/app:1 has several platforms"]);
    assert_eq!(docker.archives().len(), 1);
    // An output of its own form and name; a layer of zstd is none for docker.
    let output = "type=docker,name=r.example/gz:1,compression-level=9";
    let mut command = place.xbuild(place.build_args(&["--load=false", "-o", output]));
    command.env("DOCKER_HOST", docker.host());
    Finished::run(command).ok();
    assert!(docker.id("r.example/gz:1").is_some());
    assert_eq!(docker.archives().len(), 2);
    load(&place, &docker, &["-o", "type=docker,compression=zstd"]).fails(2, &["no layers of zstd"]);
}

#[test]
fn a_context_names_the_daemon() {
    let (docker, place) = (Docker::start(), place());
    let home = place.path().join("home/.docker");
    let meta = home.join("contexts/meta").join(&image::digest(b"mine")["sha256:".len()..]);
    fs::create_dir_all(&meta).unwrap();
    fs::write(home.join("config.json"), r#"{"currentContext": "mine"}"#).unwrap();
    let load = || place.build(&["--load", "-t", "r.example/app:1"]);
    load().fails(2, &["cannot read the docker context \"mine\"", "meta.json", "| docker load"]);
    let text = json!({"Endpoints": {"docker": {"Host": docker.host()}}}).to_string();
    fs::write(meta.join("meta.json"), text).unwrap();
    load().ok();
    assert!(docker.id("r.example/app:1").is_some());
}

#[test]
fn without_an_engine_the_build_ends_before_its_steps() {
    let place = place();
    let with_host = |host: &str| {
        let mut command = place.xbuild(place.build_args(&["--load"]));
        command.env("DOCKER_HOST", host);
        Finished::run(command)
    };
    let missing = format!("unix://{}", place.out("missing.sock").display());
    for (host, status, words) in [
        (
            missing.as_str(),
            5,
            &["cannot load the image into docker at unix://", "missing.sock", "docker info"][..],
        ),
        ("tcp://127.0.0.1:1", 5, &["cannot load the image into docker at tcp://127.0.0.1:1"]),
        ("ssh://host", 2, &["ssh://host: only unix:///PATH and tcp://HOST:PORT", "| docker load"]),
    ] {
        let built = with_host(host).fails(status, words);
        built.does_not_say("COPY");
    }
    let mut command = place.xbuild(place.build_args(&["--load"]));
    command.env("PATH", "/nowhere").env("XDG_RUNTIME_DIR", place.out("runtime"));
    if !PathBuf::from("/var/run/docker.sock").exists()
        && !PathBuf::from("/run/podman/podman.sock").exists()
    {
        let built = Finished::run(command);
        built
            .fails(5, &["neither docker nor podman", "type=docker,dest=FILE"])
            .does_not_say("COPY");
    }
}

#[test]
fn what_a_daemon_says_is_told() {
    let (docker, place) = (Docker::start(), place());
    docker.answer("POST /images/load", "500 x\r\n\r\n{\"message\": \"no space left\"}");
    load(&place, &docker, &[]).fails(5, &["cannot load the image into docker at", "no space left"]);
    let docker = Docker::start();
    docker.answer(
        "POST /images/load",
        "200 x\r\n\r\n{\"stream\": \"a\"}\n{\"error\": \"bad layer\"}",
    );
    load(&place, &docker, &[]).fails(5, &["cannot load the image into docker at", "bad layer"]);
    let docker = Docker::start();
    docker.answer("POST /images/load", "200 x\r\n\r\n{\"stream\": \"a\"}\n");
    load(&place, &docker, &["-t", "a"]).fails(5, &["docker.io/library/a:latest"]);
    let docker = Docker::start();
    docker.answer("GET /version", "200 x\r\n\r\nno JSON");
    load(&place, &docker, &[]).fails(5, &["the daemon's answer is not as expected"]);
}

/// Returns the settings of a podman and buildah that keep everything in a place.
fn containers(place: &Place) -> PathBuf {
    let folder = |name: &str| place.out("containers").join(name).display().to_string();
    let file = place.out("storage.conf");
    let text = format!(
        "[storage]\ndriver = \"vfs\"\ngraphroot = {:?}\nrunroot = {:?}\n",
        folder("root"),
        folder("run")
    );
    fs::write(&file, text).unwrap();
    file
}

/// Runs podman or buildah.
fn engine(place: &Place, program: &str, args: &[&str]) -> String {
    let settings = format!("CONTAINERS_STORAGE_CONF={}", containers(place).display());
    // They name the image of a layout by the path, which may have no capitals.
    let folder = place.out("").display().to_string();
    tool("env", [&["-C", &folder, &settings, program], args].concat())
}

#[test]
fn podman_is_loaded() {
    needs!(Podman);
    let place = place();
    let settings = containers(&place);
    let load = |more: &[&str]| {
        let mut command = place.xbuild(place.build_args(&[&["--load"], more].concat()));
        command.env("CONTAINERS_STORAGE_CONF", &settings);
        Finished::run(command).ok()
    };
    load(&["-t", "r.example/app:1"]).says(&["loaded r.example/app:1 into podman: "]);
    load(&["-t", "r.example/app:1"]).says(&[": 0 of "]);
    place.dockerfile("FROM busybox\nCOPY more /b\n");
    load(&["-t", "r.example/app:2"]).says(&[": 1 of "]);
    let json = engine(&place, "podman", &["image", "inspect", "r.example/app:2"]);
    let shown: Value = serde_json::from_str(&json).unwrap();
    let built = place.image(&[]);
    assert_eq!(shown[0]["RootFS"]["Layers"], built.config["rootfs"]["diff_ids"]);
}

/// Returns the layers of an image that podman shows, uncompressed.
fn layers(json: &str) -> Value {
    serde_json::from_str::<Value>(json).unwrap()[0]["RootFS"]["Layers"].clone()
}

#[test]
fn podman_and_buildah_read_what_is_written() {
    needs!(Podman, Registry, Tool("skopeo"));
    let registry = Registry::start();
    let place = place();
    let name = format!("{}/team/app:1", registry.host);
    let [oci, docker] = ["oci.tar", "docker.tar"].map(|file| place.out(file).display().to_string());
    let layout = place.out("layout");
    let outputs = [
        format!("type=registry,name={name}"),
        format!("type=oci,name=r.example/app:oci,dest={oci}"),
        format!("type=docker,name=r.example/app:docker,dest={docker}"),
        to_layout(&layout),
    ];
    let outputs: Vec<&str> = outputs.iter().flat_map(|output| ["-o", output]).collect();
    place.build(&[&["--platform", "linux/amd64,linux/s390x"], &outputs[..]].concat()).ok();
    let built = image::read(&layout);
    let own = built.iter().find(|image| image.platform == "linux/amd64").unwrap();
    let expected = &own.config["rootfs"]["diff_ids"];
    // Archives, as the documentation says.
    for (file, name) in [(&oci, "r.example/app:oci"), (&docker, "r.example/app:docker")] {
        engine(&place, "podman", &["load", "-q", "-i", file]);
        let shown = engine(&place, "podman", &["image", "inspect", name]);
        assert_eq!(layers(&shown), *expected, "{file}");
    }
    // An index of a registry, of which each takes the image for a platform.
    let pull = ["pull", "-q", "--tls-verify=false", "--arch", "s390x", &name];
    for program in ["podman", "buildah"] {
        engine(&place, program, &pull);
        let json = engine(&place, "podman", &["image", "inspect", &name]);
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap()[0]["Architecture"], "s390x");
        engine(&place, "podman", &["rmi", "-f", &name]);
    }
    engine(&place, "buildah", &["pull", "-q", "oci:layout"]);
    // A list that buildah makes of it.
    engine(&place, "buildah", &["manifest", "create", "list"]);
    let from = format!("docker://{name}");
    engine(&place, "buildah", &["manifest", "add", "--tls-verify=false", "--all", "list", &from]);
    let list = engine(&place, "buildah", &["manifest", "inspect", "list"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["manifests"].as_array().unwrap().len(), 2);
}

#[test]
fn what_podman_and_buildah_write_is_read() {
    needs!(Podman, Registry, Tool("skopeo"));
    let registry = Registry::start();
    let place = place();
    let docker = place.out("docker.tar").display().to_string();
    place.build(&["-o", &format!("type=docker,name=r.example/app:1,dest={docker}")]).ok();
    engine(&place, "podman", &["load", "-q", "-i", &docker]);
    let expected = layers(&engine(&place, "podman", &["image", "inspect", "r.example/app:1"]));
    let out = |name: &str| place.out(name).display().to_string();
    for format in ["docker-archive", "oci-archive", "oci-dir", "docker-dir"] {
        let to = out(format);
        engine(&place, "podman", &["save", "-q", "--format", format, "-o", &to, "r.example/app:1"]);
        let loaded = place.run(["load", "-i", &to]);
        match format {
            // The folder of `dir:` is no layout.
            "docker-dir" => drop(loaded.fails(1, &["docker-dir"])),
            // Its name is in no file of the folder.
            "oci-dir" => drop(loaded.ok()),
            _ => loaded.ok().prints(&["r.example/app:1"]),
        }
    }
    // What they push is a base, and their lists are indexes.
    let name = format!("{}/team/app:1", registry.host);
    let push = ["push", "-q", "--tls-verify=false"];
    for (program, format) in
        [("podman", "oci"), ("podman", "v2s2"), ("buildah", "oci"), ("buildah", "v2s2")]
    {
        let args =
            [&push[..], &["--format", format, "r.example/app:1", &format!("docker://{name}")]];
        engine(&place, program, &args.concat());
        place.dockerfile(&format!("FROM {name}\nLABEL a=b\n"));
        let image = place.image(&["--pull"]);
        assert_eq!(image.config["rootfs"]["diff_ids"], expected, "{program} {format}");
    }
    engine(&place, "buildah", &["manifest", "create", "list", "r.example/app:1"]);
    for format in ["oci", "v2s2"] {
        let to = format!("docker://{name}");
        let push = ["manifest", "push", "-q", "--tls-verify=false", "--all", "--format", format];
        engine(&place, "buildah", &[&push[..], &["list", &to]].concat());
        assert_eq!(place.image(&["--pull"]).config["rootfs"]["diff_ids"], expected, "{format}");
        // Docker's list comes back as it is.
        let copy = format!("{}/team/copy:{format}", registry.host);
        place.run(["imagetools", "create", "-t", &copy, &name]).ok();
        let raw = |name: &str| {
            let name = format!("docker://{name}");
            tool("skopeo", ["inspect", "--tls-verify=false", "--raw", &name])
        };
        assert_eq!(raw(&copy), raw(&name), "{format}");
    }
}
