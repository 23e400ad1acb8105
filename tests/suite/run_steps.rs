//! RUN: what a command sees, what stays of it in the layer, and how it fails.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::harness::{Finished, Place, User, can_emulate, can_run, found_in_path, host_state};
use crate::image::{self, Image};

/// Builds a Dockerfile as a user and returns the image.
#[track_caller]
fn image(user: User, dockerfile: &str) -> Image {
    let place = Place::new(user);
    let before = host_state();
    let image = place.write("Dockerfile", dockerfile).image(&[]);
    assert_eq!(host_state(), before);
    image
}

/// Builds a Dockerfile as a user and returns how it failed.
#[track_caller]
fn failure(user: User, dockerfile: &str) -> Finished {
    Place::new(user).write("Dockerfile", dockerfile).build(&[])
}

/// Checks that a layer has exactly these lines; the root folder's own is of no account.
#[track_caller]
fn has_lines(image: &Image, layer: isize, expected: &[&str]) {
    let mut expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
    expected.sort();
    let mut lines = image.lines(layer);
    lines.retain(|line| !line.ends_with(' '));
    assert_eq!(lines, expected);
}

#[test]
fn what_changed_is_the_layer() {
    if !can_run() {
        return;
    }
    for user in User::all() {
        let image = image(
            user,
            "FROM busybox\n\
             RUN mkdir -m 700 /d && echo one > /d/file && chmod 640 /d/file && ln /d/file /d/twin \
             && ln -s nowhere /d/link && mkfifo -m 600 /d/pipe && echo x > /d/program \
             && chmod 4755 /d/program && mkdir -m 1777 /d/shared && umask && rm -rf /d/program.old\n",
        );
        has_lines(
            &image,
            -1,
            &[
                "dir 700 0:0 d",
                "file 640 0:0 d/file",
                "link 640 0:0 d/twin -> d/file",
                "symlink 777 0:0 d/link -> nowhere",
                "fifo 600 0:0 d/pipe",
                "file 4755 0:0 d/program",
                "dir 1777 0:0 d/shared",
            ],
        );
        assert_eq!(image.text("d/file"), "one");
    }
}

#[test]
fn devices_are_in_the_layer() {
    if !can_run() {
        return;
    }
    for user in User::all() {
        let image = image(
            user,
            "FROM busybox AS first\n\
             RUN mkdir /d && mknod -m 666 /d/null c 1 3 && mknod -m 600 /d/blk b 7 0 && ln /d/blk /d/twin \
             && mknod /d/gone c 5 1 && test -f /d/null && ! mknod /d/null c 1 3 && ! mknod /d/white c 0 0\n\
             RUN rm /d/gone && chmod 640 /d/null && mv /d/blk /d/moved\n\
             FROM busybox\n\
             COPY --from=first /d /d\n\
             RUN chmod 600 /d/null && mv /d/null /null && rm /d/moved\n",
        );
        has_lines(
            &image,
            -2,
            &[
                "dir 755 0:0 d",
                "block 600 0:0 d/moved -> 7:0",
                "char 640 0:0 d/null -> 1:3",
                "block 600 0:0 d/twin -> 7:0",
            ],
        );
        has_lines(
            &image,
            -1,
            &[
                "dir 755 0:0 d",
                "file 0 0:0 d/.wh.moved",
                "file 0 0:0 d/.wh.null",
                "char 600 0:0 null -> 1:3",
            ],
        );
    }
}

#[test]
fn only_root_makes_devices() {
    if !can_run() {
        return;
    }
    for user in User::all().into_iter().filter(|user| !matches!(user, User::Single)) {
        let image = image(
            user,
            "FROM busybox\n\
             RUN mkdir -m 777 /d && mknod -m 666 /d/null c 1 3\n\
             USER 1000\n\
             RUN ! mknod /d/mine c 1 3 && echo x > /d/file && chmod 600 /d/file\n",
        );
        has_lines(&image, -1, &["dir 777 0:0 d", "file 600 1000:0 d/file"]);
    }
}

