//! Owners of files: with one id they are those that a range of ids gives.

mod ways;

use std::collections::BTreeMap;

use crate::harness::{Place, User, needs};
use crate::image::Image;

/// Returns the ways of building that have one id.
const SINGLE: [&str; 3] = ["userns-single/overlay", "userns-single/folder", "userns-chroot"];

/// Calls `check` with the image of a Dockerfile for each user and each number of ids.
#[track_caller]
fn for_each_way(dockerfile: &str, files: &[(&str, &str)], check: impl Fn(&Image, &str)) {
    for user in User::all() {
        let place = Place::new(user);
        for (name, text) in files {
            place.write(name, text);
        }
        place.dockerfile(dockerfile);
        for way in SINGLE.into_iter().chain((user != User::Single).then_some("userns-range")) {
            // With a range, this rung has one as well.
            if way == "userns-chroot" && user != User::Single {
                continue;
            }
            let image = place.image(&["--no-cache", "--isolation", way]);
            check(&image, &format!("{user:?} {way}"));
            // Ways with the same ids share cache mounts.
            place.run(["prune", "--max-used-space", "0"]).ok();
        }
    }
}

/// Fails the test unless the files named in `expected` have these owners, in all ways of building.
#[track_caller]
fn gives(dockerfile: &str, files: &[(&str, &str)], expected: &[(&str, (u64, u64))]) {
    let expected: BTreeMap<&str, (u64, u64)> = expected.iter().copied().collect();
    for_each_way(dockerfile, files, |image, way| {
        let all = image.files();
        let found: BTreeMap<&str, (u64, u64)> = expected
            .keys()
            .map(|path| (*path, all.get(*path).unwrap_or_else(|| panic!("{path}, {way}")).owner))
            .collect();
        assert_eq!(found, expected, "{way}");
        let internal = |image: &Image| format!("{:?}", image.layers).contains("user.xbuild");
        assert!(!internal(image), "{way}");
    });
}

/// The owner that COPY gave is the one that a command sees, keeps and copies.
#[test]
fn owners_of_the_layers_below_are_kept() {
    needs!(Run);
    gives(
        r"
        FROM busybox
        COPY --chown=1234:2345 f /opt/app/f
        COPY --chown=1234:2345 f /opt/app/g
        RUN mv /opt/app /opt/app2; cp -a /opt/app2/g /opt/app2/h; cp /opt/app2/g /opt/app2/new; \
            sed -i s/a/b/ /opt/app2/g; ln /opt/app2/f /opt/app2/link; \
            stat -c '%u:%g %n' /opt/app2/g /opt/app2/h > /seen
        RUN mkdir /t; tar c -C /opt app2 | tar x -p -C /t; mv /opt/app2/f /f; echo more >> /opt/app2/h
        ",
        &[("f", "a\n")],
        &[
            ("opt/app2", (1234, 2345)),
            ("opt/app2/g", (1234, 2345)),
            ("opt/app2/h", (1234, 2345)),
            ("opt/app2/new", (0, 0)),
            ("opt/app2/link", (1234, 2345)),
            ("f", (1234, 2345)),
            ("t/app2/h", (1234, 2345)),
            ("t/app2/new", (0, 0)),
            ("t/app2", (1234, 2345)),
            ("seen", (0, 0)),
        ],
    );
}

