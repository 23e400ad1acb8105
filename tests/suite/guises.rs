//! xbuild under other names: kaniko's `executor`, `buildah`, a plugin of docker; and `compose-build`.

use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::harness::{Finished, Place, User, in_path};

/// Runs xbuild under another name in the context of a place.
fn called(place: &Place, name: &str, args: &[&str]) -> Finished {
    let link = place.path().join(name);
    if !link.exists() {
        symlink(place.path().join("xbuild"), &link).unwrap();
    }
    let mut command = place.command(link);
    command.args(args).current_dir(place.context());
    Finished::run(command)
}

fn copying() -> Place {
    let place = Place::new(User::Me);
    place.write("file", "x").dockerfile("FROM scratch\nARG A\nCOPY file /\nLABEL a=$A\n");
    place
}

#[test]
fn kaniko_has_no_meaning_for_some_options() {
    let place = copying();
    let done = called(&place, "executor", &["-c", ".", "-d", "r.example/a:1", "--single-snapshot"]);
    done.fails(
        2,
        &[
            "not implemented: --single-snapshot",
            "the rest is: xbuild build --tag=r.example/a:1 --push .",
        ],
    );
    called(&place, "executor", &["--context=s3://b/k", "--no-push"]).fails(2, &["buckets"]);
    called(&place, "executor", &["-c", "."]).fails(2, &["--destination is missing"]);
    called(&place, "executor", &["--nonsense"]).fails(2, &["--nonsense", "docs/flags.md"]);
    called(&place, "executor", &["-d"]).fails(2, &["--destination needs a value"]);
    called(&place, "executor", &["-c", ".", "--no-push", "--skip-unused-stages=false"])
        .fails(2, &["--skip-unused-stages=false"]);
    called(&place, "executor", &["--help"]).ok().prints(&["--destination", "--tag, with --push"]);
}

#[test]
fn kaniko_builds_a_folder_of_the_context() {
    let place = Place::new(User::Me);
    place
        .write("sub/Dockerfile", "FROM scratch\nARG A\nLABEL a=$A\nCOPY f /\n")
        .write("sub/f", "x");
    let args =
        ["-c", ".", "--context-sub-path=sub", "--build-arg", "A=b c", "--no-push", "--cleanup"];
    called(&place, "executor", &[&args[..], &["--oci-layout-path=out", "--label", "l=m"]].concat())
        .ok();
    let images = crate::image::read(&place.context().join("out"));
    assert_eq!(images[0].config["config"]["Labels"]["a"], "b c");
    assert_eq!(images[0].config["config"]["Labels"]["l"], "m");
}

#[test]
fn buildah_takes_the_options_of_bud() {
    let place = copying();
    let out = "type=oci,tar=false,dest=out";
    let args =
        ["bud", "--layers", "--rm=false", "--arch", "arm64", "--build-arg=A=1", "-o", out, "."];
    called(&place, "buildah", &args).ok();
    let images = crate::image::read(&place.context().join("out"));
    assert_eq!(images[0].platform, "linux/arm64");
    assert_eq!(images[0].config["config"]["Labels"]["a"], "1");
    let args = ["--storage-driver", "vfs", "--log-level=debug", "build", "--pull-never", "."];
    called(&place, "buildah", &[&args[..], &["-o", "type=cacheonly"]].concat()).ok();
    called(&place, "buildah", &["--registries-conf=a", "bud", "."])
        .fails(2, &["--registries-conf:"]);
    let refused = ["build", "-t", "a:1", "--cap-add=NET_ADMIN", "--volume", "/a:/b"];
    called(&place, "buildah", &refused)
        .fails(2, &["--cap-add:", "--volume:", "the rest is: xbuild build --tag=a:1 ."]);
    called(&place, "buildah", &["from", "scratch"]).fails(2, &["buildah from is not implemented"]);
    called(&place, "buildah", &["bud", "--tls-verify=false"])
        .fails(2, &["--registry-insecure HOST"]);
    called(&place, "buildah", &["bud", "--network=ns:/x"])
        .fails(2, &["expected host, none or private"]);
}

#[test]
fn docker_knows_the_plugin() {
    let place = copying();
    let done = called(&place, "docker-xbuild", &["docker-cli-plugin-metadata"]).ok();
    let metadata: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(
        (&metadata["SchemaVersion"], &metadata["Vendor"]),
        (&"0.1.0".into(), &"xbuild".into())
    );
    called(&place, "docker-xbuild", &["xbuild", "build", "-o", "type=cacheonly", "."]).ok();
    if !in_path("docker") {
        return;
    }
    let plugins = place.path().join("home/.docker/cli-plugins");
    std::fs::create_dir_all(&plugins).unwrap();
    symlink(place.path().join("xbuild"), plugins.join("docker-xbuild")).unwrap();
    let mut docker = place.command("docker");
    docker.args(["xbuild", "build", "-o", "type=cacheonly", "."]).current_dir(place.context());
    Finished::run(docker).ok();
}

/// Runs `xbuild compose-build ARGS`.
fn compose(place: &Place, args: &[&str]) -> Finished {
    let mut command = place.xbuild(["compose-build"]);
    command.args(args).current_dir(place.context());
    Finished::run(command)
}

const COMPOSE: &str = "\
services:
  web:
    image: r.example/web:1
    build:
      context: .
      tags: [r.example/web:2]
    depends_on: [lib]
  lib:
    build: .
  debug:
    profiles: [debug]
    build: .
  db:
    image: postgres
";

#[test]
fn compose_builds_services() {
    let place = copying();
    place.write("compose.yaml", COMPOSE);
    let targets = |args: &[&str]| {
        let done = compose(&place, &[&["--print", "-p", "shop"], args].concat()).ok();
        let printed: Value = serde_json::from_str(&done.stdout).unwrap();
        printed["target"].as_object().unwrap().clone()
    };
    // Without a name the project has that of the folder.
    let printed: Value = serde_json::from_str(&compose(&place, &["--print"]).ok().stdout).unwrap();
    let folder = place.context().file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(printed["target"]["lib"]["tags"][0], format!("{folder}-lib"));
    let names = |args: &[&str]| targets(args).keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&[]), ["lib", "web"]);
    assert_eq!(names(&["--profile", "debug"]), ["debug", "lib", "web"]);
    assert_eq!(names(&["web"]), ["web"]);
    assert_eq!(names(&["--with-dependencies", "web"]), ["lib", "web"]);
    let all = targets(&["--push", "--build-arg", "A=1", "--no-cache"]);
    assert_eq!(all["web"]["tags"][0], "r.example/web:1");
    assert_eq!(all["web"]["tags"][1], "r.example/web:2");
    assert_eq!(all["web"]["output"][0]["push"], "true");
    // An image that the file gives no name is not pushed.
    assert_eq!((&all["lib"]["tags"][0], &all["lib"]["output"]), (&"shop-lib".into(), &Value::Null));
    assert_eq!((&all["lib"]["args"]["A"], &all["lib"]["no-cache"]), (&"1".into(), &true.into()));
    compose(&place, &["-p", "shop"]).ok();
    place.run(["images"]).ok().prints(&["shop-lib", "r.example/web"]);
    compose(&place, &["nothing"]).fails(2, &["there is no service nothing"]);
    compose(&place, &["db"]).ok().says(&["none of the services has a build"]);
    compose(&place, &["--memory", "1g"]).fails(2, &["--memory"]);
}
