//! RUN: the layer that a command leaves, the world that it sees, how it fails, and how programs for
//! other processors run.

use crate::chroot;
use crate::harness::{Finished, Place, User, host_state};
use crate::image::Image;

mod attributes;
mod cancel;
mod emulators;
mod failure;
mod foreign;
mod holes;
mod intercepted;
mod kernels;
mod layer;
mod network;
mod stack;
mod world;

/// Returns the kinds of root file systems that a user's steps can have, as `--isolation` takes them.
fn roots_of(user: User) -> Vec<(User, &'static str)> {
    let folder = if user == User::Single { "userns-single/folder" } else { "auto/folder" };
    let alone = chroot::rungs().into_iter().filter(|(of, _)| *of == user).map(|(_, rung)| rung);
    ["auto", folder].into_iter().chain(alone).map(|isolation| (user, isolation)).collect()
}

/// Builds a Dockerfile, which must leave the host as it was, and returns the image.
#[track_caller]
fn image(user: User, dockerfile: &str) -> Image {
    let place = Place::new(user);
    let before = host_state();
    let image = place.dockerfile(dockerfile).image(&[]);
    assert_eq!(host_state(), before);
    image
}

/// Builds a Dockerfile and returns how that ended.
fn build(user: User, dockerfile: &str) -> Finished {
    Place::new(user).dockerfile(dockerfile).build(&[])
}

/// Fails the test unless a layer has exactly these lines, in any order, beside the root folder's.
#[track_caller]
fn layer_is(image: &Image, layer: isize, expected: &[&str]) {
    let mut expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
    expected.sort();
    let mut lines = image.lines(layer);
    lines.retain(|line| !line.ends_with(' '));
    assert_eq!(lines, expected);
}