/// Files of every kind can be given away, and back, in one step or in the next.
#[test]
fn files_of_every_kind_are_given_away() {
    needs!(Run);
    gives(
        r"
        FROM busybox
        RUN mkdir -p /w/d && cd /w && touch a b suid && ln -s a l && ln -s a root && mkfifo p \
         && mknod null c 1 3 && chmod 6755 suid && chown 1:2 a d && chown -h 3:4 l && chown 5 p \
         && chown :6 null suid && ln a a2 && mv l l2 && ln l2 l3 && cp -a l2 l4 && cp -a p p2
        RUN cd /w && chown 0:0 a && chown -h 7:7 root && mv l2 l5 && mv p d/p && rm l3 && ln -s x l3 \
         && touch -h -d 2020-01-01 l4 && mv d e && ln l4 l6
        RUN chown -R 8:8 /w/e; chown 9 /w/b; stat -c '%u:%g' /w/l5 /w/l4 /w/root /w/null > /seen
        ",
        &[],
        &[
            ("w/a", (0, 0)),
            ("w/b", (9, 0)),
            ("w/e", (8, 8)),
            ("w/e/p", (8, 8)),
            ("w/l3", (0, 0)),
            ("w/l4", (3, 4)),
            ("w/l5", (3, 4)),
            ("w/l6", (3, 4)),
            ("w/null", (0, 6)),
            ("w/p2", (5, 0)),
            ("w/root", (7, 7)),
            ("w/suid", (0, 6)),
        ],
    );
    let modes = r"
        FROM busybox
        RUN touch /f && chmod 6755 /f && chown 1:1 /f && stat -c '%a %u:%g' /f > /seen
        ";
    for_each_way(modes, &[], |image, way| {
        assert_eq!(image.text("seen"), "755 1:1", "{way}");
        assert_eq!(image.entry("f").mode & 0o7777, 0o755, "{way}");
    });
}

/// A folder with the set-group-ID bit gives its group to everything that is made in it.
#[test]
fn folders_give_their_group_away() {
    needs!(Run);
    gives(
        r"
        FROM busybox
        RUN mkdir /d && chown 1:50 /d && chmod 2775 /d
        RUN cd /d && echo x > f && mkdir -p in/ner && ln -s f l && mkfifo p && mknod null c 1 3 \
         && ln -s /d/target /dangling && echo y > /dangling && echo z > in/ner/z && mkdir ../plain \
         && echo > ../plain/f && test -g in/ner && cp f copy && mktemp /d/tmp.XXXXXX > /name
        ",
        &[],
        &[
            ("d", (1, 50)),
            ("d/f", (0, 50)),
            ("d/in", (0, 50)),
            ("d/in/ner/z", (0, 50)),
            ("d/l", (0, 50)),
            ("d/p", (0, 50)),
            ("d/null", (0, 50)),
            ("d/target", (0, 50)),
            ("d/copy", (0, 50)),
            ("plain", (0, 0)),
            ("plain/f", (0, 0)),
        ],
    );
}

/// Mounts show the owners in their layers, those of links as well.
#[test]
fn mounts_show_owners() {
    needs!(Run);
    gives(
        r"
        FROM busybox AS other
        RUN mkdir -p /x/in && ln -s a /x/in/l && echo > /x/f && chown -hR 11:12 /x
        FROM busybox
        RUN --mount=from=other,source=/x,target=/mnt cp -a /mnt /copy
        ",
        &[],
        &[("copy", (11, 12)), ("copy/in/l", (11, 12)), ("copy/f", (11, 12))],
    );
}

/// A cache mount keeps the owners of its links and pipes from step to step, and gets those of a stage.
#[test]
fn links_in_cache_mounts_keep_their_owners() {
    needs!(Run);
    let dockerfile = r"
        FROM busybox AS seed
        RUN mkdir -p /x/in && ln -s a /x/in/l && chown -h 3:4 /x/in/l
        FROM busybox
        RUN --mount=type=cache,target=/c ln -s a /c/l && ln -s a /c/root && mkfifo /c/p && touch /c/f \
         && chown -h 1:2 /c/l && chown 5:6 /c/p /c/f && mv /c/l /c/m && ln -s a /c/back && chown -h 9 /c/back
        RUN --mount=type=cache,target=/c --mount=type=cache,from=seed,source=/x,target=/s \
         stat -c '%u:%g' /c/m /c/p /c/f /c/root /c/back /s/in/l > /seen && mv /s/in/l /s/k \
         && chown -h 0:0 /c/back && rm /c/m && ln -s a /c/m && cp -a /c/p /s/k /
        RUN --mount=type=cache,target=/c --mount=type=cache,from=seed,source=/x,target=/s \
         stat -c '%u:%g' /c/back /c/m /s/k > /later
        ";
    for_each_way(dockerfile, &[], |image, way| {
        assert_eq!(image.text("seen"), "1:2\n5:6\n5:6\n0:0\n9:0\n3:4", "{way}");
        assert_eq!(image.text("later"), "0:0\n0:0\n3:4", "{way}");
        assert_eq!([image.entry("p").owner, image.entry("k").owner], [(5, 6), (3, 4)], "{way}");
    });
}

