//! The world that a command sees: its own users, processes, files, network and variables, and
//! nothing of the host's.

use std::fs;
use std::net::TcpListener;

use super::{build, image};
use crate::harness::{Place, User, host_state, needs, to_layout};
use crate::image;

#[test]
fn a_command_sees_its_own_world_only() {
    needs!(Run);
    for user in User::all() {
        let image = image(
            user,
            r"
            FROM busybox
            ENV COLOUR=blue
            ARG SIZE=7
            WORKDIR /srv
            RUN env | sort > env; pwd > pwd; id -u > uid; id -g > gid; umask > umask; \
                echo $$ > pid; ls /proc | grep -c '^[0-9]' > processes; \
                ls /proc/self/fd | wc -l > open; \
                grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status > status; \
                uname -m > machine; ls / > root; ls /tmp > tmp; \
                cat /proc/self/mountinfo > mounts; readlink /proc/1/exe > init; true
            ",
        );
        let text = |name: &str| image.text(&format!("srv/{name}"));
        for (name, expected) in
            [("uid", "0"), ("gid", "0"), ("pwd", "/srv"), ("umask", "0022"), ("tmp", "")]
        {
            assert_eq!(text(name), expected, "{name}");
        }
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
        assert!(!text("root").contains("context"), "the root folder is the image's");
        assert!(!image.config["config"].to_string().contains("SIZE"), "{}", image.config["config"]);
    }
}

#[test]
fn users_of_the_image_are_used() {
    needs!(Run);
    for user in User::all() {
        let image = image(
            user,
            r"
            FROM busybox
            RUN mkdir -m 777 /w && chown 7:8 /w
            USER app
            RUN id > /w/app && touch /w/mine
            USER 4321:staff
            RUN id -u > /w/number && id -g > /w/group
            ",
        );
        let app = image.text("w/app");
        assert!(app.starts_with("uid=1234(app) gid=2345(appgrp) groups="), "{app}");
        assert!(app.contains("50(staff)"), "{app}");
        assert_eq!(image.entry("w/mine").owner, (1234, 2345));
        assert_eq!(image.files()["w"].owner, (7, 8));
        assert_eq!(image.text("w/number"), "4321");
        assert_eq!(image.text("w/group"), "50");
    }
}

#[test]
fn the_sandbox_is_lifted_for_steps_that_ask_and_builds_that_grant_it() {
    needs!(Run);
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile(
            r"
            FROM busybox
            RUN --security=insecure grep -e CapEff -e Seccomp: /proc/self/status > /insecure \
             && mkdir -p /mnt && mount -t tmpfs none /mnt && echo x > /mnt/x
            RUN --security=sandbox grep CapEff /proc/self/status > /sandbox; \
                ! mount -t tmpfs none /mnt
            ",
        );
        let refused = ["Dockerfile:2", "--security=insecure", "--allow security.insecure"];
        place.build(&[]).fails(1, &refused);
        place.build(&["--allow", "network.host"]).fails(1, &refused);
        let before = host_state();
        let image = place.image(&["--allow", "security.insecure", "--allow=network.host"]);
        assert_eq!(host_state(), before);
        let status = image.text("insecure");
        // With a single id there is a filter that refuses nothing, for the owners of files.
        let filter = if user == User::Single { "Seccomp:\t2" } else { "Seccomp:\t0" };
        assert!(status.contains("CapEff:\t000001ff") && status.contains(filter), "{status}");
        assert!(image.text("sandbox").contains("a80425fb"));
        assert!(!image.files().contains_key("mnt/x"));
    }
}

#[test]
fn all_forms_of_commands_run() {
    needs!(Run);
    for user in User::all() {
        let image = image(
            user,
            r#"
            FROM busybox
            RUN echo $((1 + 1)) > /shell
            RUN ["sh", "-c", "echo $0 > /exec", "a b"]
            RUN <<END
            echo one > /heredoc
            echo two >> /heredoc
            END
            RUN <<END cat > /input
            text
            END
            RUN <<END
            #!/bin/awk -f
            BEGIN { print "awk" > "/script" }
            END
            SHELL ["/bin/sh", "-euc"]
            RUN echo $- > /flags
            "#,
        );
        for (name, expected) in [
            ("shell", "2"),
            ("exec", "a b"),
            ("heredoc", "one\ntwo"),
            ("input", "text"),
            ("script", "awk"),
        ] {
            assert_eq!(image.text(name), expected, "{name}");
        }
        assert!(image.text("flags").contains('u'));
        let made = image.layers.iter().skip(1).flatten().map(|entry| &entry.path);
        let made: Vec<&String> = made.filter(|path| !path.is_empty()).collect();
        assert_eq!(made.len(), 6, "no script stays: {made:?}");
    }
}

