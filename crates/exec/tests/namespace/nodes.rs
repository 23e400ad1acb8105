//! The cases about device nodes, which a supervisor makes.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

use xbuild_model::device::{ATTRIBUTE, Device};
use xbuild_model::rootfs::Overlay;
use xbuild_model::run::{RunRequest, Security};

use crate::support::{Capture, Case, Fixture, shell};

pub const ALL: &[(&str, Case)] = &[
    ("nodes_are_files_with_an_attribute", nodes_are_files_with_an_attribute),
    ("nodes_fail_as_mknod_does", nodes_fail_as_mknod_does),
    ("nodes_are_made_from_where_the_caller_is", nodes_are_made_from_where_the_caller_is),
    ("nodes_need_the_rights_of_the_caller", nodes_need_the_rights_of_the_caller),
    ("nodes_of_insecure_steps_are_refused", nodes_of_insecure_steps_are_refused),
    ("nodes_end_with_the_step", nodes_end_with_the_step),
    ("records_are_of_one_step", records_are_of_one_step),
];

const MKNOD: &str = "mknod() { busybox mknod \"$@\"; }; ";

/// Returns attribute, mode, owner and size of a file of the last step.
fn node(fixture: &Fixture, path: &str) -> (String, u32, u64) {
    let path = fixture.upper().join(path);
    let meta = std::fs::symlink_metadata(&path).unwrap();
    assert!(meta.is_file(), "{path:?}");
    let mut value = vec![0; 64];
    let length = rustix::fs::lgetxattr(&path, ATTRIBUTE, &mut value[..]).unwrap_or(0);
    value.truncate(length);
    (String::from_utf8(value).unwrap(), meta.mode() & 0o7777, meta.size())
}

/// Runs a script that must succeed; returns its standard output and the recorded devices.
fn run(fixture: &Fixture, script: &str) -> (String, BTreeSet<Device>) {
    let output = Capture::default();
    let script = format!("{MKNOD}{script}");
    let records = fixture.run_in(&fixture.root(), &shell(&script), &[], &output).unwrap();
    (output.text(), records.devices)
}

fn devices(texts: &[&str]) -> BTreeSet<Device> {
    texts.iter().map(|text| Device::parse(text.as_bytes()).unwrap()).collect()
}

fn nodes_are_files_with_an_attribute(fixture: &Fixture) -> Result<(), String> {
    let script = "set -e; mkdir /d; cd /d; mknod -m 666 null c 1 3; mknod blk b 7 0; umask 077; \
                  mknod big b 259 65537; mknod pipe p; stat -c '%F %u:%g' null; [ -p pipe ]";
    let (out, recorded) = run(fixture, script);
    assert_eq!(out, "regular empty file 0:0");
    assert_eq!(node(fixture, "d/null"), ("c 1 3".to_owned(), 0o666, 0));
    assert_eq!(node(fixture, "d/blk"), ("b 7 0".to_owned(), 0o644, 0));
    assert_eq!(node(fixture, "d/big"), ("b 259 65537".to_owned(), 0o600, 0));
    assert_eq!(recorded, devices(&["c 1 3", "b 7 0", "b 259 65537"]));
    Ok(())
}

fn nodes_fail_as_mknod_does(fixture: &Fixture) -> Result<(), String> {
    let script = "touch /file; ln -s nowhere /link; mkdir /dir; long=$(yes a | head -300 | tr -d '\\n'); \
                  for path in /file /link /dir /dir/ /file/x /none/x /new/ / /proc/x /sys/x /$long; do \
                  mknod $path c 1 3 2>&1 && echo made; done; mknod /white c 0 0 2>&1; ls /dir; \
                  cat /link 2>&1; [ ! -e /new ]; echo $?";
    let (out, recorded) = run(fixture, script);
    let reasons: Vec<&str> =
        out.lines().map(|line| line.rsplit(": ").next().unwrap_or(line)).collect();
    let exists = "File exists";
    let expected = [
        exists,
        exists,
        exists,
        exists,
        "Not a directory",
        "No such file or directory",
        "No such file or directory",
        exists,
        "No such file or directory",
        "Read-only file system",
        "File name too long",
        "Operation not permitted",
        "No such file or directory",
        "0",
    ];
    assert_eq!(reasons, expected, "{out}");
    assert_eq!(recorded, BTreeSet::new());
    Ok(())
}

