//! `xbuild emulators`: emulators from folders, layouts and registries, kept in the store.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::Value;

use super::foreign::path_without_emulators;
use crate::harness::{
    Finished, Need, Place, Registry, User, found_in_path, needs, to_layout, tool,
};
use crate::image;

/// Returns the path of QEMU for programs of s390x on this machine.
fn qemu(place: &Place) -> PathBuf {
    let found = found_in_path("qemu-s390x-static");
    if found.is_file() { found } else { place.path().join("emulators/qemu-s390x-static") }
}

/// Returns the digest of a file.
fn digest(path: &std::path::Path) -> String {
    let sum = tool("sha256sum", [path]);
    format!("sha256:{}", sum.split(' ').next().unwrap())
}

/// Builds for s390x, without any emulator in PATH.
fn build(place: &Place, path: &std::path::Path) -> Finished {
    let mut command = place.xbuild(place.build_args(&["--platform", "linux/s390x", "--no-cache"]));
    command.env("PATH", path);
    Finished::run(command)
}

/// Lists emulators where PATH has the one for s390x alone: hashing all takes its time.
fn list(place: &Place) -> Vec<Value> {
    let few = place.path().join("few");
    if fs::create_dir(&few).is_ok() {
        symlink(qemu(place), few.join("qemu-s390x-static")).unwrap();
    }
    let mut command = place.xbuild(["emulators", "ls", "--format", "json"]);
    command.env("PATH", few);
    serde_json::from_str(&Finished::run(command).ok().stdout).unwrap()
}

/// Returns the installed emulators: architecture and digest.
fn installed(place: &Place) -> Vec<(String, String)> {
    let rows = list(place).into_iter().filter(|row| row["origin"] == "installed");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    rows.map(|row| (text(&row["architecture"]), text(&row["digest"]))).collect()
}

/// Makes an image with QEMU for s390x in a layout, from these lines; the file is `qemu` in the
/// context.
fn layout(place: &Place, lines: &str) -> PathBuf {
    place.write("qemu", fs::read(qemu(place)).unwrap());
    place.dockerfile(&format!("FROM scratch\n{lines}"));
    let layout = place.out("emulators");
    let _ = fs::remove_dir_all(&layout);
    place.build(&["--output", &to_layout(&layout)]).ok();
    layout
}

#[test]
fn an_emulator_of_a_folder_runs_steps_until_it_is_removed() {
    needs!(Run, Emulation);
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile("FROM busybox\nRUN test $(uname -m) = s390x\n");
        let path = path_without_emulators(&place);
        let folder = place.path().join("qemus");
        fs::create_dir(&folder).unwrap();
        fs::copy(qemu(&place), folder.join("qemu-s390x-static")).unwrap();
        let folder = folder.to_str().unwrap();
        let done = place.run(["emulators", "install", folder]).ok();
        let digest = digest(&qemu(&place));
        done.prints(&[&format!("installed linux/s390x: qemu-s390x-static {digest} (QEMU ")]);
        done.does_not_say("warning");
        fs::remove_dir_all(folder).unwrap();
        assert_eq!(installed(&place), [("s390x".to_owned(), digest.clone())]);
        let rows = list(&place);
        let row = rows.iter().find(|row| row["architecture"] == "s390x").unwrap();
        assert!(row["used"] == true && row["platforms"][0] == "linux/s390x", "{row}");
        let of_arch = rows.iter().filter(|row| row["architecture"] == "s390x");
        assert_eq!(of_arch.filter(|row| row["used"] == true).count(), 1, "{rows:?}");
        place.run(["prune", "--all"]).ok();
        place.run(["du"]).ok().prints(&["\nemulators                 1 "]);
        let line = format!("emulator: linux/s390x by qemu-s390x-static {digest} (QEMU ");
        build(&place, &path).ok().says(&[&line]);
        place.run(["emulators", "ls"]).ok().prints(&["linux/s390x     used  qemu-s390x-static"]);
        place.run(["emulators", "rm", "linux/s390x"]).ok().prints(&["removed linux/s390x"]);
        place.run(["emulators", "rm", "s390x"]).fails(1, &["s390x"]);
        assert_eq!(installed(&place), []);
        assert!(fs::read_dir(place.store().join("emulators")).unwrap().count() <= 1);
        let finished = build(&place, &path);
        // The host's own binfmt_misc may have an entry for it.
        if finished.status != 0 {
            finished.fails(5, &["xbuild emulators install --platform linux/s390x"]);
        }
    }
}