/// A set-id program that the kernel refuses to execute leaves its caller as it was.
#[test]
fn a_program_that_does_not_start_gives_no_identity() {
    needs!(Run, Debian);
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile(
            r#"
            FROM debian
            RUN cp -a /bin/id /good && chown 5:6 /good && chmod 6777 /good
            RUN perl -e 'open W, ">>", "/good"; exec {"/good"} "/good";' \
                     -e 'system "touch /made"; open F, ">", "/ids"; print F "$> $) $<"'
            USER daemon
            RUN perl -e 'open W, ">>", "/good"; exec {"/good"} "/good"; exit($> == 1 && $< == 1 ? 0 : 3)'
            RUN test "$(/good -u) $(/good -g)" = "5 6" && test "$(id -u)" = 1
            "#,
        );
        let base = place.base("debian");
        for way in SINGLE.into_iter().chain((user != User::Single).then_some("userns-range")) {
            let way = if user == User::Single || way == "userns-range" { way } else { SINGLE[0] };
            let image = place.image(&["--no-cache", "--isolation", way, "--build-context", &base]);
            assert_eq!(image.text("ids"), "0 0 0 0", "{user:?} {way}");
            assert_eq!(image.entry("made").owner, (0, 0), "{user:?} {way}");
        }
    }
}

/// The attribute that keeps an owner is nobody's business: it is neither listed nor copied.
#[test]
fn the_attribute_of_an_owner_does_not_leak() {
    needs!(Run, Debian);
    for user in User::all() {
        let place = Place::new(user);
        let (set, list) = if cfg!(target_arch = "aarch64") { (5, 11) } else { (188, 194) };
        place.dockerfile(&format!(
            r#"
            FROM debian
            RUN touch /a && chown 5:5 /a && cp --preserve=mode,xattr /a /b && cp -a /a /c
            RUN perl -e 'my ($p, $n, $v) = ("/a", "user.xbuild.owner", "6:6");' \
                     -e 'exit 3 if syscall({set}, $p, $n, $v, 3, 0) == 0'
            RUN perl -e 'my ($p, $b) = ("/a", "x" x 100); exit syscall({list}, $p, $b, 100)'
            RUN perl -e 'open(my $f, "<", "/a"); exit 4 if (stat $f)[4] != 5;' \
                     -e 'exit 5 if (stat "/dev/fd/".fileno $f)[4] != 5'
            "#
        ));
        let base = place.base("debian");
        let way = ["--no-cache", "--isolation", "userns-single", "--build-context", &base];
        let image = place.image(&way);
        let owner = |path: &str| image.entry(path).owner;
        assert_eq!([owner("a"), owner("b"), owner("c")], [(5, 5), (0, 0), (5, 5)], "{user:?}");
    }
}

/// Commands become other users, and make files as them.
#[test]
fn users_of_the_image_make_their_own_files() {
    needs!(Run);
    gives(
        r"
        FROM busybox
        RUN mkdir -m 1777 /tmp; mkdir -m 2770 /shared; chgrp staff /shared; echo secret > /root/s; \
            chmod 600 /root/s; chmod 700 /root; echo open > /open; mkdir -m 777 /all
        RUN echo made:x:4000:4000::/home/made:/bin/sh >> /etc/passwd; echo made:x:4000: >> /etc/group; \
            mkdir -p /home/made; chown made:made /home/made; \
            su made -c 'id -u > /all/su; touch /home/made/f; mkdir /home/made/d; ln -s x /home/made/l'
        USER app
        RUN id -u > /all/uid; id -g > /all/gid; id -G > /all/groups; touch /all/f /shared/f; \
            mkdir -p /all/d/e; ln -s f /all/l; mkfifo /all/p; cp /open /all/copy; echo x > /dev/stdout; \
            echo in > /all/d/e/f; mv /all/d/e/f /all/d/f; chgrp staff /all/copy
        USER 4321:50
        RUN touch /all/number
        USER root
        RUN rm /all/p && touch /all/root
        ",
        &[],
        &[
            ("home/made/f", (4000, 4000)),
            ("home/made/d", (4000, 4000)),
            ("home/made/l", (4000, 4000)),
            ("all", (0, 0)),
            ("all/su", (4000, 4000)),
            ("all/f", (1234, 2345)),
            ("all/d/e", (1234, 2345)),
            ("all/d/f", (1234, 2345)),
            ("all/l", (1234, 2345)),
            ("all/copy", (1234, 50)),
            ("shared/f", (1234, 50)),
            ("all/number", (4321, 50)),
            ("all/root", (0, 0)),
        ],
    );
}

