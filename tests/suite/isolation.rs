//! The rung and the root file system of RUN steps: which the build takes, and what `--isolation`
//! demands.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::{Finished, Place, User, have, needs};

const RUN: &str = "FROM busybox\nRUN echo ran\n";

#[test]
fn the_first_line_names_the_rung_and_the_root() {
    needs!(Run);
    for user in User::all() {
        let place = Place::new(user);
        let rung = if user == User::Single { "userns-single" } else { "userns-range" };
        let expected = format!("isolation: {rung}/overlay");
        for (args, first) in [
            (&[][..], expected.clone()),
            (&["--isolation", rung], expected.clone()),
            (&["--isolation", "auto/overlay"], expected),
            (&["--isolation", "userns-single"], "isolation: userns-single/overlay".to_owned()),
        ] {
            let args = [args, &["--no-cache"]].concat();
            let built = place.dockerfile(RUN).build(&args).ok();
            assert_eq!(built.stderr.lines().next(), Some(&*first), "{}", built.stderr);
        }
        place.dockerfile(RUN).build(&["-q", "--no-cache"]).ok().does_not_say("isolation");
        // A build that is done, or has no RUN, finds nothing out about the machine.
        place.dockerfile(RUN).build(&[]).ok().does_not_say("isolation");
        place.dockerfile("FROM busybox\nENV a=b\n").build(&[]).ok().does_not_say("isolation");
    }
}

#[test]
fn an_isolation_that_is_out_of_reach_is_refused_before_the_first_step() {
    needs!(Run);
    let is_there = || User::all().contains(&User::Single);
    if !have("users", "a user without subordinate ids", is_there) {
        return;
    }
    let place = Place::new(User::Single);
    place.dockerfile("FROM busybox\nCOPY Dockerfile /\nRUN echo ran\n");
    let refused = "isolation \"userns-range\" is not possible here: ";
    for demand in ["userns-range", "userns-range/overlay"] {
        let failed = place.build(&["--isolation", demand]);
        let refused = refused.replace("userns-range", demand);
        failed.fails(5, &[&refused, "/etc/subuid", "usermod"]).does_not_say("#1");
    }
    // With all its steps in the cache a build needs no isolation.
    place.build(&["--isolation", "userns-single"]).ok();
    place.build(&["--isolation", "userns-range"]).ok().did_nothing();
}

/// Returns a build inside `sh` after the commands of `script`, with `unshare` and its `flags`.
pub(crate) fn build_after(place: &Place, flags: &str, script: &str, more: &[&str]) -> Finished {
    let mut command = place.command("unshare");
    command.args([flags, "sh", "-ec", &format!("{script}\nexec \"$@\""), "sh"]);
    command.arg(place.path().join("xbuild")).args(place.build_args(more));
    Finished::run(command)
}

#[test]
fn a_namespace_with_one_id_has_no_range() {
    needs!(Run, Tool("unshare"));
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile(RUN);
        let built = build_after(&place, "-Ur", "", &[]).ok();
        assert_eq!(built.stderr.lines().next(), Some("isolation: userns-single/overlay"));
        let refused = build_after(&place, "-Ur", "", &["--isolation", "userns-range"]);
        refused.ok().did_nothing();
        let refused =
            build_after(&place, "-Ur", "", &["--isolation", "userns-range", "--no-cache"]);
        refused.fails(5, &["is not possible here", "around xbuild"]).does_not_say("#1");
    }
}

#[test]
fn a_store_on_an_overlay_mount_has_folders_as_roots() {
    needs!(Run, Tool("unshare"));
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile(RUN);
        let script = format!(
            "cd {}; mkdir lower upper work store
             mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work store",
            place.out("").display()
        );
        let root = place.out("store").join("inner").display().to_string();
        let built = build_after(&place, "-Urm", &script, &["--root", &root]).ok();
        assert_eq!(built.stderr.lines().next(), Some("isolation: userns-single/folder"));
        built.says(&["ran"]);
        // overlayfs leaves a folder that an ordinary user cannot look into.
        fs::remove_dir(place.out("work").join("work")).unwrap();
    }
}

