//! Steps where nothing can be mounted, or not even a user namespace be made: their layers are those
//! of other rungs, and nothing is left of them.

use std::time::{Duration, Instant};

use crate::harness::{
    Finished, Place, User, have, host_state, is_root, needs, quiet, to_layout, tool,
};
use crate::image::{self, Image};
use crate::isolation::build_after;
use crate::kill::{Mark, no_work_is_left};

/// Gives all files that a step has changed the same time, so that layers can be compared.
const SET_TIMES: &str = "find / -path /proc -prune -o -path /sys -prune -o -path /dev -prune \
    -o -mtime -1 -exec touch -h -c -d '2020-01-01 00:00:00' {} +";

/// The same for a step with mounts, which it must not touch.
const SET_SOME_TIMES: &str = "touch -h -c -d '2020-01-01 00:00:00' /copy /";

/// Returns the users and the rungs that each can be put on.
pub(crate) fn rungs() -> Vec<(User, &'static str)> {
    let mut rungs: Vec<(User, &str)> =
        User::all().into_iter().map(|user| (user, "userns-chroot")).collect();
    if is_root() {
        rungs.push((User::Me, "chroot"));
    }
    rungs
}

/// Builds on a rung and returns the image.
#[track_caller]
fn build(place: &Place, rung: &str) -> Image {
    let before = host_state();
    let epoch = "SOURCE_DATE_EPOCH=1600000000";
    let image = place.image(&["--no-cache", "--isolation", rung, "--build-arg", epoch]);
    assert_eq!(host_state(), before);
    no_work_is_left(place);
    image
}

/// Fails the test unless the Dockerfile gives the same layers on each rung as with overlay mounts. In
/// it, TIMES is a command that gives changed files the same time.
#[track_caller]
fn gives_the_same(dockerfile: &str, is_for: impl Fn(User) -> bool) {
    for (user, rung) in rungs().into_iter().filter(|(user, _)| is_for(*user)) {
        let place = Place::new(user);
        let dockerfile = dockerfile.replace("TIMES", SET_TIMES).replace("SOME", SET_SOME_TIMES);
        place.write("a", "a").dockerfile(&dockerfile);
        let usual = if user == User::Single { "userns-single" } else { "userns-range" };
        let (overlay, folder) = (build(&place, usual), build(&place, rung));
        for number in 0..isize::try_from(overlay.layers.len()).unwrap() {
            let (overlay, folder) = (overlay.lines(number), folder.lines(number));
            assert_eq!(overlay, folder, "layer {number}, {user:?} {rung}");
        }
        assert_eq!(overlay.config["rootfs"], folder.config["rootfs"], "{user:?} {rung}");
    }
}

#[test]
fn layers_are_those_of_other_rungs() {
    needs!(Run);
    gives_the_same(
        r#"
        FROM busybox
        WORKDIR /made/here
        RUN test "$(pwd)" = /made/here && mkdir -p /d/sub && echo one > /d/file && ln /d/file /d/twin \
         && ln -s file /d/link && mkfifo /d/pipe && chmod 4711 /d/file && mknod /d/null c 1 3; TIMES
        COPY a /d/sub/
        RUN grep -q nameserver /etc/resolv.conf; grep -q localhost /etc/hosts && echo own > /etc/resolv.conf \
         && rm -r /d/sub && mv /d/file /d/moved; TIMES
        RUN mkdir /proc/x /dev/x /sys/x; echo /dev/shm/x > /dev/shm/x; TIMES
        RUN <<END
        #!/bin/sh
        cat "$0" > /script; TIMES
        END
        "#,
        |_| true,
    );
}

#[test]
fn files_have_their_owners_and_commands_their_users() {
    needs!(Run, Range);
    gives_the_same(
        r#"
        FROM busybox
        RUN mkdir /d && touch /d/a && chown -R 7:8 /d; TIMES
        USER app
        RUN test "$(id -u):$(id -g)" = 1234:2345 && ! touch /d/b
        USER root
        RUN touch /d/c; test $(stat -c %u:%g /d/a) = 7:8; TIMES
        "#,
        |user| user != User::Single,
    );
}