/// What would be denied to a user is denied, and nothing else.
#[test]
fn users_are_denied_what_the_kernel_would_deny() {
    needs!(Run);
    let dockerfile = r#"
        FROM busybox
        RUN mkdir -m 700 /closed && mkdir /closed/open && echo x > /closed/open/f && mkdir -m 1777 /sticky \
         && touch /sticky/root /readable && echo s > /secret && chmod 640 /secret && mkdir -m 777 /all \
         && cp /bin/busybox /bin/mine && chmod 700 /bin/mine && cp /bin/busybox /all/id && chmod 6755 /all/id
        USER app
        RUN try() { if eval $1 > /dev/null 2>&1; then echo yes $1; else echo no $1; fi >> /all/log; }; \
            for what in 'cat /secret' 'cat /readable' 'echo > /readable' 'test -w /readable' 'test -r /secret' \
              'test -d /closed/open' 'cat /closed/open/f' 'cd /closed' 'ls /closed' 'touch /new' 'mkdir /new' \
              'ln -s x /new' 'rm -f /readable' 'rm -f /sticky/root' 'mv /sticky/root /all/root' 'chmod 777 /readable' \
              'chown app /readable' 'chown app /all/log' 'chown root /all/log' 'mknod /all/null c 1 3' '/bin/mine true' \
              'echo > /all/new' 'rm /all/new' 'chroot / /bin/true' 'mkdir -p /all/p/q' 'rm -f /none' 'cat /proc/self/environ'; \
            do try "$what"; done
        RUN /all/id -u > /all/set
        "#;
    for_each_way(dockerfile, &[], |image, way| {
        let log = image.text("all/log");
        let allowed: Vec<&str> = log.lines().filter_map(|line| line.strip_prefix("yes ")).collect();
        let expected = [
            "cat /readable",
            "chown app /all/log",
            "echo > /all/new",
            "rm /all/new",
            "mkdir -p /all/p/q",
            "rm -f /none",
            "cat /proc/self/environ",
        ];
        let denied = log.lines().filter(|line| line.starts_with("no ")).count();
        assert_eq!((allowed, denied), (expected.to_vec(), 20), "{way}");
    });
}

