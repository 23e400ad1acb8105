//! The differences from BuildKit that `docs/buildkit.md` lists.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::{Place, User, is_root, needs, tool};

#[test]
fn a_run_may_change_the_root_folder() {
    needs!(Run);
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nRUN chmod 711 /\n");
    assert_eq!(place.image(&[]).entry("").mode & 0o7777, 0o711);
}

#[test]
fn the_network_of_the_host_needs_no_grant() {
    needs!(Run);
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nRUN --network=host true\n");
    place.build(&[]).ok();
}

#[test]
fn capabilities_of_files_in_a_context_are_kept() {
    needs!(Tool("setcap"));
    if !is_root() {
        return;
    }
    let place = Place::new(User::Me);
    place.dockerfile("FROM scratch\nCOPY program /\n").write("program", "x");
    tool("setcap", ["cap_net_raw+ep", place.context().join("program").to_str().unwrap()]);
    let tar = place.out("files.tar");
    place.build(&["--output", &format!("type=tar,dest={}", tar.display())]).ok();
    let bytes = fs::read(&tar).unwrap();
    let is_there = bytes.windows(19).any(|part| part == b"security.capability");
    assert!(is_there, "the archive has no security.capability");
}

#[test]
fn unknown_owners_are_zero_with_a_warning_that_names_them() {
    let place = Place::new(User::Me);
    place.dockerfile(
        "FROM busybox\nCOPY Dockerfile /first\nCOPY --chown=ghost Dockerfile /x\n\
         COPY --chown=root:spooks \\\n  Dockerfile /y\n",
    );
    let layout = place.out("layout");
    let finished = place.build(&["--output", &crate::harness::to_layout(&layout)]).ok();
    finished.says(&[
        "warning: the image has no user or group \"ghost\": the files belong to 0 (Dockerfile:3)",
        "\"spooks\": the files belong to 0 (Dockerfile:4-5)",
    ]);
    let image = crate::image::read(&layout).remove(0);
    assert_eq!((image.entry("x").owner, image.entry("y").owner), ((0, 0), (0, 0)));
}

#[test]
fn an_archive_may_be_added_to_a_link_that_leads_nowhere() {
    let place = Place::new(User::Me);
    let base = "FROM scratch AS links\nCOPY links/ /\nFROM links\n";
    place.dockerfile(&format!(
        "{base}ADD a.tar /absolute/\nADD a.tar /relative\nADD --chown=5:6 a.tar /up/more/\n"
    ));
    fs::create_dir_all(place.context().join("links/deep")).unwrap();
    place.write("inner", "x");
    tool(
        "tar",
        [
            "-C",
            place.context().to_str().unwrap(),
            "-cf",
            place.context().join("a.tar").to_str().unwrap(),
            "inner",
        ],
    );
    for (name, target) in
        [("absolute", "/no/where"), ("relative", "deep/there"), ("up", "../../outside")]
    {
        std::os::unix::fs::symlink(target, place.context().join("links").join(name)).unwrap();
    }
    let image = place.image(&[]);
    for path in ["no/where/inner", "deep/there/inner", "outside/more/inner"] {
        assert_eq!(image.text(path), "x", "{path}");
    }
    assert_eq!(image.entry("absolute").link, "/no/where");
    assert_eq!(
        (image.entry("no/where").mode & 0o777, image.entry("no/where").owner),
        (0o755, (0, 0))
    );
    assert_eq!(image.entry("outside").owner, (5, 6));
}

#[test]
fn a_tag_beside_a_digest_of_a_layout_is_only_a_name() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    let layout = place.out("base");
    place.build(&["--output", &crate::harness::to_layout(&layout)]).ok();
    let digest = crate::image::read(&layout).remove(0).digest;
    place.dockerfile("FROM base\nENV a=b\n");
    for tag in ["", ":latest", ":other"] {
        let context = format!("base=oci-layout://{}{tag}@{digest}", layout.display());
        place.build(&["--build-context", &context]).ok();
    }
    let wrong = "0".repeat(64);
    let context = format!("base=oci-layout://{}:latest@sha256:{wrong}", layout.display());
    place.build(&["--build-context", &context]).fails(1, &[&wrong]);
}

#[test]
fn a_check_of_what_cannot_be_read_says_so_in_a_line() {
    let place = Place::new(User::Single);
    place.dockerfile("FROM scratch\n");
    let closed = place.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let inner = closed.join("inner");
    for path in [&closed, &inner] {
        let finished = place.run(["check", path.to_str().unwrap()]);
        finished.says(&[path.to_str().unwrap(), "Permission denied"]);
        let finished = finished.fails(1, &["error: "]);
        assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
}
