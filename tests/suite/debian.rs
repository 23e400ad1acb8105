//! A package manager, which asks more of a sandbox than most programs: users, groups, locks,
//! devices, signals, the network.

use crate::harness::{Place, User, cached, can_emulate, can_run, need};
use crate::image::Image;

const DOCKERFILE: &str = "\
FROM debian
RUN apt-get update && apt-get install -y --no-install-recommends hello
RUN hello > /said && dpkg --print-architecture > /architecture
";

fn have_debian() -> bool {
    let layout = cached("debian");
    need("debian", || layout.join("index.json").exists(), "fixtures/base-images debian")
}

#[track_caller]
fn install(platform: &str) -> Option<Image> {
    if !can_run() || !have_debian() {
        return None;
    }
    // With a range of ids: apt gives up its rights and becomes another user.
    let user = User::all().into_iter().find(|user| *user != User::Single);
    let place = Place::new(User::all().into_iter().find(|user| *user == User::Ranged).or(user)?);
    place.write("Dockerfile", DOCKERFILE);
    let base = place.base("debian");
    let image = place.image(&["--platform", platform, "--build-context", &base]);
    assert_eq!(image.text("said"), "Hello, world!");
    let files = image.files();
    assert!(files.contains_key("usr/bin/hello") && files.contains_key("var/lib/dpkg/status"));
    let sandbox = files.keys().find(|path| path.starts_with("proc/") || path.starts_with("sys/"));
    assert_eq!(sandbox, None);
    Some(image)
}

#[test]
fn apt_installs() {
    if let Some(image) = install("linux/amd64") {
        assert_eq!(image.text("architecture"), "amd64");
    }
}

#[test]
fn apt_installs_under_emulation() {
    if can_emulate()
        && let Some(image) = install("linux/arm64")
    {
        assert_eq!(image.text("architecture"), "arm64");
    }
}