/// A process that became another user sees that of itself, and others see it of the process. What it
/// may not do to files of others fails; changes of the kernel's own mount points are thrown away.
#[test]
fn a_process_sees_its_own_identity() {
    needs!(Run, Debian);
    let capget = if cfg!(target_arch = "aarch64") { 90 } else { 125 };
    let script = r#"
        FROM debian
        RUN chown 0:0 /proc /sys && chmod 555 /proc /sys && touch /proc && touch -d 2020-01-01 /sys
        RUN ln -s /proc /tmp/proc && chown -h 5:6 /tmp/proc
        RUN perl -e 'use Socket; socket(S, AF_INET, SOCK_STREAM, 0); defined getsockopt(S, 6, 17) or die $!'
        RUN perl -e 'use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Local => "/s", Listen => 5) or die;' \
              -e 'for (0700, 0777) { chmod $_, "/s"; $> = 1;' \
              -e 'print IO::Socket::UNIX->new(Peer => "/s") ? "in" : "out"; $> = 0; }' > /tmp/connect
        RUN as() { user=$1; shift; setpriv --reuid $user --regid $user --clear-groups "$@"; }; \
            setpriv --reuid 1 --regid 1 --clear-groups sleep 1000 & p=$!; until grep -q sleep /proc/$p/comm; do :; done; \
            { stat -c '%u:%g' /proc/$p /proc/$p/; grep ^Uid /proc/$p/status; \
              as 2 sh -c "kill -0 $p || kill -9 $p || kill -9 -- -$p; kill -9 -1; echo \$?; kill -9 0"; echo $?; \
              as 1 sh -c "kill -0 $p && kill $p"; wait $p; echo $?; } > /tmp/processes 2> /dev/null
        USER daemon
        RUN grep -E '^(Uid|Gid|Groups|CapPrm|CapEff|CapBnd)' /proc/self/status > /tmp/status \
         && stat -c '%u:%g' /proc/self/ >> /tmp/status \
         && perl -e 'use Socket; socketpair(A, B, AF_UNIX, SOCK_STREAM, 0);' \
              -e 'my (undef, @ids) = unpack("III", getsockopt(A, SOL_SOCKET, 17)); print "@ids\n";' > /tmp/peer \
         && perl -e 'use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Local => "/tmp/s", Listen => 1) or die;' \
              -e 'chmod(0700, "/tmp/s") or die; print join(" ", (stat "/tmp/s")[4, 5]), "\n"; unlink "/tmp/s" or die;' \
              -e 'IO::Socket::UNIX->new(Local => "/etc/s") and die "bound";' > /tmp/socket \
         && perl -e 'my ($h, $d) = (pack("II", 0x20080522, 0), "\1" x 24);' \
              -e 'syscall(CAPGET, $h, $d) == 0 or die $!; print unpack("H*", $d);' > /tmp/capget
        RUN ! touch /etc/passwd 2> /dev/null && ! touch -d 2020-01-01 /etc/passwd 2> /dev/null \
         && ! chmod 777 /proc 2> /dev/null && perl -e 'exit(truncate("/etc/passwd", 0) ? 3 : 0)' \
         && touch /tmp/f && touch -d 2020-01-01 /tmp/f && perl -e 'exit(truncate("/tmp/f", 3) ? 0 : 3)'
        "#;
    let script = &script.replace("CAPGET", &capget.to_string());
    let mut seen = Vec::new();
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile(script);
        let base = place.base("debian");
        for way in ["userns-single/overlay", "userns-single/folder", "userns-range"] {
            // A range without a package manager has nobody who changes the kernel's mount points.
            if (user == User::Single) != way.starts_with("userns-single") {
                continue;
            }
            let text = script.replace("RUN chown", "RUN exit 0; chown");
            if way == "userns-range" {
                place.dockerfile(&text);
            }
            let image = place.image(&["--no-cache", "--isolation", way, "--build-context", &base]);
            let names = ["status", "peer", "socket", "connect", "processes", "capget"];
            let texts = names.map(|name| image.text(&format!("tmp/{name}")));
            let processes = "1:1\n1:1\nUid:\t1\t1\t1\t1\n0\n137\n143";
            assert_eq!(texts[1..5], ["1 1", "1 1", "outin", processes], "{user:?} {way}");
            assert_eq!(&texts[5][..8], "00000000", "{user:?} {way}: effective");
            assert_eq!(image.entry("tmp/proc").owner, (5, 6), "{user:?} {way}");
            seen.push(texts);
        }
    }
    assert!(
        seen[0][0].contains("Uid:\t1\t1\t1\t1") && seen[0][0].contains("CapEff:\t0000000000000000")
    );
    assert!(seen.iter().all(|texts| *texts == seen[0]), "{seen:#?}");
}