#[test]
fn what_is_gone_is_whited_out() {
    if !can_run() {
        return;
    }
    for user in User::all() {
        let image = image(
            user,
            "FROM busybox\n\
             RUN mkdir -p /a/old /b/old /c && touch /a/1 /a/2 /a/old/x /b/old/x /c/1 /c/2 /keep && ln /c/1 /c/3\n\
             RUN rm /a/1 && rm -r /a/old && rm -r /b && mkdir /b && touch /b/new && rm /c/1 \
             && touch /made && rm /made && mv /c/2 /c/4\n",
        );
        let files = image.files();
        let shown: Vec<&str> = files
            .keys()
            .map(String::as_str)
            .filter(|p| p.len() < 6 && !p.contains("bin"))
            .collect();
        for path in ["a", "a/2", "b", "b/new", "c", "c/3", "c/4", "keep"] {
            assert!(shown.contains(&path), "{path}: {shown:?}");
        }
        for path in ["a/1", "a/old", "b/old", "c/1", "c/2", "made"] {
            assert!(!shown.contains(&path), "{path}: {shown:?}");
        }
        let names: Vec<&str> = image.layer(-1).iter().map(|entry| entry.path.as_str()).collect();
        for path in ["a/.wh.1", "a/.wh.old", "c/.wh.1", "c/.wh.2", "b/new"] {
            assert!(names.contains(&path), "{path}: {names:?}");
        }
        assert!(names.contains(&"b/.wh..wh..opq") || names.contains(&"b/.wh.old"), "{names:?}");
        for path in [".wh.made", "keep", "a/2", ".wh.b"] {
            assert!(!names.contains(&path), "{path}: {names:?}");
        }
    }
}

#[test]
fn what_was_only_touched_is_not_repeated() {
    if !can_run() {
        return;
    }
    for user in User::all() {
        let image = image(
            user,
            "FROM busybox\n\
             RUN mkdir /d && echo a > /d/file && ln -s file /d/link\n\
             RUN chmod 644 /d/file && chmod 755 /d && chown -h 0:0 /d/link && : >> /d/file && mv /d/file /x && mv /x /d/file\n\
             RUN cat /d/* > /dev/null\n",
        );
        for number in [-1, -2] {
            let names: Vec<&str> =
                image.layer(number).iter().map(|entry| entry.path.as_str()).collect();
            assert!(!names.contains(&"d/file") && !names.contains(&"d/link"), "{names:?}");
        }
    }
}

#[test]
fn nothing_of_the_sandbox_stays() {
    if !can_run() {
        return;
    }
    for user in User::all() {
        let image = image(
            user,
            "FROM busybox\n\
             RUN ls /proc/self /sys /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty \
             /dev/pts /dev/shm /dev/fd/0 /dev/ptmx > /dev/null && test -r /etc/resolv.conf && test -r /etc/hosts \
             && echo a > /dev/shm/a && echo done > /mark\n\
             RUN rm -f /etc/resolv.conf /etc/hosts; mkdir -p /dev/shm/b; echo done > /mark2\n",
        );
        has_lines(&image, -2, &["file 644 0:0 mark"]);
        let lines = image.lines(-1);
        assert!(lines.contains(&"file 644 0:0 mark2".to_owned()), "{lines:?}");
        let trace = |line: &String| {
            ["dev", "proc", "sys", "resolv", "hosts"].iter().any(|word| line.contains(word))
        };
        assert!(!lines.iter().any(trace), "{lines:?}");
    }
}