#[test]
fn mounts_of_steps_work_without_mount() {
    needs!(Run);
    gives_the_same(
        r#"
        FROM busybox AS tool
        RUN mkdir /t && echo tool > /t/file && ln -s /t/file /t/link; TIMES
        FROM busybox
        RUN --mount=type=bind,from=tool,target=/mnt/t --mount=type=bind,from=tool,source=/t,target=/rw,rw \
            --mount=type=tmpfs,target=/scratch --mount=type=cache,target=/var/cache/x \
            --mount=type=bind,target=/ctx \
            cat /mnt/t/t/file > /copy && echo more > /rw/file && echo x > /scratch/x \
         && echo y > /var/cache/x/y && cat /ctx/a >> /copy; SOME
        RUN --mount=type=bind,from=tool,source=/t/link,target=/one --mount=type=bind,target=/etc/passwd,source=a \
            --mount=type=cache,target=/var/cache/x \
            cat /one >> /copy; cat /etc/passwd /var/cache/x/y >> /copy; SOME
        RUN --mount=type=bind,from=tool,source=/t,target=/rw,rw --mount=type=bind,from=tool,source=/t,target=/rw2,rw \
            --mount=type=bind,target=/ctx,rw \
            grep -q tool /rw/file && ! grep -q more /rw/file && rm /rw/file && test -e /rw2/file && echo x > /ctx/new \
         && echo thrown away >> /copy; SOME
        RUN --mount=type=bind,target=/ctx,rw test ! -e /ctx/new && echo again >> /copy; SOME
        RUN test ! -e /one && test ! -e /rw && test ! -e /scratch && grep -q root /etc/passwd
        "#,
        |_| true,
    );
}

#[test]
fn processes_and_devices_are_there_without_mounts() {
    needs!(Run);
    for (user, rung) in rungs() {
        let place = Place::new(user);
        let other = if user == User::Single { "root" } else { "app" };
        place.dockerfile(&format!(
            r#"
            FROM busybox
            RUN echo x > /dev/null && test $(head -c 4 /dev/zero | wc -c) = 4 && test -c /dev/urandom
            RUN test $(readlink /proc/self/exe) = /bin/busybox && test $(cat /proc/self/comm) = cat              && test -e /proc/self/fd/0 && echo out > /dev/stdout && test $(cat /proc/$$/comm) = sh              && grep -q processor /proc/cpuinfo && test $(cat /proc/sys/kernel/ostype) = Linux              && grep -q rootfs /proc/mounts
            RUN cd /dev && echo x > null && cd / && test $(cat proc/self/comm) = cat && cd /proc && test $(cat self/comm) = cat && cd self && test $(cat comm) = cat && test -e fd/0
            RUN ! cat /proc/self/mem; ! cat /proc/self/root/etc/passwd; ! cat /proc/kcore; true
            RUN test ! -e /proc/$PPID && test -e /proc/$$ && (sleep 1000 & until test "$(cat /proc/$!/comm)" = sleep; do :; done)
            USER {other}
            RUN echo x > /dev/null && echo y | cat /dev/stdin && test $(cat /proc/self/comm) = cat              && grep -q HOME /proc/self/environ
            "#
        ));
        place.build(&["--isolation", rung]).ok();
    }
}