#[test]
fn a_damaged_emulator_is_refused_and_nothing_stands_in_for_it() {
    needs!(Run, Emulation);
    // One user, since the emulator is large.
    if let Some(user) = User::all().into_iter().next_back() {
        let place = Place::new(user);
        place.dockerfile("FROM busybox\nRUN true\n");
        let install = || place.run(["emulators", "install", "PATH", "--platform", "s390x"]).ok();
        install();
        let hex = digest(&qemu(&place)).replace("sha256:", "");
        let build = || place.build(&["--platform", "linux/s390x", "--no-cache"]);
        for file in [hex.as_str(), "s390x"] {
            let file = place.store().join("emulators").join(file);
            let mut bytes = fs::read(&file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&file, bytes).unwrap();
            let words = ["s390x", "damaged", "emulators install", "emulators rm"];
            let refused = build();
            let refused = refused.fails(5, &words);
            assert_eq!(refused.steps(), "0 cached, 0 done");
            let rows = list(&place);
            let used = rows.iter().filter(|r| r["architecture"] == "s390x" && r["used"] == true);
            assert_eq!(used.count(), 0, "{rows:?}");
            // Programs of other platforms are no concern of it.
            place.build(&[]).ok();
            install();
            build().ok();
        }
    }
}

#[test]
fn emulators_come_from_a_layout() {
    needs!(Emulator);
    // One user, since the emulator is large.
    if let Some(user) = User::all().into_iter().next_back() {
        let place = Place::new(user);
        let layout = layout(&place, "COPY qemu /usr/bin/qemu-s390x\n");
        let image = image::read(&layout).remove(0);
        let name = format!("oci-layout://{}@{}", layout.display(), image.digest);
        let host = place.path().join("nothing");
        let install = |more: &[&str]| {
            let mut command = place.xbuild([&["emulators", "install", &name][..], more].concat());
            command.env("PATH", &host);
            Finished::run(command)
        };
        install(&["--platform", "linux/riscv64"]).fails(1, &["riscv64", "it has qemu-s390x"]);
        install(&["--platform", "all"]).ok();
        assert_eq!(installed(&place), [("s390x".to_owned(), digest(&qemu(&place)))]);
        let rows = list(&place);
        let row = rows.iter().find(|row| row["origin"] == "installed").unwrap();
        assert_eq!(row["image"], image.digest.as_str());
        assert!(row["source"].as_str().unwrap().contains("emulators"), "{row}");
        let missing = format!("oci-layout://{}:none", layout.display());
        place.run(["emulators", "install", &missing]).fails(1, &["none"]);
    }
}

#[test]
fn links_of_an_image_stay_in_it() {
    needs!(Emulator);
    let place = Place::new(User::Me);
    let outside = qemu(&place);
    fs::create_dir_all(place.context().join("bin")).unwrap();
    let link = place.context().join("bin/qemu-s390x-static");
    symlink(format!("../../../../../..{}", outside.display()), &link).unwrap();
    let layout = layout(&place, "COPY bin /usr/bin\n");
    let name = format!("oci-layout://{}", layout.display());
    place.run(["emulators", "install", &name]).fails(1, &["no emulator", "qemu-s390x-static"]);
    fs::remove_file(&link).unwrap();
    symlink("/opt/q", &link).unwrap();
    let layout = self::layout(&place, "COPY bin /usr/bin\nCOPY qemu /opt/q\n");
    let name = format!("oci-layout://{}", layout.display());
    place.run(["emulators", "install", &name]).ok();
    assert_eq!(installed(&place), [("s390x".to_owned(), digest(&outside))]);
}

#[test]
fn emulators_come_from_a_registry() {
    needs!(Emulator, Registry);
    let registry = Registry::start();
    let name = format!("{}/tools/emulators:1", registry.host);
    let first = Place::new(User::Me);
    first.write("qemu", fs::read(qemu(&first)).unwrap());
    first.dockerfile("FROM scratch\nCOPY qemu /qemu-s390x-static\n");
    first.build(&["--tag", &name, "--push"]).ok();
    for user in User::all() {
        let place = Place::new(user);
        place.run(["emulators", "install", &name, "--platform", "linux/s390x"]).ok();
        assert_eq!(installed(&place), [("s390x".to_owned(), digest(&qemu(&place)))]);
        // Nothing listens on port 1.
        let refused = place.run(["emulators", "install", "127.0.0.1:1/none"]);
        refused.fails(4, &["127.0.0.1:1/none", "hint: ", "oci-layout://", "PATH"]);
        assert_eq!(installed(&place).len(), 1);
    }
}

