//! A package manager, which asks more of a sandbox than most programs: users, groups, locks,
//! devices, signals, the network.

use crate::harness::{Place, User, needs};
use crate::image::Image;

const DOCKERFILE: &str = "\
FROM debian
RUN apt-get update && apt-get install -y --no-install-recommends hello
RUN hello > /said && dpkg --print-architecture > /architecture
";

#[track_caller]
fn install(platform: &str) -> Image {
    // apt gives up its rights and becomes another user, so the builder needs a range of ids.
    let users = User::all();
    let by_preference = [User::Ranged, User::Me];
    let user = by_preference.into_iter().find(|user| users.contains(user));
    let place = Place::new(user.unwrap());
    place.dockerfile(DOCKERFILE);
    let base = place.base("debian");
    let image = place.image(&["--platform", platform, "--build-context", &base]);
    assert_eq!(image.text("said"), "Hello, world!");
    let files = image.files();
    assert!(files.contains_key("usr/bin/hello") && files.contains_key("var/lib/dpkg/status"));
    let sandbox = files.keys().find(|path| path.starts_with("proc/") || path.starts_with("sys/"));
    assert_eq!(sandbox, None);
    image
}

#[test]
fn apt_installs() {
    needs!(Run, Range, Debian);
    assert_eq!(install("linux/amd64").text("architecture"), "amd64");
}

#[test]
fn apt_installs_under_emulation() {
    needs!(Run, Range, Debian, Emulation);
    assert_eq!(install("linux/arm64").text("architecture"), "arm64");
}
