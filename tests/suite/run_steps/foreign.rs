//! Programs for other processors: with an emulator of their own, or refused before anything starts.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::harness::{Finished, Place, User, found_in_path, host_state, needs, to_layout, tool};
use crate::image;

#[test]
fn foreign_programs_run_without_touching_the_host() {
    needs!(Run, Emulation);
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile(
            r"
            FROM busybox
            ARG TARGETPLATFORM
            RUN uname -m > /machine && echo $TARGETPLATFORM > /platform \
             && sh -c 'exec cat /machine' | tr a-z A-Z > /piped; \
                ls /proc/sys/fs/binfmt_misc > /entries
            ",
        );
        let before = host_state();
        let images = place.images(&["--platform", "linux/s390x,linux/ppc64le,linux/arm64"]);
        assert_eq!(host_state(), before);
        let expected =
            [("linux/s390x", "s390x"), ("linux/ppc64le", "ppc64le"), ("linux/arm64", "aarch64")];
        assert_eq!(images.len(), expected.len());
        for (image, (platform, machine)) in images.iter().zip(expected) {
            assert_eq!(image.text("platform"), platform);
            assert_eq!(image.text("machine"), machine);
        }
        assert_eq!(images[1].text("piped"), "PPC64LE");
        assert_eq!(images[1].text("entries"), "", "the emulator does not show");
        place.dockerfile("FROM busybox\nRUN kill -11 $$\n");
        let crashed = place.build(&["--platform", "linux/s390x"]);
        crashed.fails(3, &["SIGSEGV", "hint: ", "QEMU"]);
        place.build(&[]).fails(3, &["SIGSEGV"]);
    }
}

#[test]
fn a_platform_without_emulator_is_refused_before_the_first_step() {
    needs!(Run);
    // riscv64, since few hosts have an entry for it in their own binfmt_misc.
    let entries = fs::read_dir("/proc/sys/fs/binfmt_misc").into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    if names.any(|name| name.contains("riscv64")) {
        return;
    }
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile(
            r"
            FROM --platform=$BUILDPLATFORM busybox AS native
            RUN echo started > /a
            FROM scratch
            COPY --from=native / /
            RUN true
            ",
        );
        let args = place.build_args(&["--platform", "linux/amd64,linux/riscv64"]);
        let mut command = place.xbuild(args);
        command.env("PATH", path_without_emulators(&place));
        let install = "xbuild emulators install --platform linux/riscv64";
        let words = ["linux/riscv64", "qemu-riscv64", "qemu-user-static", install];
        let finished = Finished::run(command).fails(5, &words);
        assert_eq!(finished.steps(), "0 cached, 0 done", "{}", finished.stderr);
        finished.does_not_say("#1");
    }
}

#[test]
fn what_is_cached_needs_no_emulator() {
    needs!(Run, Emulation);
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile(
            r"
            FROM busybox
            RUN echo one > /one
            WORKDIR /w
            COPY f .
            RUN echo two > two
            ",
        );
        place.write("f", "text");
        let args = ["--platform", "linux/s390x,linux/ppc64le"];
        place.build(&args).ok();
        let path = path_without_emulators(&place);
        let again = |more: &[&str]| {
            let mut command = place.xbuild(place.build_args(&[&args, more].concat()));
            command.env("PATH", &path);
            Finished::run(command)
        };
        assert_eq!(again(&[]).ok().steps(), "8 cached, 0 done");
        place.write("f", "changed");
        for more in [&[][..], &["--no-cache"]] {
            let finished = again(more);
            // The host's own binfmt_misc may have an entry for them.
            if finished.status != 0 {
                let finished = finished.fails(5, &["qemu-s390x", "qemu-ppc64le"]);
                assert_eq!(finished.steps(), "0 cached, 0 done");
            }
        }
    }
}