fn nodes_are_made_from_where_the_caller_is(fixture: &Fixture) -> Result<(), String> {
    let script = "exec 2>/dev/null; mkdir -p /jail/bin /jail/a /jail/etc /out; cp /bin/busybox /jail/bin; ln -s /a /jail/abs; \
                  ln -s ../../../a /jail/up; ln -s / /jail/root; \
                  busybox chroot /jail /bin/busybox sh -c 'cd /a; m() { busybox mknod $1 c 1 3; }; \
                  PATH=/bin; m here; m /abs/abs; m /up/up; m ../../../over; m /root/root'; \
                  cd /out; mknod relative c 1 3; cd /; \
                  for path in /jail/a/here /jail/a/abs /jail/a/up /jail/over /jail/root/x /out/relative; \
                  do [ -f $path ] && echo $path; done; ls /over /here 2> /dev/null";
    let out = fixture.run(&shell(&format!("{MKNOD}{script}; true"))).unwrap();
    assert_eq!(out, "/jail/a/here\n/jail/a/abs\n/jail/a/up\n/jail/over\n/out/relative");
    // The supervisor has its own state back, and removes mount points.
    assert_eq!(node(fixture, "jail/a/here").0, "c 1 3");
    assert!(!fixture.upper().join("etc/resolv.conf").exists());
    Ok(())
}

fn nodes_need_the_rights_of_the_caller(fixture: &Fixture) -> Result<(), String> {
    if fixture.single_id() {
        return Err("there are no other users".to_owned());
    }
    let root = fixture.root();
    fixture.sh_in(&root, "mkdir -m 777 /open; mkdir -m 700 /shut");
    let script = "mknod /open/x c 1 3 2>&1; mknod /shut/x c 1 3 2>&1; mknod /open/p p && echo pipe";
    let request = RunRequest { user: "app".to_owned(), ..shell(&format!("{MKNOD}{script}")) };
    let output = Capture::default();
    // Overlay mounts want a new work folder.
    let again = Overlay {
        lowers: [vec![root.upper.clone()], root.lowers.clone()].concat(),
        ..fixture.root()
    };
    fixture.run_in(&again, &request, &[], &output).unwrap();
    let out = output.text();
    let reasons: Vec<&str> =
        out.lines().map(|line| line.rsplit(": ").next().unwrap_or(line)).collect();
    assert_eq!(reasons, ["Operation not permitted", "Permission denied", "pipe"]);
    Ok(())
}

fn nodes_of_insecure_steps_are_refused(fixture: &Fixture) -> Result<(), String> {
    let request = RunRequest {
        security: Security::Insecure,
        ..shell(&format!("{MKNOD} mknod /x c 1 3 2>&1; true"))
    };
    match fixture.run(&request) {
        // With a single id there is a filter, for the owners of files.
        Ok(out) if fixture.single_id() => assert_eq!(out, ""),
        Ok(out) => assert!(out.ends_with("Operation not permitted"), "{out}"),
        Err(error) => return Err(error.to_string()),
    }
    Ok(())
}

fn nodes_end_with_the_step(fixture: &Fixture) -> Result<(), String> {
    // Some processes still call while pid 1 ends.
    let script = "for i in 1 2 3 4; do (n=0; while :; do n=$((n + 1)); mknod /$i-$n c 1 3; done) & done; \
                  sleep 0.2; echo end";
    for _ in 0..5 {
        assert_eq!(fixture.sh(&format!("{MKNOD}{script}")), "end");
    }
    Ok(())
}

fn records_are_of_one_step(fixture: &Fixture) -> Result<(), String> {
    let (_, recorded) = run(fixture, "mknod /a c 1 3; mknod /b c 1 3; mknod /c c 1 5");
    assert_eq!(recorded, devices(&["c 1 3", "c 1 5"]));
    // A file that claims to be a device is no record, and neither is one that was made before.
    let below = fixture.upper();
    std::fs::write(below.join("claim"), "").unwrap();
    let value = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(below.join("claim"), ATTRIBUTE, b"c 1 9", value).unwrap();
    let lowers = vec![below, fixture.folder.join("layer")];
    let root = Overlay { lowers, ..fixture.root() };
    let request = shell(&format!("{MKNOD} mv /a /moved; cp -p /claim /copy; mknod /d b 7 1"));
    let records = fixture.run_in(&root, &request, &[], &Capture::default()).unwrap();
    assert_eq!(records.devices, devices(&["b 7 1"]));
    Ok(())
}