#[test]
fn a_command_sees_its_own_world_only() {
    if !can_run() {
        return;
    }
    for user in User::all() {
        let image = image(
            user,
            "FROM busybox\n\
             ENV COLOUR=blue\n\
             ARG SIZE=7\n\
             WORKDIR /srv\n\
             RUN env | sort > env; pwd > pwd; id -u > uid; id -g > gid; umask > umask; echo $$ > pid; \
             ls /proc | grep -c '^[0-9]' > processes; ls /proc/self/fd | wc -l > open; \
             grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status > status; uname -m > machine; \
             ls / > root; ls /tmp > tmp; cat /proc/self/mountinfo > mounts; readlink /proc/1/exe > init; true\n",
        );
        let text = |name: &str| image.text(&format!("srv/{name}"));
        assert_eq!(
            (text("uid").as_str(), text("gid").as_str(), text("pwd").as_str()),
            ("0", "0", "/srv")
        );
        assert_eq!(text("umask"), "0022");
        let env = text("env");
        for line in ["COLOUR=blue", "SIZE=7", "HOME=/root", "PWD=/srv"] {
            assert!(env.lines().any(|other| other == line), "{line}: {env}");
        }
        for word in ["XDG_DATA_HOME", "xbuild", "CARGO"] {
            assert!(!env.contains(word), "{word}: {env}");
        }
        assert!(text("pid").parse::<u32>().unwrap() < 10, "a pid namespace");
        assert!(text("processes").parse::<u32>().unwrap() < 10);
        // Standard input, output and error, and the folder that ls reads.
        assert_eq!(text("open"), "4");
        // CapEff: Docker's default capabilities. Seccomp: a filter.
        let status = text("status");
        assert!(status.contains("00000000a80425fb"), "{status}");
        assert!(status.contains("Seccomp:\t2"), "{status}");
        assert_eq!(text("tmp"), "");
        assert!(!text("root").contains("context"), "the root folder is the image's");
        assert!(!image.config["config"].to_string().contains("SIZE"), "{}", image.config["config"]);
    }
}

#[test]
fn users_of_the_image_are_used() {
    if !can_run() {
        return;
    }
    for user in User::all() {
        let dockerfile = "FROM busybox\n\
             RUN mkdir -m 777 /w && chown 7:8 /w\n\
             USER app\n\
             RUN id > /w/app && touch /w/mine\n\
             USER 4321:staff\n\
             RUN id -u > /w/number && id -g > /w/group\n";
        if user == User::Single {
            // One id is all there is: what needs another is an environment that cannot, not an image
            // with wrong owners.
            let finished = failure(user, "FROM busybox\nUSER app\nRUN true\n");
            finished.fails(5, &["app", "1234", "/etc/subuid"]);
            continue;
        }
        let image = image(user, dockerfile);
        assert!(
            image.text("w/app").starts_with("uid=1234(app) gid=2345(appgrp) groups="),
            "{}",
            image.text("w/app")
        );
        assert!(image.text("w/app").contains("50(staff)"));
        assert_eq!(image.entry("w/mine").owner, (1234, 2345));
        assert_eq!(image.files()["w"].owner, (7, 8));
        assert_eq!(
            (image.text("w/number").as_str(), image.text("w/group").as_str()),
            ("4321", "50")
        );
    }
}

#[test]
fn the_sandbox_is_lifted_for_steps_that_ask_and_builds_that_grant_it() {
    if !can_run() {
        return;
    }
    for user in User::all() {
        let place = Place::new(user);
        place.write(
            "Dockerfile",
            "FROM busybox\n\
             RUN --security=insecure grep -e CapEff -e Seccomp: /proc/self/status > /insecure \
             && mkdir -p /mnt && mount -t tmpfs none /mnt && echo x > /mnt/x\n\
             RUN --security=sandbox grep CapEff /proc/self/status > /sandbox; ! mount -t tmpfs none /mnt\n",
        );
        let refused = ["Dockerfile:2", "--security=insecure", "--allow security.insecure"];
        place.build(&[]).fails(1, &refused);
        place.build(&["--allow", "network.host"]).fails(1, &refused);
        let before = host_state();
        let image = place.image(&["--allow", "security.insecure", "--allow=network.host"]);
        assert_eq!(host_state(), before);
        let status = image.text("insecure");
        assert!(status.contains("CapEff:\t000001ff") && status.contains("Seccomp:\t0"), "{status}");
        assert!(image.text("sandbox").contains("a80425fb"));
        assert!(!image.files().contains_key("mnt/x"));
    }
}