/// What the kernel refuses stays refused: flags that nobody knows, descriptors that are only a path, other
/// users' processes, hard links to their files, and rights that a process has given up.
#[test]
fn calls_fail_as_with_a_range_of_ids() {
    needs!(Run, Debian);
    let numbers = if cfg!(target_arch = "aarch64") {
        "$stat, $chownat, $chown, $open, $tgkill, $tkill, $ptrace) = (79, 54, 55, 56, 131, 130, 117"
    } else {
        "$stat, $chownat, $chown, $open, $tgkill, $tkill, $ptrace) = (262, 260, 93, 257, 234, 200, 101"
    };
    let dockerfile = r#"
        FROM debian
        RUN echo 'our (NUMBERS); sub t { print syscall(shift, @_) < 0 ? $! + 0 : 0, " " } 1' > /t.pm
        RUN touch /f && chown 5:6 /f && perl -I/ -Mt -e 'my ($p, $b) = ("/f", "x" x 200);' \
              -e 't($stat, -100, $p, $b, 0x4000000); t($chownat, -100, $p, 1, 1, 0x40000); t($chown, 999, 1, 1);' \
              -e 'my $f = syscall($open, -100, $p, 0x200000, 0); t($chown, $f, 1, 1); t($stat, -100, $p, $b, 0);' > /flags
        RUN as() { setpriv --reuid 5 --regid 6 --clear-groups "$@"; }; sleep 1000 & p=$!; \
            as perl -I/ -Mt -e 'my $p = shift() + 0; t($tgkill, $p, $p, 0); t($tkill, $p, 0); t($ptrace, 16, $p, 0, 0);' \
              -e 't($ptrace, 0x4206, $p, 0, 0); t($tgkill, 1, 1, 0); my $o = $$ + 0; t($tgkill, $o, $o, 0); t($tkill, $o, 0);' \
              -e 't($tkill, 99999, 0); my $c = fork || sleep 1000; t($tgkill, $c, $c, 0); t($tkill, $c, 9);' $p > /processes; \
            kill $p
        RUN cp /bin/id /good && chown 5:6 /good && chmod 6755 /good; as() { setpriv --reuid 9 --regid 9 --clear-groups "$@"; }; \
            as /good -u > /set; as setpriv --no-new-privs /good -u >> /set; as setpriv --no-new-privs sh -c '/good -g' >> /set
        RUN echo > /srv/all && chmod 666 /srv/all && echo > /srv/set && chmod 4777 /srv/set && echo > /srv/read
        USER daemon
        RUN mkdir /tmp/l && cd /tmp/l && echo > own && for f in own /srv/all /srv/set /srv/read /etc/shadow; do \
              ln $f ${f##*/}2 2> /dev/null && echo $f; done > made; true
        "#;
    let dockerfile = dockerfile.replace("NUMBERS", numbers);
    let guard = std::fs::read_to_string("/proc/sys/fs/protected_hardlinks").unwrap();
    let all = "own\n/srv/all\n/srv/set\n/srv/read\n/etc/shadow";
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile(&dockerfile);
        let base = place.base("debian");
        for way in ["userns-single/overlay", "userns-single/folder", "userns-range"] {
            if user == User::Single && way == "userns-range" {
                continue;
            }
            let image = place.image(&["--no-cache", "--isolation", way, "--build-context", &base]);
            let way = format!("{user:?} {way}");
            assert_eq!(image.text("flags"), "22 22 9 9 0", "{way}");
            assert_eq!(image.text("processes"), "1 1 1 1 1 0 0 3 0 0", "{way}");
            assert_eq!(
                image.text("set"),
                "5
9
9",
                "{way}"
            );
            let linked = if guard.trim() == "0" {
                all
            } else {
                "own
/srv/all"
            };
            assert_eq!(image.text("tmp/l/made"), linked, "{way}");
        }
    }
}