#[test]
fn newuidmap_that_does_not_work_is_found_out_before_the_first_step() {
    needs!(Run);
    for user in User::all().into_iter().filter(|user| *user == User::Ranged) {
        let place = Place::new(user);
        let script = "#!/bin/sh\necho no right >&2\nexit 1\n";
        for name in ["newuidmap", "newgidmap"] {
            place.write(&format!("bin/{name}"), script);
            let path = place.context().join("bin").join(name);
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        place.dockerfile(RUN);
        let path = format!("{}:/usr/bin:/bin", place.context().join("bin").display());
        let build = |more: &[&str]| {
            let mut command = place.xbuild(place.build_args(more));
            command.env("PATH", &path);
            Finished::run(command)
        };
        let built = build(&[]).ok();
        assert_eq!(built.stderr.lines().next(), Some("isolation: userns-single/overlay"));
        let failed = build(&["--isolation", "userns-range", "--no-cache"]);
        failed.fails(5, &["is not possible here", "no right", "/etc/subuid"]).does_not_say("#1");
    }
}

#[test]
fn without_user_namespaces_a_run_is_refused_before_the_first_step() {
    needs!(Run, Tool("unshare"));
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile("FROM busybox\nCOPY Dockerfile /\nRUN echo ran\n");
        let off = "echo 0 > /proc/sys/user/max_user_namespaces";
        let demand = ["--isolation", "userns-single"];
        let refused = build_after(&place, "-Ur", off, &demand);
        refused.fails(5, &["user namespaces", "max_user_namespaces"]).does_not_say("#1");
        // Root of a container does without.
        let built = build_after(&place, "-Ur", off, &[]).ok();
        assert_eq!(built.stderr.lines().next(), Some("isolation: chroot/folder"));
        place.dockerfile("FROM busybox\nCOPY Dockerfile /\n");
        build_after(&place, "-Ur", off, &[]).ok();
    }
}

#[test]
fn a_masked_proc_is_bound_and_no_step_is_insecure() {
    needs!(Run, Tool("unshare"));
    for user in User::all() {
        let place = Place::new(user);
        let mask = "mount -t tmpfs none /proc/bus";
        place.dockerfile("FROM busybox\nRUN test -e /proc/self/status && ! ls /proc/bus/*\n");
        build_after(&place, "-Urm", mask, &[]).ok().says(&["this container hides parts"]);
        place.dockerfile("FROM busybox\nRUN --security=insecure echo ran\n");
        let allow = ["--allow", "security.insecure"];
        let refused = build_after(&place, "-Urm", mask, &allow);
        refused.fails(5, &["a /proc of its own", "hides parts"]).does_not_say("#1");
        build_after(&place, "-Ur", "", &allow).ok().says(&["ran"]);
    }
}

/// The namespace in which a step was tried out is that of the build, and a build whose commands are
/// all in the cache makes none.
#[test]
fn a_namespace_is_made_once_and_only_if_a_command_has_to_run() {
    needs!(Run, Tool("strace"));
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nRUN echo ran\n");
    let namespaces = |more: &[&str]| {
        let log = place.out("strace");
        let mut command = place.command("strace");
        command.args(["-f", "-qq", "-e", "trace=unshare", "-o"]).arg(&log);
        let args = [&["--isolation", "userns-single"], more].concat();
        command.arg(place.path().join("xbuild")).args(place.build_args(&args));
        let built = Finished::run(command).ok();
        let text = fs::read_to_string(&log).unwrap();
        (built.steps(), text.lines().filter(|line| line.contains("CLONE_NEWUSER")).count())
    };
    assert_eq!(namespaces(&[]), ("0 cached, 1 done".to_owned(), 1));
    assert_eq!(namespaces(&[]), ("1 cached, 0 done".to_owned(), 0));
    assert_eq!(namespaces(&["--no-cache"]), ("0 cached, 1 done".to_owned(), 1));
}