#[test]
fn lists_of_processes_and_descriptors_are_those_of_the_step() {
    needs!(Run);
    for (user, rung) in rungs() {
        let place = Place::new(user);
        let other = if user == User::Single { "root" } else { "app" };
        place.dockerfile(&format!(
            r#"
            FROM busybox
            RUN sleep 1000 & ps > /ps; grep -q 'sleep 1000' /ps && ls /proc > /list && ! grep -qx 1 /list && grep -qx $! /list \
             && grep -qx $$ /list && grep -qx cpuinfo /list && kill $! && wait; ! ls /proc | grep -qx $! && ls /proc | grep -qx $$
            RUN exec 7< /bin/busybox && test "$(ls /proc/self/fd | tr '\n' ' ')" = '0 1 2 7 ' && test "$(ls /dev/fd/ | wc -l)" = 4 \
             && test $(readlink /dev/fd) = /proc/self/fd && test $(cd /proc/self/fd && readlink 7) = /bin/busybox \
             && test $(ls /proc/self/task | wc -l) = 1 && ls /proc/self | grep -qx status && ls /proc/$$ | grep -qx comm \
             && ls -l /proc/self/fd/ | grep -q '7 -> /bin/busybox' && ! ls /proc/1000000
            RUN ! ls /proc/self/fd/../../1 && ! cat /proc/self/fd/../root/etc/passwd; cd /proc/self/fd && ! ls ../../../proc/1/root
            RUN mkdir -p /new/bin /new/proc && cp /bin/busybox /new/bin/sh && ln -s sh /new/bin/ls && chroot /new ls /proc > /inner && test ! -s /inner
            RUN rm -r /proc/* ; touch /proc/$$ ; ls /proc > /dev/null && ! ls /proc/$$/x
            USER {other}
            RUN ls /proc | grep -qx $$ && ls /proc/self/fd | grep -qx 2 && {{ test $(id -u) = 0 || ! touch /proc/self/x /proc/x; }}
            "#
        ));
        place.build(&["--isolation", rung]).ok();
    }
}

#[test]
fn programs_are_executed_by_the_names_of_processes() {
    needs!(Run);
    for (user, rung) in rungs() {
        let place = Place::new(user);
        let other = if user == User::Single { "root" } else { "app" };
        place.dockerfile(&format!(
            r#"
            FROM busybox
            RUN printf '#!/bin/sh\necho "$0 $1"\n' > /script && chmod 755 /script && cp /bin/busybox /gone
            RUN /proc/self/exe 2>&1 | grep -q 'exe: applet not found' && (cd /proc && self/exe 2>&1) | grep -q 'exe: applet' \
             && /proc/thread-self/exe 2>&1 | grep -q 'exe: applet' && /proc/$$/exe 2>&1 | grep -q 'exe: applet'
            RUN exec 5< /script && /proc/self/fd/5 one | grep -q '/fd/5 one$'
            RUN exec 6< /gone && rm /gone && /proc/self/fd/6 2>&1 | grep -q '6: applet not found'
            RUN i=0; while [ $i -lt 200 ]; do /proc/self/exe 2> /dev/null; test $? = 127 || exit 1; i=$((i+1)); done
            RUN ! /proc/self/root 2> /dev/null && ! /proc/self/fd/99 2> /dev/null && ! /proc/self/comm 2> /dev/null && ! /proc/1/exe 2> /dev/null
            USER {other}
            RUN /proc/self/exe 2>&1 | grep -q 'exe: applet'; cp /bin/busybox /tmp/own && chmod 711 /tmp/own && exec 5< /script && /proc/self/fd/5 x | grep -q '5 x$'
            "#
        ));
        place.build(&["--isolation", rung]).ok();
    }
}

#[test]
fn secrets_are_files_that_are_on_no_disk() {
    needs!(Run);
    let mount = "--mount=type=secret,id=s";
    for (user, rung) in rungs() {
        let place = Place::new(user);
        place.write("secret", "opensesame\n").dockerfile(&format!(
            r#"
            FROM busybox
            RUN {mount} test $(busybox rev < /run/secrets/s) = emasesnepo && test $(wc -c < /run/secrets/s) = 11              && test $(stat -c %a:%s /run/secrets/s) = 400:11 && cp /run/secrets/s /dev/shm/              && ! echo no > /run/secrets/s && cd /run/secrets &&  ln -s s t && cat t
            RUN {mount},target=/etc/hostname,mode=0444 {mount},env=S echo "$S" | grep -q "$(cat /etc/hostname)"
            RUN test ! -e /run/secrets/s && test ! -s /etc/hostname
            "#
        ));
        let secret = format!("id=s,src={}", place.context().join("secret").display());
        place.build(&["--isolation", rung, "--secret", &secret]).ok();
        let store = place.store();
        let found = quiet("grep", ["-rqs", "opensesame", store.to_str().unwrap()]);
        assert!(!found, "{user:?} {rung}");
    }
}

#[test]
fn a_step_is_told_that_it_is_not_isolated_once() {
    needs!(Run);
    for (user, rung) in rungs() {
        let place = Place::new(user);
        place.dockerfile("FROM busybox\nRUN echo a\nRUN echo b\n");
        let built = place.build(&["--isolation", rung]).ok();
        let words = "not isolated from xbuild";
        assert_eq!(built.stderr.matches(words).count(), 1, "{}", built.stderr);
        assert!(built.stderr.starts_with(&format!("isolation: {rung}/folder\n")));
    }
}

#[test]
fn processes_of_a_step_end_with_it() {
    needs!(Run);
    for (user, rung) in rungs() {
        let place = Place::new(user);
        // A second shell ends, so that init or a subreaper adopts; a session of its own; processes
        // that ignore signals; many that start others all the time.
        let other = if user == User::Single { "" } else { "su -s /bin/sh app -c 'sleep 1000 &';" };
        place.dockerfile(&format!(
            r#"
            FROM busybox
            RUN (sh -c 'sleep 1000 & sleep 1000 &' &); (busybox setsid sh -c 'trap "" TERM HUP INT; sleep 1000' &); \
                {other} (busybox setsid sh -c 'while :; do echo x >> /late; done' &); \
                (busybox setsid sh -c 'f() {{ (sleep 0.01; f) & }}; for i in 1 2 3 4; do f; done; sleep 1000' &); sleep 0.3
            RUN a=$(wc -c < /late); sleep 0.3; test $(wc -c < /late) = $a
            "#
        ));
        let mark = Mark::new();
        let mut build = mark.start(&place, &["--isolation", rung]);
        assert!(build.wait().unwrap().success(), "{user:?} {rung}");
        // What is left on a rung with a pid namespace ends in its own time.
        if rung == "chroot" {
            assert_eq!(mark.bearers(), [], "{user:?} {rung}");
        }
        mark.wait();
    }
}

#[test]
fn a_killed_build_leaves_no_process_and_keeps_caches() {
    needs!(Run);
    let cache = "--mount=type=cache,target=/root/c";
    for (user, rung) in rungs() {
        let place = Place::new(user);
        place.dockerfile(&format!(
            "FROM busybox\nRUN {cache} echo kept > /root/c/n; (busybox setsid sleep 1000 &); sleep 1000\n"
        ));
        let mark = Mark::new();
        let mut build = mark.start(&place, &["--isolation", rung]);
        let deadline = Instant::now() + Duration::from_secs(30);
        while mark.bearers().iter().filter(|(_, line)| line.starts_with("sleep 1000")).count() < 2 {
            assert!(Instant::now() < deadline, "the step does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        build.kill().unwrap();
        build.wait().unwrap();
        mark.wait();
        place.dockerfile(&format!("FROM busybox\nRUN {cache} cat /root/c/n > /got\n"));
        assert_eq!(place.image(&["--isolation", rung]).text("got"), "kept");
        no_work_is_left(&place);
    }
}

#[test]
fn a_cache_is_in_one_step_at_a_time() {
    needs!(Run);
    let cache = "--mount=type=cache,target=/c --mount=type=cache,target=/d,id=d";
    for (user, rung) in rungs() {
        let place = Place::new(user);
        let stages = (0..4).map(|number| {
            format!(
                "FROM busybox AS s{number}\nRUN {cache} n=$(cat /c/n || echo 0); sleep 0.1; \
                 echo $((n + 1)) > /c/n; rm -r /d; echo {number} > /done\n"
            )
        });
        let stages: String = stages.collect();
        let copies = "COPY --from=s0 /done /0\nCOPY --from=s1 /done /1\nCOPY --from=s2 /done /2\n\
                      COPY --from=s3 /done /3\n";
        place.dockerfile(&format!(
            "{stages}FROM busybox\n{copies}RUN {cache} cat /c/n > /got; test -d /d\n"
        ));
        let image = place.image(&["--isolation", rung, "--jobs", "4"]);
        assert_eq!(image.text("got"), "4", "{user:?} {rung}");
    }
}

#[test]
fn what_a_rung_cannot_do_is_refused_before_the_first_step() {
    needs!(Run);
    for (user, rung) in rungs() {
        let place = Place::new(user);
        let refused = |run: &str, more: &[&str], words: &[&str]| {
            place.dockerfile(&format!("FROM busybox\nRUN echo 1\n{run}\n"));
            let refused = place.build(&[&["--isolation", rung], more].concat());
            refused.fails(5, words).does_not_say("#1");
        };
        for sharing in ["shared", "locked", "private"] {
            let cache =
                |target| format!("--mount=type=cache,id=a,sharing={sharing},target={target}");
            let twice = format!("RUN {} {} touch /a/x", cache("/a"), cache("/b"));
            refused(&twice, &[], &["mounts one cache twice", rung, "hint: mount it once"]);
        }
        let insecure = "RUN --security=insecure --mount=type=secret,id=s true";
        let secret = format!("id=s,src={}", place.context().join("Dockerfile").display());
        let allow = ["--allow", "security.insecure", "--secret", &secret];
        refused(insecure, &allow, &["needs a secret as a file", "hint: give it as a variable"]);
        for (run, option) in [("RUN --network=none", "default"), ("RUN", "none")] {
            let run = format!("{run} echo ran {option}");
            if rung == "chroot" {
                let why = ["needs a network namespace", "chroot has no network namespaces"];
                refused(&run, &["--network", option], &why);
            } else {
                place.dockerfile(&format!("FROM busybox\nRUN echo 1\n{run}\n"));
                place.build(&["--isolation", rung, "--network", option]).ok();
            }
        }
        // Two caches are none.
        place.dockerfile("FROM busybox\nRUN --mount=type=cache,id=a,target=/a --mount=type=cache,id=b,target=/b touch /a/x\n");
        place.build(&["--isolation", rung]).ok();
        no_work_is_left(&place);
    }
}

#[test]
fn agents_are_lent_without_mounts() {
    needs!(Run, Tool("ssh-agent"), Tool("ssh-keygen"), Tool("ldd"));
    for (user, rung) in rungs() {
        let place = Place::new(user);
        let key = place.out("key").display().to_string();
        let mut command = place.command("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-C", "of-the-test", "-f", &key]);
        assert!(command.status().unwrap().success());
        let client = tool("sh", ["-c", "command -v ssh-add"]);
        let needed = tool("ldd", [client.trim()]);
        let libraries = needed.split_whitespace().filter(|word| word.starts_with('/'));
        let (mut linker, mut files) = (String::new(), vec![client.trim()]);
        for path in libraries {
            files.push(path);
            if path.contains("/ld-") {
                path.rsplit('/').next().unwrap().clone_into(&mut linker);
            }
        }
        for path in files {
            let name = path.rsplit('/').next().unwrap();
            place.write(&format!("ssh/{name}"), std::fs::read(path).unwrap());
        }
        let client = format!("LD_LIBRARY_PATH=/ssh /ssh/{linker} /ssh/ssh-add");
        place.dockerfile(&format!(
            r#"
            FROM busybox
            COPY --chmod=755 ssh /ssh
            RUN --mount=type=ssh test -S "$SSH_AUTH_SOCK" && {client} -l | grep of-the-test && ! {client} -D
            RUN --mount=type=ssh,target=/etc/agent,mode=0666 test $(stat -c %a /etc/agent) = 666 && rm /etc/agent
            RUN ! test -e /run/buildkit && ! test -e /etc/agent
            "#
        ));
        let image = place.image(&["--isolation", rung, "--ssh", &format!("default={key}")]);
        for layer in &image.layers[2..] {
            assert!(layer.iter().all(|file| !file.path.contains("agent")), "{user:?} {rung}");
        }
        no_work_is_left(&place);
    }
}

/// A bind mount is a copy, which shares its blocks with the original where the file system can.
#[test]
fn copies_for_mounts_share_blocks() {
    needs!(Run, Tool("unshare"), Tool("mkfs.btrfs"));
    if !have("loop", "root and loop devices", can_mount_loops) {
        return;
    }
    let place = Place::new(User::Me);
    let disk = place.out("disk");
    std::fs::File::create(&disk).unwrap().set_len(700 << 20).unwrap();
    assert!(quiet("mkfs.btrfs", ["-q", "-m", "single", disk.to_str().unwrap()]));
    let mounts = ["/a", "/b", "/c", "/d", "/e", "/f"]
        .map(|target| format!("--mount=type=bind,from=files,source=/big,target={target}"));
    place.dockerfile(&format!(
        "FROM busybox AS files\nRUN dd if=/dev/zero of=/big bs=1M count=120 2> /dev/null\n\
         FROM busybox\nRUN {} cmp /a /f && echo same > /same\n",
        mounts.join(" ")
    ));
    std::fs::create_dir(place.out("mounted")).unwrap();
    let mounted = place.out("mounted").display().to_string();
    let mount = format!("mount -o loop,nodatasum {} {mounted}", disk.display());
    let root = format!("{mounted}/store");
    let args = ["--isolation", "chroot", "--root", &root];
    build_after(&place, "-m", &mount, &args).ok().says(&["isolation: chroot/folder"]);
}

fn can_mount_loops() -> bool {
    is_root() && std::path::Path::new("/dev/loop-control").exists()
}

/// Steps of another platform: children, scripts and their interpreters, other users.
const FOREIGN: &str = r#"
    FROM busybox
    RUN uname -m > /machine && sh -c 'exec cat /machine' | tr a-z A-Z > /piped
    RUN printf '#!/bin/sh -e\necho "$0 $*"\n' > /script && printf '#!script one\n' > /outer \
     && chmod 755 /script /outer && ./outer two > /said; chroot / /script three >> /said; \
        /bin/busybox none; test $? = 127; test $(cat /proc/self/comm) = cat; \
        i=0; while [ $i -lt 20 ]; do /bin/busybox true || exit 1; i=$((i+1)); done; \
        (/bin/busybox setsid sh -c 'while :; do echo x >> /late; done' &); sleep 0.3
    RUN a=$(wc -c < /late); sleep 0.3; test $(wc -c < /late) = $a && rm /late
    "#;

/// Steps whose processes are, or become, another user's.
const FOREIGN_USERS: &str = r"
    RUN mkdir -m 777 /w && cp /bin/busybox /bin/hidden && chmod 700 /bin/hidden \
     && busybox su -s /bin/sh app -c '/bin/busybox id -u; /bin/busybox uname -m; /script; /bin/hidden true; echo $?' > /w/su
    USER app
    RUN /bin/busybox id -u > /w/user; sh -c 'uname -m; /script; exec /bin/busybox echo end' >> /w/user
    ";

#[track_caller]
fn is_foreign(image: &Image, has_users: bool) {
    assert_eq!(image.text("machine").trim(), "aarch64");
    assert_eq!(image.text("piped").trim(), "AARCH64");
    assert_eq!(image.text("said"), "script one ./outer two\n/script three");
    if has_users {
        assert_eq!(image.text("w/su"), "1234\naarch64\n/script \n126");
        assert_eq!(image.text("w/user"), "1234\naarch64\n/script \nend");
    }
}

#[test]
fn foreign_programs_run_without_mounts() {
    needs!(Run, Emulator);
    for (user, rung) in rungs() {
        let place = Place::new(user);
        let has_users = user != User::Single;
        place.dockerfile(&if has_users {
            [FOREIGN, FOREIGN_USERS].concat()
        } else {
            FOREIGN.into()
        });
        let args = ["--isolation", rung, "--platform", "linux/arm64"];
        is_foreign(&place.image(&args), has_users);
        no_work_is_left(&place);
        // The processor's own 32-bit mode needs no emulator.
        if cfg!(target_arch = "x86_64") {
            place.dockerfile("FROM busybox\nRUN test $(uname -m) = i686 && ! test -e /proc/none\n");
            place.build(&["--isolation", rung, "--platform", "linux/386"]).ok();
        }
    }
}

/// Without CAP_SYS_PTRACE the kernel keeps a tracer from the memory of another user's processes.
#[test]
fn foreign_programs_run_with_the_rights_of_a_container() {
    needs!(Run, Emulator, Tool("setpriv"));
    if !is_root() {
        return;
    }
    let place = Place::new(User::Me);
    place.dockerfile(&[FOREIGN, FOREIGN_USERS].concat());
    let layout = place.out("image");
    let output = to_layout(&layout);
    let args = ["--isolation", "chroot", "--platform", "linux/arm64", "--output", &output];
    let mut command = place.command("setpriv");
    command.args(["--inh-caps", "-all", "--bounding-set"]).arg(docker_capabilities());
    command.arg(place.path().join("xbuild")).args(place.build_args(&args));
    Finished::run(command).ok().says(&["cannot gain rights"]);
    is_foreign(&image::read(&layout)[0], true);
    no_work_is_left(&place);
}

/// Returns Docker's default capabilities as `setpriv` takes them.
fn docker_capabilities() -> String {
    let list = include_str!("../../fixtures/docker/capabilities.json");
    let list: Vec<String> = serde_json::from_str(list).unwrap();
    let names = list.iter().map(|name| format!(",+{}", name[4..].to_lowercase()));
    std::iter::once("-all".to_owned()).chain(names).collect()
}

#[test]
fn a_folder_without_programs_is_found_out_before_the_first_step() {
    needs!(Run, Tool("unshare"));
    for (user, rung) in rungs() {
        let place = Place::new(user);
        place.dockerfile("FROM busybox\nRUN echo ran\n");
        let noexec = "mkdir -p home/data && mount -t tmpfs -o noexec none home/data";
        let refused = build_after(&place, "-Urm", noexec, &["--isolation", rung]);
        refused.fails(5, &["noexec", "hint: "]).does_not_say("#1");
    }
}