#[test]
fn all_forms_of_commands_run() {
    if !can_run() {
        return;
    }
    for user in User::all() {
        let image = image(
            user,
            "FROM busybox\n\
             RUN echo $((1 + 1)) > /shell\n\
             RUN [\"sh\", \"-c\", \"echo $0 > /exec\", \"a b\"]\n\
             RUN <<END\n\
             echo one > /heredoc\n\
             echo two >> /heredoc\n\
             END\n\
             RUN <<END cat > /input\n\
             text\n\
             END\n\
             RUN <<END\n\
             #!/bin/awk -f\n\
             BEGIN { print \"awk\" > \"/script\" }\n\
             END\n\
             SHELL [\"/bin/sh\", \"-euc\"]\n\
             RUN echo $- > /flags\n",
        );
        assert_eq!((image.text("shell").as_str(), image.text("exec").as_str()), ("2", "a b"));
        assert_eq!(
            (image.text("heredoc").as_str(), image.text("input").as_str()),
            ("one\ntwo", "text")
        );
        assert_eq!(image.text("script"), "awk");
        assert!(image.text("flags").contains('u'));
        let paths: Vec<&String> =
            image.layers.iter().skip(1).flatten().map(|entry| &entry.path).collect();
        assert_eq!(
            paths.iter().filter(|path| !path.is_empty()).count(),
            6,
            "no script stays: {paths:?}"
        );
    }
}

#[test]
fn failures_say_which_and_why() {
    if !can_run() {
        return;
    }
    for user in User::all() {
        failure(user, "FROM busybox\nRUN echo out; echo err >&2; exit 37\n")
            .fails(3, &[" out", " err", "exit code 37", " --> Dockerfile:2", "> RUN echo out"]);
        failure(user, "FROM busybox\nRUN kill -9 $$\n")
            .fails(3, &["SIGKILL", "137", "hint: ", "memory"]);
        failure(user, "FROM busybox\nRUN [\"no-such-program\"]\n")
            .fails(3, &["no-such-program", "PATH"]);
        failure(user, "FROM busybox\nRUN [\"/no/such/program\"]\n").fails(3, &["/no/such/program"]);
        failure(user, "FROM busybox\nRUN no-such-program\n")
            .fails(3, &["exit code 127", "no-such-program", "hint: ", "PATH"]);
        failure(user, "FROM scratch\nRUN true\n").fails(3, &["/bin/sh"]);
        failure(user, "FROM busybox\nUSER nobody-knows\nRUN true\n").fails(1, &["nobody-knows"]);
    }
}

#[test]
fn a_failed_step_leaves_what_came_before_in_the_cache() {
    if !can_run() {
        return;
    }
    let place = Place::new(User::Me);
    place.write("Dockerfile", "FROM busybox\nRUN echo a > /a\nRUN test -e /b\n");
    place.build(&[]).fails(3, &[]);
    place.write("Dockerfile", "FROM busybox\nRUN echo a > /a\nRUN test -e /a\n");
    assert_eq!(place.build(&[]).ok().steps(), (1, 1));
}

#[test]
fn output_is_shown_line_by_line_without_control_characters() {
    if !can_run() {
        return;
    }
    let place = Place::new(User::Me);
    place.write("Dockerfile", "FROM busybox\nRUN printf 'one\\ntwo\\033[31m\\033]0;title\\007\\nhalf'; printf '10%%\\r99%%\\n' >&2\n");
    let text = place.build(&[]).ok().stderr;
    for line in ["one", "two", "half", "99%"] {
        assert!(
            text.lines()
                .any(|other| other.starts_with('#') && other.ends_with(&format!(" {line}"))),
            "{line}: {text}"
        );
    }
    let shown: Vec<&str> = text.lines().filter(|line| !line.contains("RUN")).collect();
    assert!(!text.contains('\u{1b}') && !shown.concat().contains("title"), "{text:?}");
}