#[test]
fn what_cannot_serve_is_not_installed() {
    needs!(Emulator);
    let place = Place::new(User::Me);
    let file = |name: &str| {
        let path = place.path().join(name);
        path.to_str().unwrap().to_owned()
    };
    let install =
        |name: &str, more: &[&str]| place.run([&["emulators", "install", name][..], more].concat());
    fs::copy(found_in_path("sh"), file("qemu-arm")).unwrap();
    fs::write(file("qemu-riscv64"), "#!/bin/sh\n").unwrap();
    fs::copy(qemu(&place), file("q")).unwrap();
    install(&file("qemu-arm"), &[]).fails(1, &["qemu-arm", "dynamically linked"]);
    install(&file("qemu-riscv64"), &[]).fails(1, &["not a program of this machine"]);
    install(&file("q"), &[]).fails(2, &["qemu-ARCH", "--platform"]);
    install(&file("nowhere"), &[]).fails(1, &["nowhere"]);
    install(&file("q"), &["--platform", "linux/sparc64"]).fails(2, &["sparc64", "linux/arm64"]);
    install(&file("q"), &["--platform", "linux/amd64,all"]).fails(2, &["all"]);
    let host = if cfg!(target_arch = "x86_64") { "linux/amd64" } else { "linux/arm64" };
    install("PATH", &["--platform", host]).fails(2, &["need no emulator"]);
    if Need::Run.is_met() {
        // A static program of this machine that is QEMU, but for another architecture.
        let wrong = install(&file("q"), &["--platform", "linux/ppc64le"]);
        wrong.fails(1, &["does not run a test program", "hint: "]);
    }
    assert_eq!(installed(&place), []);
    // The bad ones do not keep the good one from being installed, and are named.
    fs::rename(file("q"), file("qemu-s390x")).unwrap();
    let done = install(place.path().to_str().unwrap(), &[]).ok();
    done.says(&["left out", "qemu-arm", "qemu-riscv64"]);
    assert_eq!(installed(&place), [("s390x".to_owned(), digest(&qemu(&place)))]);
    // If one is asked for that is bad, none is installed.
    place.run(["emulators", "rm", "--all"]).ok();
    let both = ["--platform", "linux/s390x,linux/arm"];
    install(place.path().to_str().unwrap(), &both).fails(1, &["qemu-arm"]);
    assert_eq!(installed(&place), []);
}

#[test]
fn where_nothing_can_be_tried_out_an_emulator_is_installed_with_a_remark() {
    needs!(Run, Emulator, Tool("setpriv"));
    let place = Place::new(User::Me);
    let install = |rights: &str| {
        let limit = format!("echo 0 > /proc/sys/user/max_user_namespaces && exec {rights} \"$@\"");
        let mut command = place.command("unshare");
        command.args(["--user", "--map-root-user", "sh", "-c", &limit, "sh"]);
        command.arg(place.path().join("xbuild"));
        command.args(["emulators", "install", "PATH", "--platform", "linux/s390x"]);
        Finished::run(command).ok()
    };
    let remark = "warning: qemu-s390x-static could not be tried out here";
    let done = install("setpriv --inh-caps -all --bounding-set -sys_chroot");
    done.says(&[remark, "user namespace"]);
    assert_eq!(installed(&place), [("s390x".to_owned(), digest(&qemu(&place)))]);
    // Root of a container needs no namespace for that.
    install("").does_not_say(remark);
}

#[test]
fn ldconfig_works_under_emulation() {
    needs!(Run, Emulation, Debian);
    let place = Place::new(User::Me);
    place.dockerfile("FROM debian\nRUN ldconfig && ldconfig -p > /libraries\n");
    let base = place.base("debian");
    for way in ["binfmt", "intercept"] {
        let args = ["--build-context", &base, "--platform", "linux/arm64", "--emulation", way];
        let image = place.image(&[&args[..], &["--no-cache"]].concat());
        assert!(image.text("libraries").contains("libc.so.6 (libc6,AArch64)"), "{way}");
    }
}