/// The kernel passes at most 128 KiB in one argument.
#[test]
fn scripts_are_as_long_as_you_like() {
    needs!(Run);
    let lines = |count: usize| "x=$((x + 1)) # a line of the script\n".repeat(count);
    let end = r#"[ -t 0 ] || read y || echo "$0 $x $LINENO $#" > /end"#;
    let heredoc = format!("x=0\n{}{end}\nexit $((x - 5000))\n", lines(5000));
    let chain = lines(5000).replace(" # a line of the script\n", "; : a line of the command; \\\n");
    let comments = "# a comment of the script, which does nothing\n".repeat(5000);
    for user in User::all() {
        // With a single id there is no other user.
        let other = if user == User::Single { 0 } else { 4321 };
        let image = image(
            user,
            &format!(
                "FROM busybox\nRUN <<END\n{heredoc}END\nRUN {chain} echo $x > /line\n\
                 SHELL [\"/bin/busybox\", \"sh\", \"-euc\"]\nRUN chmod 1777 /tmp\n\
                 USER {other}\nRUN <<END\n{comments}cp /end /tmp/user\nEND\n",
            ),
        );
        assert_eq!(image.text("end"), "/bin/sh 5000 5002 0");
        assert_eq!(image.text("line"), "5000");
        assert_eq!(image.text("tmp/user"), image.text("end"));
        assert!(!image.files().keys().any(|path| path.contains("pipes")));
    }
}

#[test]
fn arguments_that_are_too_long_for_the_kernel_are_errors_of_their_lines() {
    needs!(Run);
    let long = "x".repeat(131_072);
    let fails = |text: &str, words: &[&str]| {
        build(User::Me, &format!("FROM busybox\n{text}\n")).fails(1, words);
    };
    fails(
        &format!("RUN [\"echo\", \"{long}\"]"),
        &["Dockerfile:2", "argument 1 of echo", "131072"],
    );
    fails(
        &format!("SHELL [\"awk\", \"-f\"]\nRUN <<END\n{long}\nEND"),
        &["Dockerfile:3", "argument 2 of awk", "#!"],
    );
    fails(&format!("ENV LONG={long}\nRUN true"), &["Dockerfile:3", "the variable LONG", "131077"]);
    let many: String = (0..30).map(|n| format!("ENV V{n}={}\n", &long[..100_000])).collect();
    fails(&format!("{many}RUN true"), &["Dockerfile:32", "/bin/sh", "together"]);
    let most = &long[..131_071 - "LONG=".len()];
    build(User::Me, &format!("FROM busybox\nENV LONG={most}\nRUN [\"true\", \"{}\"]", &long[1..]))
        .ok();
}

#[test]
fn a_network_of_none_is_a_loopback_interface() {
    needs!(Run);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let interfaces = "tail -n +3 /proc/net/dev | cut -d: -f1";
    for user in User::all() {
        let image = image(
            user,
            &format!(
                r"
                FROM busybox
                RUN --network=none {interfaces} > /none; ! nc -w 2 127.0.0.1 {port} < /dev/null
                RUN --network=host {interfaces} > /host
                "
            ),
        );
        assert_eq!(image.text("none").trim(), "lo");
        let host = fs::read_to_string("/proc/net/dev").unwrap();
        assert_eq!(image.text("host").lines().count(), host.lines().count() - 2);
    }
    let place = Place::new(User::Me);
    place.dockerfile(&format!("FROM busybox\nRUN {interfaces} > /none\n"));
    assert_eq!(place.image(&["--network", "none"]).text("none").trim(), "lo");
}

#[test]
fn processes_in_the_background_end_with_their_step() {
    needs!(Run);
    for user in User::all() {
        let image = image(
            user,
            r"
            FROM busybox
            RUN sleep 1000 & sleep 1000 > /dev/null 2>&1 & echo a > /a
            RUN ls /proc | grep -c '^[0-9]' > /n
            ",
        );
        assert_eq!(image.text("a"), "a");
        assert!(image.text("n").parse::<u32>().unwrap() < 10);
    }
}

#[test]
fn proxies_of_the_client_configuration_are_build_arguments() {
    needs!(Run);
    let place = Place::new(User::Me);
    let docker = place.path().join("home/.docker");
    fs::create_dir_all(&docker).unwrap();
    let set = |text: &str| fs::write(docker.join("config.json"), text).unwrap();
    place.dockerfile("FROM busybox\nRUN env | grep -i _proxy= | sort > /proxies\n");
    set(r#"{"proxies": {"default": {"httpProxy": "http://u:SECRET@p:1", "noProxy": "h"}}}"#);
    let layout = place.out("image");
    let args = ["--build-arg", "no_proxy=mine", "--output", &to_layout(&layout)];
    place.build(&args).ok().does_not_say("SECRET");
    let image = image::read(&layout).remove(0);
    assert_eq!(
        image.text("proxies"),
        "HTTP_PROXY=http://u:SECRET@p:1\nNO_PROXY=mine\nhttp_proxy=http://u:SECRET@p:1\n\
         no_proxy=mine"
    );
    assert!(!image.config.to_string().contains("SECRET"));
    // Proxies are in no cache key.
    set(r#"{"proxies": {"default": {"httpProxy": "http://other"}}}"#);
    assert_eq!(place.build(&[]).ok().steps(), "1 cached, 0 done");
    set(r#"{"proxies": {"default": {"httpProxy": SECRET}}}"#);
    let finished = place.build(&[]).ok();
    finished.says(&["warning: ", "config.json: malformed at line 1"]);
    finished.does_not_say("SECRET");
}