#[test]
fn programs_in_32_bit_mode_are_told_a_32_bit_machine() {
    needs!(Run);
    let place = Place::new(User::Me);
    let platforms = place.run(["platforms"]).ok().stdout;
    if !platforms.lines().any(|line| line.starts_with("linux/386 ") && line.contains("32-bit mode"))
    {
        return;
    }
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile("FROM busybox\nRUN uname -m > /machine && sh -c 'uname -m' > /child\n");
        let images = place.images(&["--platform", "linux/386,linux/amd64"]);
        for (image, machine) in images.iter().zip(["i686", "x86_64"]) {
            assert_eq!(
                (image.text("machine"), image.text("child")),
                (machine.into(), machine.into())
            );
        }
    }
}

/// Copies programs of Debian, gives them rights of their own, and has an ordinary user execute them:
/// a set-user-ID and a set-group-ID program, one with the capability to open everything, a script with
/// a bit that must not count, and those of the distribution.
const RIGHTS: &str = r#"
    FROM debian
    RUN useradd -m alice && cd /usr/local/bin \
     && cp /usr/bin/id sid && chmod 4755 sid && cp /usr/bin/id gid && chgrp adm gid && chmod 2755 gid \
     && printf '#!/bin/sh\nid -u\n' > script && chmod 4755 script && cp /bin/cat able \
     && echo secret > /secret && chmod 600 /secret \
     && perl -e '$f = "able"; $n = "security.capability"; $v = pack("V5", 0x2000001, 2, 0, 0, 0); \
        exit(syscall(shift, $f, $n, $v, 20, 0))' $(test $(uname -m) = aarch64 && echo 5 || echo 188)
    USER alice
    WORKDIR /home/alice
    RUN exec > result; sid -u; id -u; gid -gn; script; able /secret; cat /secret || echo denied; \
        passwd --status | cut -d' ' -f 1; su -c id 2>&1 < /dev/null | grep -c nosuid; \
        for name in LOG_FILENAME LD_PREFIX SET_ENV TRACE; do export QEMU_$name=/home/alice/made; done; \
        QEMU_LOG=page,unimp sid -u; ls
    "#;

#[test]
fn programs_with_rights_of_their_own_have_them_under_emulation() {
    needs!(Run, Emulation, Debian, Range);
    // One user with a range of ids, since the emulated commands take their time.
    if let Some(user) = User::all().into_iter().rfind(|user| *user != User::Single) {
        let place = Place::new(user);
        place.dockerfile(RIGHTS);
        let base = place.base("debian");
        let args = ["--build-context", &base, "--platform", "linux/amd64,linux/arm64"];
        let results: Vec<String> =
            place.images(&args).iter().map(|image| image.text("home/alice/result")).collect();
        let expected = "0\n1000\nadm\n1000\nsecret\ndenied\nalice\n0\n0\nresult";
        assert_eq!(results, [expected, expected]);
    }
}

#[test]
fn variables_steer_emulators_only_where_that_is_harmless() {
    needs!(Run, Emulation);
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile(
            r"
            FROM busybox
            RUN QEMU_UNAME=1.2.3 /bin/uname -r > /release; \
                QEMU_LOG=page QEMU_LOG_FILENAME=/log QEMU_LD_PREFIX=/nowhere /bin/true; ! test -e /log
            ",
        );
        assert_eq!(place.image(&["--platform", "linux/arm64"]).text("release"), "1.2.3");
    }
}

#[test]
fn a_base_of_a_foreign_platform_alone_is_run_by_its_emulator() {
    needs!(Run, Emulation);
    for user in User::all() {
        let place = Place::new(user);
        // An image without an index, for one platform.
        place.dockerfile("FROM busybox\nLABEL only=one\n");
        let only = place.out("only");
        place.build(&["--platform", "linux/arm64", "--output", &to_layout(&only)]).ok();
        let base = format!("only=oci-layout://{}", only.display());
        place.dockerfile(
            "FROM only\nRUN uname -m > /machine\nFROM busybox\nCOPY --from=0 /machine /\n",
        );
        let build = ["--build-context", &base, "--output", &to_layout(&place.out("image"))];
        let finished = place.build(&build).ok();
        finished.says(&["warning", "only", "linux/arm64"]);
        assert_eq!(image::read(&place.out("image"))[0].text("machine"), "aarch64");
        let mut command = place.xbuild(place.build_args(&["--build-context", &base, "--no-cache"]));
        command.env("PATH", path_without_emulators(&place));
        let finished = Finished::run(command);
        // The host's own binfmt_misc may have an entry for it.
        if finished.status != 0 {
            let words = ["cannot run linux/arm64 programs", "qemu-aarch64"];
            let refused = finished.fails(5, &words);
            assert_eq!(refused.steps(), "0 cached, 0 done");
        }
    }
}