/// The ways in which programs copy, pack and ask, and by which others lost owners: `statx`, an empty
/// path, `cp -a`, `tar -p`, archives of cpio, dpkg's and perl's.
#[test]
fn programs_keep_owners_in_their_own_ways() {
    needs!(Run, Debian);
    let (statx, fchownat) = if cfg!(target_arch = "aarch64") { (291, 54) } else { (332, 260) };
    let (uring, openat) = if cfg!(target_arch = "aarch64") { (425, 56) } else { (425, 257) };
    let dockerfile = format!(
        r#"
        FROM debian
        RUN mkdir -p /w/d && cd /w && echo a > d/f && ln -s f d/l && mkfifo d/p && chown -hR 1234:2345 d \
         && chmod 6755 d/f
        RUN cd /w && cp -a d cp && cp -a --reflink=never d/f reflink && install -o 7 -g 8 -m 6755 d/f installed \
         && tar -cf - d | (mkdir tar && tar -C tar -xpf -) && perl -MFile::Copy=cp -e 'cp("d/f", "plain")' \
         && mkdir -p deb/DEBIAN deb/opt && cp -a d deb/opt && printf '%s\n' 'Package: x' 'Version: 1' \
            'Architecture: all' 'Maintainer: x <x@x>' 'Description: x' > deb/DEBIAN/control \
         && dpkg-deb -b deb x.deb > /dev/null && dpkg -i x.deb > /dev/null
        RUN perl -e 'my $b = "x" x 256; my $p = "/w/d/l"; syscall({statx}, -100, $p, 0x100, 0x7ff, $b) == 0 or die;' \
             -e 'print join(" ", unpack("II", substr($b, 20, 8)));' > /w/statx \
         && perl -e 'open(my $f, "<", "/w/plain") or die; my $e = "";' \
             -e 'syscall({fchownat}, fileno($f), $e, 9, 10, 0x1000) == 0 or die $!' \
         && perl -e 'my ($p, $e) = ("/w/d/l", ""); my $f = syscall({openat}, -100, $p, 0x220000, 0);' \
             -e 'syscall({fchownat}, $f, $e, 11, 12, 0x1000) == 0 or die $!' \
         && perl -e 'my $b = chr(0) x 120; exit(syscall({uring}, 8, $b) == -1 ? 0 : 3)'
        "#
    );
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile(&dockerfile);
        let base = place.base("debian");
        let image = place.image(&["--no-cache", "--build-context", &base]);
        let own = (1234, 2345);
        for (path, owner) in [
            ("w/cp", own),
            ("w/cp/f", own),
            ("w/cp/l", own),
            ("w/cp/p", own),
            ("w/reflink", own),
            ("w/tar/d/l", own),
            ("w/tar/d/p", own),
            ("w/installed", (7, 8)),
            ("w/plain", (9, 10)),
            ("w/d/l", (11, 12)),
            ("opt/d/l", own),
            ("opt/d/f", own),
        ] {
            assert_eq!(image.entry(path).owner, owner, "{path} {user:?}");
        }
        for path in ["w/cp/f", "w/tar/d/f", "w/installed", "opt/d/f"] {
            assert_eq!(image.entry(path).mode & 0o7777, 0o6755, "{path} {user:?}");
        }
        assert_eq!(image.text("w/statx"), "1234 2345", "{user:?}");
    }
}

/// Programs of 32 bits make other calls, with other structures.
#[test]
fn programs_of_32_bits_keep_owners() {
    needs!(Run);
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let dockerfile = r"
        FROM busybox
        RUN mkdir /d && touch /d/f && ln -s f /d/l && chown -hR 7000:8000 /d && chmod 4755 /d/f
        RUN cp -a /d /copy && mkdir /t && tar c -C / d | tar x -p -C /t && mv /d/l /d/m \
         && stat -c '%u:%g %a' /d/f /copy/l /t/d > /seen && mkdir -m 777 /all
        USER 7001:8001
        RUN id -u > /all/id; id -g >> /all/id; ! echo x 2> /dev/null > /d/f; ! rm -f /d/m 2> /dev/null && touch /all/f
        ";
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile(dockerfile);
        for way in [SINGLE[0], SINGLE[2], "userns-range"] {
            if (user == User::Single) != (way != "userns-range") {
                continue;
            }
            let image = place.image(&["--no-cache", "--isolation", way, "--platform", "linux/386"]);
            let seen = "7000:8000 4755\n7000:8000 777\n7000:8000 755";
            assert_eq!(image.text("seen"), seen, "{user:?} {way}");
            assert_eq!(image.text("all/id"), "7001\n8001", "{user:?} {way}");
            for (path, owner) in [
                ("d/m", (7000, 8000)),
                ("copy/f", (7000, 8000)),
                ("t/d/f", (7000, 8000)),
                ("all/f", (7001, 8001)),
            ] {
                assert_eq!(image.entry(path).owner, owner, "{path} {user:?} {way}");
            }
        }
    }
}

