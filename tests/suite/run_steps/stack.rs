//! Layers on layers, more than one mount takes.

use std::fs;

use super::{image, layer_is};
use crate::harness::{Place, User, needs};

#[test]
fn many_layers_stack() {
    const LAYERS: usize = 150;
    needs!(Run);
    let copies: String = (0..LAYERS).map(|n| format!("COPY Dockerfile /{n}\n")).collect();
    let look = format!("RUN for n in $(seq 0 {}); do test -s /$n || exit 1; done", LAYERS - 1);
    let dockerfile = format!("FROM busybox\n{copies}{look} && echo > /found\n");
    for user in User::all() {
        layer_is(&image(user, &dockerfile), -1, &["file 644 0:0 found"]);
    }
}

/// Programs that keep numbers in doubles, such as those on Node.js, must tell files apart.
#[test]
fn inode_numbers_fit_in_doubles() {
    needs!(Run);
    let copies: String = (0..120).map(|n| format!("COPY Dockerfile /{n}\n")).collect();
    let look = "RUN touch /new && ln /new /second; \
                stat -c '%i' /[0-9]* | awk '$1 >= 9007199254740992 { exit 1 }' \
                && test $(stat -c %i /[0-9]* /new | sort | uniq -d | wc -l) = 0 \
                && test $(stat -c %i /new) = $(stat -c %i /second) \
                && test $(stat -c %d / /1 /new /bin/busybox | uniq | wc -l) = 1\n";
    let dockerfile = format!("FROM busybox\n{copies}{look}");
    for user in User::all() {
        image(user, &dockerfile);
    }
}

#[test]
fn deep_stacks_give_the_same_layers() {
    needs!(Run);
    for user in User::all() {
        assert_eq!(layers_of_changes(user, 60), layers_of_changes(user, 0));
    }
}

/// The files that are changed.
const FILES: &str = "\
    mkdir -p /w/a /w/opaque/old /w/replaced/old /w/folder/in /w/hidden/deeper \
    && echo > /w/a/gone && echo > /w/a/kept && echo > /w/one && ln /w/one /w/twin \
    && echo > /w/other && echo > /w/folder/in/file && ln -s a /w/symlink \
    && mknod /w/null c 1 3";

/// Steps that change them, each what those before it left; the last one lists them.
const CHANGES: [&str; 3] = [
    "rm /w/a/gone && rm -r /w/opaque && mkdir /w/opaque && echo new > /w/opaque/new \
     && rm -r /w/replaced && echo file > /w/replaced",
    "chmod 600 /w/twin && echo more >> /w/other && mv /w/folder /w/moved && rm /w/opaque/new \
     && rm /w/replaced && mkdir -p /w/replaced/again && chmod 700 /w/a && ln /w/a/kept /w/link \
     && rm -r /w/hidden/deeper && touch -h /w/symlink && chmod 644 /w/null",
    "rm -r /w/moved && mv /w/a /w/b && rm /w/link && test ! -e /w/hidden/deeper && rmdir /w/opaque \
     && cat /w/other > /w/copy && all=$(find /w | sort) \
     && stat -c '%n %F %a %u %g %h' $all > /w/facts",
];

/// Returns a Dockerfile with those steps, and a number of further layers before each.
fn changes_between(layers: usize) -> String {
    let touch = "find /w -exec touch -h -d @1600000000 {} +";
    let mut text = format!("FROM busybox\nRUN {FILES} && {touch}\n");
    for (number, change) in CHANGES.iter().enumerate() {
        for layer in 0..layers {
            text.push_str(&format!("COPY Dockerfile /fill/{number}/{layer}\n"));
        }
        text.push_str(&format!("RUN {change} && {touch}\n"));
    }
    text
}

/// Builds that and returns the diff IDs and lines of the layers, without the further ones.
fn layers_of_changes(user: User, between: usize) -> Vec<(String, Vec<String>)> {
    let place = Place::new(user);
    let image = place.dockerfile(&changes_between(between)).image(&[]);
    assert_eq!(fs::read_dir(place.store().join("tmp")).unwrap().count(), 0);
    let ids = image.config["rootfs"]["diff_ids"].as_array().unwrap().iter();
    let layers = ids.enumerate().map(|(number, id)| (id.to_string(), image.lines(number as isize)));
    layers.filter(|(_, lines)| lines.iter().all(|line| !line.contains(" fill"))).collect()
}