#[test]
fn the_emulator_that_runs_steps_is_named_with_its_digest() {
    needs!(Run, Emulation);
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nRUN uname -m > /machine\n");
    let path = found_in_path("qemu-s390x-static");
    let path = if path.is_file() { path } else { place.path().join("emulators/qemu-s390x-static") };
    let digest = tool("sha256sum", [&path]);
    let digest = digest.split(' ').next().unwrap();
    let expected = format!("emulator: linux/s390x by qemu-s390x-static sha256:{digest} (QEMU ");
    let platforms = ["--platform", "linux/amd64,linux/s390x"];
    for more in [&[][..], &["--emulation", "intercept", "--no-cache"]] {
        let built = place.build(&[&platforms, more].concat()).ok();
        let lines = emulator_lines(&built);
        assert_eq!(lines.len(), 1, "{}", built.stderr);
        assert!(lines[0].starts_with(&expected), "{lines:?} {expected}");
        assert_eq!(lines[0].ends_with("by interception"), !more.is_empty(), "{lines:?}");
    }
    assert!(emulator_lines(&place.build(&[]).ok()).is_empty());
    let mut command = place.xbuild(place.build_args(&[&platforms[..], &["--no-cache"]].concat()));
    command.env("XBUILD_LOG", "build=info");
    let logged = Finished::run(command).ok();
    logged.says(&["platforms=\"linux/s390x\"", &format!("digest=sha256:{digest}"), "version="]);
}

fn emulator_lines(finished: &Finished) -> Vec<String> {
    let lines = finished.stderr.lines().filter(|line| line.starts_with("emulator: "));
    lines.map(str::to_owned).collect()
}

/// Makes a folder for PATH with nothing but the tools that map ids.
pub(super) fn path_without_emulators(place: &Place) -> PathBuf {
    let folder = place.path().join("id-tools");
    fs::create_dir(&folder).unwrap();
    for tool in ["newuidmap", "newgidmap"] {
        symlink(found_in_path(tool), folder.join(tool)).unwrap();
    }
    folder
}

/// A program for `linux/arm64` whose status is the kind of QEMU's own algorithm for pointer
/// authentication: bits 8 to 11 of `ID_AA64ISAR1_EL1`.
///
/// Source: Arm Architecture Reference Manual, D24.2.
fn algorithm() -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0\x01\0\0\0".to_vec();
    let (start, size) = (0x40_0000_u64, 64 + 56 + 16);
    for word in [start + 120, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    for half in [0_u16, 0, 64, 56, 1, 0, 0, 0, 1, 0, 5, 0] {
        file.extend(half.to_le_bytes());
    }
    for word in [0, start, start, size, size, 0x1_0000] {
        file.extend(word.to_le_bytes());
    }
    // mrs x0, id_aa64isar1_el1; ubfx x0, x0, 8, 4; mov x8, 94; svc 0
    for instruction in [0xd538_0620_u32, 0xd348_2c00, 0xd280_0bc8, 0xd400_0001] {
        file.extend(instruction.to_le_bytes());
    }
    file
}

#[test]
fn pointer_authentication_is_the_quick_one() {
    needs!(Run, Emulation);
    for user in User::all() {
        let place = Place::new(user);
        fs::write(place.context().join("algorithm"), algorithm()).unwrap();
        place.dockerfile(
            r"
            FROM busybox
            COPY --chmod=755 algorithm /
            RUN /algorithm; [ $? -gt 0 ]
            RUN QEMU_CPU=max,pauth=off /algorithm && QEMU_CPU=cortex-a57 sh -c /algorithm
            RUN env > /env
            ",
        );
        for way in ["auto", "qemu", "intercept"] {
            let args = ["--platform", "linux/arm64", "--emulation", way, "--no-cache"];
            let env = place.image(&args).text("env");
            assert!(!env.contains("QEMU"), "{way}: {env}");
        }
    }
}
