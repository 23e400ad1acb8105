//! The networks of steps: the host's, and one of a step's own that pasta joins to it.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use super::build;
use crate::harness::{Finished, Place, User, host_state, needs, tool};

const PRIVATE: &[&str] = &["--network", "private"];

/// Starts a server on the host's loopback, which hangs up on its clients, and returns its port.
fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    port
}

#[test]
fn a_private_network_is_the_steps_own() {
    needs!(Run, Pasta);
    let port = server();
    let name = format!("xbuild-suite-{port}");
    let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
    let _socket = UnixListener::bind_addr(&abstract_name).unwrap();
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile(&format!(
            r"
            FROM busybox
            RUN (echo web | nc -l -p 80 &) && sleep 0.2 && nc 127.0.0.1 80 < /dev/null > /web
            RUN ping -c 1 127.0.0.1 > /ping
            RUN ! nc -w 2 127.0.0.1 {port} < /dev/null
            RUN grep ^nameserver /etc/resolv.conf | head -n 1 > /resolver; ip route > /routes
            RUN ! grep -q @{name} /proc/net/unix
            RUN --network=none ip route > /none
            RUN --network=host grep -q @{name} /proc/net/unix
            RUN --network=host nc -w 2 127.0.0.1 {port} < /dev/null
            "
        ));
        let before = host_state();
        let image = place.image(PRIVATE);
        assert_eq!(host_state(), before);
        assert_eq!(image.text("web"), "web");
        assert!(image.text("ping").contains("1 packets received"));
        assert_eq!(image.text("resolver"), "nameserver 169.254.1.1");
        assert!(image.text("routes").contains("default via"), "{}", image.text("routes"));
        assert_eq!(image.text("none"), "");
    }
}

#[test]
fn users_of_a_private_network_may_use_low_ports_and_ping() {
    needs!(Run, Range, Pasta);
    for user in User::all().into_iter().filter(|user| *user != User::Single) {
        let place = Place::new(user);
        place.dockerfile(
            r"
            FROM busybox
            USER app
            RUN (echo web | nc -l -p 80 &) && sleep 0.2 && test $(nc 127.0.0.1 80 < /dev/null) = web
            RUN grep . /proc/sys/net/ipv4/ping_group_range > /tmp/groups
            ",
        );
        // The ping of busybox does not know that way.
        assert_eq!(place.image(PRIVATE).text("tmp/groups"), "0\t65535");
    }
}

#[test]
fn platforms_in_private_networks_do_not_share_ports() {
    needs!(Run, Emulation, Pasta);
    for user in User::all() {
        let place = Place::new(user);
        // Each server waits for a client that comes late, so both are there at once.
        place.dockerfile(
            r"
            FROM busybox
            ARG TARGETARCH
            RUN (echo $TARGETARCH | nc -l -p 5432 > /dev/null &) && sleep 3 && nc 127.0.0.1 5432 < /dev/null > /arch
            ",
        );
        let platforms = ["--platform", "linux/amd64,linux/arm64", "--jobs", "2"];
        let images = place.images(&[&platforms, PRIVATE].concat());
        let texts: Vec<String> = images.iter().map(|image| image.text("arch")).collect();
        assert_eq!(texts, ["amd64", "arm64"]);
    }
}

#[test]
fn a_private_network_reaches_the_world() {
    needs!(Run, Range, Debian, Pasta);
    let place =
        Place::new(if User::all().contains(&User::Ranged) { User::Ranged } else { User::Me });
    place.dockerfile("FROM debian\nRUN apt-get update\n");
    let base = place.base("debian");
    place.build(&["--network", "private", "--build-context", &base]).ok();
}

#[test]
fn without_pasta_private_networks_are_refused_before_the_first_step() {
    needs!(Run);
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile("FROM busybox\nRUN true\n");
        let bare = place.path().join("bare");
        std::fs::create_dir(&bare).unwrap();
        let without = || {
            let mut command = place.xbuild(place.build_args(PRIVATE));
            command.env("PATH", &bare);
            Finished::run(command)
        };
        let refused = without().fails(5, &["[2/2] RUN true", "network of its own", "passt"]);
        refused.did_nothing();
        place.dockerfile("FROM busybox\nRUN --network=none true\n");
        without().ok();
    }
}

#[test]
fn a_pasta_that_fails_is_quoted() {
    needs!(Run, Pasta);
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nRUN true\n");
    let bin = place.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let script =
        "#!/bin/sh\necho no network today >&2\necho Failed to send 9 bytes to syslog >&2\n";
    std::fs::write(bin.join("pasta"), script).unwrap();
    tool("chmod", ["755", bin.join("pasta").to_str().unwrap()]);
    let mut command = place.xbuild(place.build_args(PRIVATE));
    command.env("PATH", &bin);
    let failed = Finished::run(command);
    failed.says(&["pasta failed: no network today", "--network host"]);
    failed.does_not_say("syslog");
    failed.fails(5, &["Dockerfile:2"]);
}

#[test]
fn a_port_in_use_has_a_hint() {
    needs!(Run);
    let port = server();
    let taken = format!("FROM busybox\nRUN nc -l -p {port}\n");
    for user in User::all() {
        build(user, &taken).fails(3, &["in use", "--network private"]);
    }
    let own = "FROM busybox\nRUN --network=none echo Address already in use; exit 1\n";
    build(User::Me, own).fails(3, &[]).does_not_say("--network private");
}