/// Returns an archive with files of owners whom hardly any range of ids has.
fn archive_of_high_owners() -> Vec<u8> {
    use tar::EntryType::{Directory, Fifo, Regular, Symlink};
    const HIGH: u64 = 1_407_182_137;
    const LAST: u64 = 4_294_967_294;
    let mut archive = tar::Builder::new(Vec::new());
    for (name, kind, owner, mode) in [
        ("d/", Directory, (HIGH, HIGH), 0o755),
        ("d/f", Regular, (HIGH, 5), 0o640),
        ("d/setuid", Regular, (LAST, LAST), 0o6755),
        ("d/group", Regular, (0, LAST), 0o644),
        ("d/l", Symlink, (LAST, LAST), 0o777),
        ("d/removed", Symlink, (LAST, 7), 0o777),
        ("d/given", Symlink, (HIGH, HIGH), 0o777),
        ("d/back", Regular, (HIGH, HIGH), 0o644),
        ("d/p", Fifo, (3, HIGH), 0o644),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_path(name).unwrap();
        if kind == Symlink {
            header.set_link_name("f").unwrap();
        }
        let text: &[u8] = if kind == Regular { b"text\n" } else { b"" };
        header.set_size(text.len() as u64);
        header.set_mode(mode);
        header.set_uid(owner.0);
        header.set_gid(owner.1);
        header.set_mtime(1_590_969_600);
        header.set_cksum();
        archive.append(&header, text).unwrap();
    }
    archive.into_inner().unwrap()
}

/// Files of owners who do not exist here are unpacked, seen and kept all the same.
#[test]
fn owners_beyond_the_range_are_kept() {
    needs!(Run);
    let dockerfile = r"
        FROM busybox AS base
        ADD high.tar /
        FROM base
        RUN cd /d && cat f && stat -c '%u:%g %a %n' . f setuid group l removed p > /seen && mv l l2 && mv p p2 \
         && cp -a f copy && cp f plain && echo more >> group && ln f hard && chown 1:2 back && chown -h 3:4 given \
         && rm removed && ln -s new removed && cp -a l2 l3 && mv f f2 && mkdir /e && mv f2 /e && cp -a /d /e/tree \
         && chown -h 1407182137:9 /e && echo new > new
        RUN cd /d && stat -c '%u:%g %n' /e /e/f2 hard l2 l3 p2 removed back given > /later && mv l2 l4 && chown 0 /e
        USER app
        RUN stat -c '%u:%g' /d/l4 > /dev/null && ! cat /d/hard 2> /dev/null && cat /d/setuid
        ";
    let (high, last) = (1_407_182_137, 4_294_967_294);
    let archive = archive_of_high_owners();
    for user in User::all() {
        let place = Place::new(user);
        place.write("high.tar", &archive);
        place.dockerfile(dockerfile);
        let ranges = ["userns-range/overlay", "userns-range/folder", "userns-chroot"];
        let ways = if user == User::Single { SINGLE } else { ranges };
        for way in ways {
            let image = place.image(&["--no-cache", "--isolation", way]);
            let way = format!("{user:?} {way}");
            let all = format!(
                "{high}:{high} 755 .\n{high}:5 640 f\n{last}:{last} 6755 setuid\n\
                 0:{last} 644 group\n{last}:{last} 777 l\n{last}:7 777 removed\n3:{high} 644 p"
            );
            assert_eq!(image.text("seen"), all, "{way}");
            let later = format!(
                "{high}:9 /e\n{high}:5 /e/f2\n{high}:5 hard\n{last}:{last} l2\n{last}:{last} l3\n\
                 3:{high} p2\n0:0 removed\n1:2 back\n3:4 given"
            );
            assert_eq!(image.text("later"), later, "{way}");
            let files = image.files();
            for (path, owner) in [
                ("e", (0, 9)),
                ("e/f2", (high, 5)),
                ("e/tree", (high, high)),
                ("e/tree/l3", (last, last)),
                ("d/hard", (high, 5)),
                ("d/copy", (high, 5)),
                ("d/plain", (0, 0)),
                ("d/new", (0, 0)),
                ("d/l4", (last, last)),
                ("d/p2", (3, high)),
                ("d/group", (0, last)),
                ("d/setuid", (last, last)),
                ("d/removed", (0, 0)),
                ("d/back", (1, 2)),
                ("d/given", (3, 4)),
            ] {
                assert_eq!(files[path].owner, owner, "{path} {way}");
            }
            assert_eq!(image.entry("d/setuid").mode & 0o7777, 0o6755, "{way}");
            assert!(!format!("{:?}", image.layers).contains("user.xbuild"), "{way}");
        }
    }
}