#[test]
fn a_network_of_none_is_a_loopback_interface() {
    if !can_run() {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for user in User::all() {
        let image = image(
            user,
            &format!(
                "FROM busybox\n\
                 RUN --network=none tail -n +3 /proc/net/dev | cut -d: -f1 > /none; ! nc -w 2 127.0.0.1 {port} < /dev/null\n\
                 RUN --network=host tail -n +3 /proc/net/dev | cut -d: -f1 > /host\n"
            ),
        );
        assert_eq!(image.text("none").trim(), "lo");
        let host = fs::read_to_string("/proc/net/dev").unwrap();
        assert_eq!(image.text("host").lines().count(), host.lines().count() - 2);
    }
    let place = Place::new(User::Me);
    place.write("Dockerfile", "FROM busybox\nRUN tail -n +3 /proc/net/dev | cut -d: -f1 > /none\n");
    assert_eq!(place.image(&["--network", "none"]).text("none").trim(), "lo");
}

#[test]
fn processes_in_the_background_end_with_their_step() {
    if !can_run() {
        return;
    }
    for user in User::all() {
        let image = image(
            user,
            "FROM busybox\nRUN sleep 1000 & sleep 1000 > /dev/null 2>&1 & echo a > /a\nRUN ls /proc | grep -c '^[0-9]' > /n\n",
        );
        assert_eq!(image.text("a"), "a");
        assert!(image.text("n").parse::<u32>().unwrap() < 10);
    }
}

#[test]
fn proxies_of_the_client_configuration_are_build_arguments() {
    if !can_run() {
        return;
    }
    let place = Place::new(User::Me);
    let docker = place.path().join("home/.docker");
    fs::create_dir_all(&docker).unwrap();
    let set = |text: &str| fs::write(docker.join("config.json"), text).unwrap();
    place.write("Dockerfile", "FROM busybox\nRUN env | grep -i _proxy= | sort > /proxies\n");
    set(r#"{"proxies": {"default": {"httpProxy": "http://u:SECRET@p:1", "noProxy": "h"}}}"#);
    let layout = place.out("image");
    let output = format!("type=oci,tar=false,dest={}", layout.display());
    let finished = place.build(&["--build-arg", "no_proxy=mine", "--output", &output]).ok();
    assert!(!finished.stderr.contains("SECRET"), "{}", finished.stderr);
    let image = image::read(&layout).remove(0);
    assert_eq!(
        image.text("proxies"),
        "HTTP_PROXY=http://u:SECRET@p:1\nNO_PROXY=mine\nhttp_proxy=http://u:SECRET@p:1\n\
         no_proxy=mine"
    );
    assert!(!image.config.to_string().contains("SECRET"));
    // They are in no key.
    set(r#"{"proxies": {"default": {"httpProxy": "http://other"}}}"#);
    assert_eq!(place.build(&[]).ok().steps(), (1, 0));
    set(r#"{"proxies": {"default": {"httpProxy": SECRET}}}"#);
    let finished = place.build(&[]).fails(1, &["config.json: malformed at line 1"]);
    assert!(!finished.stderr.contains("SECRET"), "{}", finished.stderr);
}

#[test]
fn a_platform_without_emulator_is_refused_before_the_first_step() {
    // riscv64: few hosts have an entry of their own for it.
    let entry = fs::read_dir("/proc/sys/fs/binfmt_misc").into_iter().flatten().flatten();
    if !can_run()
        || entry.into_iter().any(|entry| entry.file_name().to_string_lossy().contains("riscv64"))
    {
        return;
    }
    for user in User::all() {
        let place = Place::new(user);
        place.write("Dockerfile", "FROM --platform=$BUILDPLATFORM busybox AS native\nRUN echo started > /a\nFROM scratch\nCOPY --from=native / /\nRUN true\n");
        let mut command =
            place.xbuild(place.build_args(&["--platform", "linux/amd64,linux/riscv64"]));
        command.env("PATH", path_without_emulators(&place));
        let finished =
            Finished::run(command).fails(5, &["linux/riscv64", "qemu-riscv64", "qemu-user-static"]);
        assert_eq!(finished.steps(), (0, 0), "{}", finished.stderr);
        assert!(!finished.stderr.contains("#1"), "{}", finished.stderr);
    }
}

#[test]
fn what_is_cached_needs_no_emulator() {
    if !can_run() || !can_emulate() {
        return;
    }
    for user in User::all() {
        let place = Place::new(user);
        place.write(
            "Dockerfile",
            "FROM busybox\nRUN echo one > /one\nWORKDIR /w\nCOPY f .\nRUN echo two > two\n",
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
        assert_eq!(again(&[]).ok().steps(), (8, 0));
        place.write("f", "changed");
        for more in [&[][..], &["--no-cache"]] {
            let finished = again(more);
            // A host may run them by itself.
            if finished.status != 0 {
                let finished = finished.fails(5, &["qemu-s390x", "qemu-ppc64le"]);
                assert_eq!(finished.steps(), (0, 0));
            }
        }
    }
}

/// Makes a folder for PATH with nothing but the tools that map ids.
fn path_without_emulators(place: &Place) -> PathBuf {
    let folder = place.path().join("tools");
    fs::create_dir(&folder).unwrap();
    for tool in ["newuidmap", "newgidmap"] {
        symlink(found_in_path(tool), folder.join(tool)).unwrap();
    }
    folder
}

#[test]
fn foreign_programs_run_without_touching_the_host() {
    if !can_run() || !can_emulate() {
        return;
    }
    for user in User::all() {
        let place = Place::new(user);
        place.write("Dockerfile", "FROM busybox\nARG TARGETPLATFORM\nRUN uname -m > /machine && echo $TARGETPLATFORM > /platform && sh -c 'exec cat /machine' | tr a-z A-Z > /piped; ls /proc/sys/fs/binfmt_misc > /entries\n");
        let before = host_state();
        let images = place.images(&["--platform", "linux/s390x,linux/ppc64le,linux/arm64"]);
        assert_eq!(host_state(), before);
        let said: Vec<(String, String)> =
            images.iter().map(|image| (image.text("platform"), image.text("machine"))).collect();
        let said: Vec<(&str, &str)> = said.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(
            said,
            [("linux/s390x", "s390x"), ("linux/ppc64le", "ppc64le"), ("linux/arm64", "aarch64")]
        );
        assert_eq!(images[1].text("piped"), "PPC64LE");
        assert_eq!(images[1].text("entries"), "", "the emulator does not show");
        place.write("Dockerfile", "FROM busybox\nRUN kill -11 $$\n");
        let crashed = place.build(&["--platform", "linux/s390x"]);
        crashed.fails(3, &["SIGSEGV", "hint: ", "QEMU"]);
        place.build(&[]).fails(3, &["SIGSEGV"]);
    }
}

#[test]
fn many_layers_stack() {
    const LAYERS: usize = 150;
    if !can_run() {
        return;
    }
    let copies: String = (0..LAYERS).map(|n| format!("COPY Dockerfile /{n}\n")).collect();
    let look = format!("RUN for n in $(seq 0 {}); do test -s /$n || exit 1; done", LAYERS - 1);
    let dockerfile = format!("FROM busybox\n{copies}{look} && echo > /found\n");
    for user in User::all() {
        has_lines(&image(user, &dockerfile), -1, &["file 644 0:0 found"]);
    }
}

/// What is done to the layers below, and what then is to be seen of them.
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

/// A stack of those changes with as many further layers between them.
fn changes_between(layers: usize) -> String {
    let mut number = 0;
    let mut fill = || {
        number += 1;
        (0..layers).map(|n| format!("COPY Dockerfile /fill/{number}/{n}\n")).collect::<String>()
    };
    let touch = "find /w -exec touch -h -d @1600000000 {} +";
    let mut text = format!(
        "FROM busybox\nRUN mkdir -p /w/a /w/opaque/old /w/replaced/old /w/folder/in /w/hidden/deeper \
         && echo > /w/a/gone && echo > /w/a/kept && echo > /w/one && ln /w/one /w/twin \
         && echo > /w/other && echo > /w/folder/in/file && ln -s a /w/symlink \
         && mknod /w/null c 1 3 && {touch}\n"
    );
    for change in CHANGES {
        let step = format!("{}RUN {change} && {touch}\n", fill());
        text.push_str(&step);
    }
    text
}

/// Builds that and returns the layers that are not only there to make the stack deep.
fn layers_of_changes(user: User, between: usize) -> Vec<(String, Vec<String>)> {
    let place = Place::new(user);
    let image = place.write("Dockerfile", changes_between(between)).image(&[]);
    assert_eq!(fs::read_dir(place.store().join("tmp")).unwrap().count(), 0);
    let ids = image.config["rootfs"]["diff_ids"].as_array().unwrap().iter();
    let layers = ids.enumerate().map(|(number, id)| (id.to_string(), image.lines(number as isize)));
    layers.filter(|(_, lines)| lines.iter().all(|line| !line.contains(" fill"))).collect()
}

#[test]
fn deep_stacks_give_the_same_layers() {
    if !can_run() {
        return;
    }
    for user in User::all() {
        assert_eq!(layers_of_changes(user, 40), layers_of_changes(user, 0));
    }
}
