//! Machines that fail under a build: disks, descriptors and processes that run out, and kills where
//! it hurts. The lines of `docs/threats.md`, part B, say what must hold.

mod sweep;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use xbuild_testkit::registry::{Action, Fault, Registry};

use crate::harness::{Finished, Place, User, is_root, needs, to_layout, tool};
use crate::image;

/// Arguments that give every build the same digest.
const SAME: [&str; 3] = ["-q", "--build-arg", "SOURCE_DATE_EPOCH=1600000000"];

/// Bytes that no compressor shortens.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(length).collect()
}

/// Makes a context with layers of some megabytes, and no RUN.
fn files() -> Place {
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nCOPY large /\nCOPY . /all/\n").write("large", noise(3 << 20));
    place
}

/// Makes a context with a step of each kind.
fn steps() -> Place {
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nCOPY Dockerfile /\nRUN echo a > /a && touch -d @1 /a /\n");
    place
}

fn build(place: &Place, more: &[&str]) -> Finished {
    place.build(&[&SAME, more].concat())
}

/// Runs a shell script that may mount, and has the build's command line as its arguments.
fn in_own_mounts(place: &Place, script: &str, more: &[&str]) -> Finished {
    let mut command = place.command("unshare");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "sh", "-uc", script, "sh"]).arg(place.path().join("xbuild"));
    Finished::run_within(command.args(place.build_args(&[&SAME, more].concat())))
}

/// Runs xbuild with a fault that strace injects.
fn injected(place: &Place, fault: &str, args: &[std::ffi::OsString]) -> Finished {
    let mut command = place.command("timeout");
    command.args(["120", "strace", "-f", "-qq", "-o", "/dev/null", "-e"]);
    command.arg(format!("inject={fault}")).arg(place.path().join("xbuild"));
    Finished::run_within(command.args(args))
}

impl Finished {
    fn run_within(command: &mut Command) -> Self {
        Self::of(command.output().unwrap())
    }

    /// Fails the test unless the command succeeded, or failed with one of the statuses for a
    /// machine that cannot, in words.
    #[track_caller]
    fn copes(&self) {
        let is_fine = [0, 5, 70].contains(&self.status);
        assert!(is_fine, "status {}\n{}\n{}", self.status, self.stdout, self.stderr);
        self.does_not_say("panicked");
        assert!(self.status == 0 || self.stderr.contains("error: "), "{}", self.stderr);
    }
}

#[test]
fn a_full_disk_is_said_and_its_store_can_be_pruned() {
    let expected = build(&files(), &[]).ok().stdout;
    for limit in ["size=1m", "size=3m", "size=5m", "nr_inodes=25", "nr_inodes=29"] {
        let place = files();
        let store = place.store();
        fs::create_dir_all(&store).unwrap();
        let store = store.display();
        let script = format!(
            "mount -t tmpfs -o mode=700,{limit} none {store} || exit; \"$@\"; echo first $?; \
             find {store}/tmp -mindepth 1 | sed 's/^/left: /'; \
             \"$1\" prune --all; echo prune $?; \
             mount -o remount,size=64m,nr_inodes=10000 none {store}; \"$@\""
        );
        let finished = in_own_mounts(&place, &script, &[]);
        finished.prints(&["first 70\n", "prune 0\n"]);
        finished.says(&["No space left on device"]);
        finished.does_not_say("left: ");
        assert!(finished.stdout.ends_with(&expected), "{limit}: {}", finished.stdout);
    }
}

#[test]
fn a_full_disk_is_said_wherever_it_is_met() {
    needs!(Run);
    let place = steps();
    place.write("large", noise(3 << 20));
    place.dockerfile("FROM busybox\nCOPY large /\n");
    let full = place.path().join("full");
    fs::create_dir(&full).unwrap();
    let at = |kind: &str| format!("{kind},dest={}/x", full.display());
    let meta = format!("{}/meta", full.display());
    let outputs: [&[&str]; 7] = [
        &["-o", &at("type=oci,tar=false")],
        &["-o", &at("type=oci")],
        &["-o", &at("type=tar")],
        &["-o", &at("type=local")],
        &["-o", &at("type=oci,tar=false,compression=zstd,force-compression=true")],
        &["--metadata-file", &meta],
        &["--iidfile", &meta],
    ];
    for output in outputs {
        // The files of the last ones are small.
        let script = format!(
            "mount -t tmpfs -o size=1m none {0} || exit 99; \
             case \"$*\" in *{0}/meta*) head -c 1m /dev/zero > {0}/filler;; esac; \"$@\"",
            full.display()
        );
        let finished = in_own_mounts(&place, &script, output);
        finished.fails(70, &["No space left on device", "hint: the disk is full"]);
    }
    // In the store, below a RUN: the layers are unpacked there, and the cache mount is there.
    place.dockerfile("FROM busybox\nCOPY large /\nRUN --mount=type=cache,target=/c true\n");
    let store = place.store().display().to_string();
    for size in ["4m", "6m", "8m", "10m", "12m"] {
        let script = format!(
            "rm -rf {store}; mkdir -p {store}; mount -t tmpfs -o mode=700,size={size} none {store} \
             || exit 99; \"$@\""
        );
        let finished = in_own_mounts(&place, &script, &[]);
        assert!([0, 70].contains(&finished.status), "{size}: {}", finished.stderr);
        if finished.status == 70 {
            finished.says(&["No space left on device", "hint: the disk is full"]);
        }
    }
}

/// Few inodes let nothing be tried out, or stop the build anywhere; never is it a lack of rights.
#[test]
fn a_disk_without_inodes_is_a_full_disk() {
    needs!(Run);
    let place = steps();
    let store = place.store();
    fs::create_dir_all(&store).unwrap();
    let store = store.display();
    let mut tried = 0;
    for inodes in (22..60).step_by(2) {
        let script = format!(
            "mount -t tmpfs -o mode=700,nr_inodes={inodes} none {store} || exit 99; \"$@\""
        );
        let finished = in_own_mounts(&place, &script, &[]);
        tried += usize::from(finished.stderr.contains("try out RUN steps"));
        let words = ["No space left on device", "hint: the disk is full, or has no inodes left"];
        finished.fails(70, &words);
    }
    assert!(tried > 0, "no trial met it");
}

/// Writes beyond the limit fail in words, in each process; the command has the signal's usual effect.
#[test]
fn a_limit_on_file_sizes_is_named() {
    needs!(Run);
    let place = steps();
    place.write("large", noise(3 << 20));
    place.dockerfile("FROM busybox\nCOPY large /\n");
    let limited = |kib: u32| {
        let mut command = place.command("sh");
        // dash counts blocks of 512 bytes.
        command.args(["-c", &format!("ulimit -f {}; exec \"$@\"", 2 * kib), "sh"]);
        command.arg(place.path().join("xbuild"));
        Finished::run_within(command.args(place.build_args(&SAME)))
    };
    limited(1024).fails(70, &["File too large", "hint: a file would be larger", "ulimit -f"]);
    // Ordinary users execute a copy of xbuild in memory, which the limit holds for, too.
    place.dockerfile("FROM busybox\nRUN exec dd if=/dev/zero of=/x bs=1M count=1 seek=600\n");
    let finished = limited(512 << 10);
    finished.fails(3, &["RUN exec dd", "killed by SIGXFSZ"]);
    // The copy is larger than that.
    if !is_root() {
        limited(4096).fails(70, &["File too large", "ulimit -f"]);
    }
}

/// A build of which one call of each process and thread fails, and what comes after it.
fn a_call_fails(calls: &str, error: &str, words: &str) {
    let expected = build(&files(), &[]).ok().stdout;
    let mut failed = 0;
    for number in [1, 2, 3, 5, 8, 13] {
        let place = files();
        let fault = format!("{calls}:error={error}:when={number}");
        let args = place.build_args(&SAME);
        let finished = injected(&place, &fault, &args);
        finished.copes();
        if finished.status == 0 {
            assert_eq!(finished.stdout, expected, "{fault}");
        } else {
            failed += 1;
        }
        if number == 1 {
            finished.says(&[words]);
        }
        // The published blobs are whole.
        let layout = place.out("layout");
        let again = build(&place, &["--output", &to_layout(&layout)]).ok();
        assert_eq!(again.stdout, expected, "{fault}");
        image::read(&layout);
    }
    assert!(failed > 1, "the fault was not met");
}

#[test]
fn a_quota_is_said_and_the_store_works_on() {
    needs!(Tool("strace"));
    a_call_fails("mkdirat,rename,renameat,renameat2,fdatasync", "EDQUOT", "quota");
}

#[test]
fn nothing_is_published_that_could_not_be_synced() {
    needs!(Tool("strace"));
    a_call_fails("fsync,fdatasync,syncfs", "EIO", "Input/output error");
}

/// Returns the largest blob of the store.
fn largest_blob(place: &Place) -> PathBuf {
    let blobs = fs::read_dir(place.store().join("blobs/sha256")).unwrap().flatten();
    blobs.map(|blob| blob.path()).max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

#[test]
fn a_blob_that_cannot_be_read_ends_the_build_and_no_more() {
    needs!(Tool("strace"));
    let place = files();
    let expected = build(&place, &[]).ok().stdout;
    let blob = largest_blob(&place).display().to_string();
    let layout = place.out("layout");
    let output = to_layout(&layout);
    let args = place.build_args(&[&SAME[..], &["--output", &output]].concat());
    let mut command = place.command("timeout");
    command.args(["120", "strace", "-f", "-qq", "-o", "/dev/null", "-P", &blob, "-e"]);
    command.arg("inject=read,pread64,readv,copy_file_range,sendfile:error=EIO");
    let finished = Finished::run_within(command.arg(place.path().join("xbuild")).args(&args));
    finished.does_not_say("panicked");
    let finished = finished.fails(70, &["Input/output error", &blob, "hint: "]);
    finished.does_not_say(layout.to_str().unwrap());
    assert!(!layout.join("index.json").exists());
    let again = build(&place, &["--output", &output]).ok();
    assert_eq!(again.stdout, expected);
    image::read(&layout);
}

#[test]
fn few_descriptors_are_enough_or_said() {
    needs!(Run);
    let mut succeeded = 0;
    for number in [8, 11, 14, 17, 20, 24, 32, 64] {
        let place = steps();
        let mut command = place.command("timeout");
        command.args(["120", "prlimit", &format!("--nofile={number}")]);
        command.arg(place.path().join("xbuild")).args(place.build_args(&SAME));
        let finished = Finished::run_within(&mut command);
        finished.copes();
        succeeded += usize::from(finished.status == 0);
        if finished.status != 0 {
            finished.says(&["Too many open files"]);
        }
        build(&place, &[]).ok();
    }
    assert!(succeeded > 0);
}

#[test]
fn a_soft_limit_of_descriptors_is_raised_and_not_passed_on() {
    needs!(Run);
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nCOPY . /all/\nRUN ulimit -Sn > /soft\n");
    let layout = place.out("layout");
    let mut command = place.command("prlimit");
    command.arg("--nofile=10:4096").arg(place.path().join("xbuild"));
    command.args(place.build_args(&["--output", &to_layout(&layout)]));
    Finished::run_within(&mut command).ok();
    assert_eq!(image::read(&layout).remove(0).text("soft").trim(), "1024");
}

#[test]
fn a_small_stack_is_enough_or_said() {
    needs!(Run);
    for (user, limit) in [
        (User::Single, "65536"),
        (User::Single, "262144"),
        (User::Single, "65536:8388608"),
        (User::Me, "65536:2097152"),
        (User::Me, "65536"),
    ] {
        let place = Place::new(user);
        place.dockerfile("FROM busybox\nCOPY . /all/\nRUN echo a > /a\n");
        let mut command = place.command("prlimit");
        command.arg(format!("--stack={limit}")).arg(place.path().join("xbuild"));
        let finished = Finished::run_within(command.args(place.build_args(&SAME)));
        finished.copes();
        if user == User::Single && !limit.contains(':') {
            finished.fails(5, &["the stack of a process may have", "1024 KiB", "ulimit -Hs"]);
        } else {
            assert!(limit == "65536" || finished.status == 0, "{limit}: {}", finished.stderr);
        }
    }
}

#[test]
fn a_process_that_cannot_be_started_is_said() {
    needs!(Run, Tool("strace"));
    let mut failed = 0;
    for number in 1..=4 {
        let place = steps();
        let fault = format!("clone,fork,vfork:error=EAGAIN:when={number}");
        let finished = injected(&place, &fault, &place.build_args(&SAME));
        finished.copes();
        failed += usize::from(finished.status != 0);
        build(&place, &[]).ok();
    }
    assert!(failed > 0, "the fault was not met");
}

/// Makes a context for whose build threads of all kinds start: several layers of some megabytes, an
/// archive, copies between stages and RUN steps.
fn everything() -> Place {
    let place = files();
    for number in 0..40 {
        let folder = place.context().join(format!("many/{number}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("file"), [number]).unwrap();
    }
    tool(
        "tar",
        ["-cf", place.context().join("many.tar").to_str().unwrap(), "-C", "/etc", "passwd"],
    );
    place.dockerfile(
        "FROM busybox AS first\nCOPY large many/ /from/\n\
         FROM busybox\nCOPY . /all/\nCOPY --from=first /from /to/\nADD many.tar /archive/\n\
         RUN head -c 3000000 /dev/zero > /zeros\nRUN ls /to > /list\n",
    );
    place
}

#[test]
fn threads_that_cannot_be_started_are_done_without_or_said() {
    needs!(Run, Tool("strace"));
    let registry = Registry::start();
    let name = format!("{}/app:1", registry.host());
    let mut statuses = Vec::new();
    // A single thread or process of each thread that starts some, and all from one on.
    for which in ["1", "2", "3", "5", "8", "13", "21", "34", "2+", "4+", "7+", "10+"] {
        let place = everything();
        let args = place.build_args(&[&SAME[..], &["-t", &name, "--push"]].concat());
        let fault = format!("clone,clone3:error=EAGAIN:when={which}");
        let begin = Instant::now();
        let finished = injected(&place, &fault, &args);
        assert!(begin.elapsed() < Duration::from_secs(90), "{which}: it waits for something");
        finished.copes();
        if finished.status != 0 {
            assert_eq!(finished.status, 5, "{which}: {}", finished.stderr);
            finished.says(&["hint: ", "limit"]);
        }
        statuses.push(finished.status);
    }
    assert!(statuses.contains(&0) && statuses.contains(&5), "{statuses:?}");
}

#[test]
fn a_user_who_may_start_few_processes_gets_a_build_or_a_reason() {
    needs!(Run);
    for number in [6, 9, 12, 16, 20] {
        let place = Place::new(User::Single);
        place.dockerfile("FROM busybox\nCOPY . /all/\nRUN echo a > /a\n");
        let mut command = place.command("timeout");
        command.args(["90", "prlimit", &format!("--nproc={number}")]);
        command.arg(place.path().join("xbuild")).args(place.build_args(&SAME));
        let finished = Finished::run_within(&mut command);
        // The command of a step may be the one that finds no room.
        let said = finished.stderr.contains("hint: ");
        assert!([0, 3, 5].contains(&finished.status), "{number}: {}", finished.stderr);
        assert!(finished.status == 0 || said, "{number}: {}", finished.stderr);
        finished.does_not_say("panicked");
    }
}

#[test]
fn a_prune_that_is_killed_is_ended_by_the_next() {
    needs!(Run, Tool("strace"));
    let place = steps();
    let expected = build(&place, &[]).ok().stdout;
    let prune = ["prune".into(), "--all".into()];
    let mut killed = 0;
    for number in [1, 2, 3, 5, 8, 13, 21] {
        let fault = format!("unlink,unlinkat,rmdir,rename,renameat2:signal=KILL:when={number}");
        killed += usize::from(injected(&place, &fault, &prune).status != 0);
        if number % 2 == 1 {
            assert_eq!(build(&place, &[]).ok().stdout, expected, "{number}");
        }
        place.run(["prune", "--all"]).ok();
        let left = tool("find", [place.store().to_str().unwrap(), "-type", "f"]);
        let own = ["/version", "/lock", "/gate", "/measured"];
        let is_own = |line: &str| own.iter().any(|name| line.ends_with(name));
        assert!(left.lines().all(is_own), "{number}: {left}");
        assert_eq!(build(&place, &[]).ok().stdout, expected, "{number}");
    }
    assert!(killed > 2, "the fault was not met");
}

/// Fails unless all that a tag leads to is in the registry; returns the document of the tag.
#[track_caller]
fn whole(registry: &Registry, tag: &str) -> Vec<u8> {
    let (_, top) = registry.manifest("app", tag).unwrap();
    let json: Value = serde_json::from_slice(&top).unwrap();
    for entry in json["manifests"].as_array().unwrap() {
        let digest = entry["digest"].as_str().unwrap();
        let (_, manifest) = registry.manifest("app", digest).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        for blob in layers.chain([&manifest["config"]]) {
            let digest = blob["digest"].as_str().unwrap().parse().unwrap();
            assert!(registry.blob("app", &digest).is_some(), "{digest} is not there");
        }
    }
    top
}

/// Waits until a build that pushes is held by the registry.
fn wait_for_silence(registry: &Registry) {
    let (mut count, mut since, begin) = (0, Instant::now(), Instant::now());
    while count == 0 || since.elapsed() < Duration::from_millis(700) {
        assert!(begin.elapsed() < Duration::from_secs(60), "it does not push");
        let now = registry.log().len();
        if now != count {
            (count, since) = (now, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_push_that_is_killed_moves_no_tag_before_all_is_there() {
    const HELD: Duration = Duration::from_secs(4);
    for part in ["/blobs/uploads/", "/manifests/sha256:", "/manifests/1"] {
        let registry = Registry::start();
        let place = files();
        let name = format!("{}/app:1", registry.host());
        let args = ["--platform", "linux/amd64,linux/arm64", "-t", &name, "--push"];
        build(&place, &args).ok();
        let old = whole(&registry, "1");
        place.write("large", noise(1 << 20));
        let before = registry.log().len();
        registry.fail(Fault::new("PUT", part, 4, Action::Delay(HELD)));
        let mut command = place.xbuild(place.build_args(&[&SAME[..], &args].concat()));
        let mut push = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while registry.log().len() == before {
            std::thread::sleep(Duration::from_millis(10));
        }
        wait_for_silence(&registry);
        push.kill().unwrap();
        push.wait().unwrap();
        // The registry still carries out the requests that it has received.
        std::thread::sleep(HELD);
        let left = whole(&registry, "1");
        assert!(left == old || part == "/manifests/1", "{part}");
        let again = build(&place, &args).ok();
        let new = whole(&registry, "1");
        assert_ne!(new, old, "{part}");
        assert!(left == old || left == new, "{part}");
        assert!(again.stdout.contains(&image::digest(&new)), "{part}: {}", again.stdout);
    }
}

#[test]
fn two_builds_of_one_tag_leave_one_of_them_whole() {
    let registry = Registry::start();
    let name = format!("{}/app:1", registry.host());
    let args = ["--platform", "linux/amd64,linux/arm64", "-t", &name, "--push"];
    for round in 0..3 {
        let places = [files(), files()];
        let digests: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = places
                .iter()
                .enumerate()
                .map(|(number, place)| {
                    place.write("own", format!("{round} {number}"));
                    scope.spawn(move || build(place, &args).ok().stdout)
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let left = image::digest(&whole(&registry, "1"));
        assert!(digests.iter().any(|text| text.contains(&left)), "{left}: {digests:?}");
        assert_ne!(digests[0], digests[1]);
    }
}

#[test]
fn a_build_that_is_stopped_for_a_while_goes_on() {
    needs!(Run);
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nRUN echo begun > /a; sleep 1; echo done > /b\n");
    let layout = place.out("layout");
    let args = place.build_args(&["--output", &to_layout(&layout)]);
    let mut child = place.xbuild(args).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let id = child.id().to_string();
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(300));
        tool("kill", ["-STOP", &id]);
        std::thread::sleep(Duration::from_millis(700));
        tool("kill", ["-CONT", &id]);
    }
    assert!(child.wait().unwrap().success());
    let image = image::read(&layout).remove(0);
    assert_eq!((image.text("a"), image.text("b")), ("begun".to_owned(), "done".to_owned()));
}

#[test]
fn a_log_that_cannot_be_written_loses_no_image() {
    let place = files();
    let expected = build(&place, &[]).ok().stdout;
    let layout = place.out("layout");
    let same = &SAME[1..];
    let args = place.build_args(&[same, &["--output", &to_layout(&layout)]].concat());
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = place.xbuild(&args).stderr(full()).output().unwrap();
    let finished = Finished::of(output).ok();
    assert!(finished.stdout.contains(expected.trim_end()), "{}", finished.stdout);
    assert_eq!(image::read(&layout)[0].digest, expected.trim_end());
    // The digest is what was asked for: without it the build has failed, though not in silence.
    let mut command = place.xbuild(&args);
    let failed = Finished::of(command.stdout(full()).stderr(Stdio::piped()).output().unwrap());
    failed.fails(70, &["No space left on device"]);
}

/// Builds with a variable of its own, or without one.
fn with(place: &Place, name: &str, value: Option<&Path>) -> Finished {
    let mut command = place.xbuild(place.build_args(&SAME));
    command.env_remove("XDG_DATA_HOME");
    match value {
        Some(value) => command.env(name, value),
        None => command.env_remove(name),
    };
    Finished::run(command)
}

#[test]
fn a_home_that_does_not_do_is_named_before_anything_is_done() {
    let place = steps();
    place.dockerfile("FROM busybox\nCOPY Dockerfile /\n");
    for home in [None, Some(Path::new("relative")), Some(Path::new(""))] {
        with(&place, "HOME", home).fails(2, &["--root"]);
    }
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    for home in [&*file, Path::new("/proc/self/fdinfo"), Path::new("/dev/null")] {
        let finished = with(&place, "HOME", Some(home));
        assert!([1, 5, 70].contains(&finished.status), "{}", finished.stderr);
        finished.says(&["error: ", home.to_str().unwrap()]);
    }
    assert_eq!(fs::read_to_string(file).unwrap(), "");
    assert!(!place.path().join("relative").exists());
    let home = place.path().join("home");
    with(&place, "HOME", Some(&home)).ok();
    // A folder that can be read only.
    let store = place.store().display().to_string();
    let script = format!("mkdir -p {store}; mount -t tmpfs -o ro none {store}; \"$@\"");
    let finished = in_own_mounts(&place, &script, &[]);
    finished.fails(5, &["Read-only file system", &store, "mounted read-only", "--root"]);
    // A file system without locks.
    let args = place.build_args(&SAME);
    let finished = injected(&place, "flock:error=ENOLCK", &args);
    finished.fails(5, &["No locks available", &store, "does not lock files", "--root"]);
}

#[test]
fn temporary_files_are_where_the_store_is() {
    needs!(Run);
    let place = steps();
    for folder in [Path::new("/nonexistent/folder"), Path::new("relative"), Path::new("/dev/null")]
    {
        with(&place, "TMPDIR", Some(folder)).ok();
        place.run(["prune", "--all"]).ok();
    }
    let memory = place.path().join("memory");
    fs::create_dir(&memory).unwrap();
    let script = format!(
        "mount -t tmpfs none {0}; TMPDIR={0} \"$@\" && find {0} -mindepth 1 | sed 's/^/left: /'",
        memory.display()
    );
    in_own_mounts(&place, &script, &["--no-cache"]).ok().does_not_say("left: ");
    assert!(!place.path().join("relative").exists());
}

#[test]
fn a_store_may_have_any_name() {
    needs!(Run);
    for name in
        ["a:b,c\\d e", "lowerdir=x,upperdir=y", "new\nline", "\u{e9}\u{1F4A9}", "-o", "%s$HOME"]
    {
        let place = Place::new(User::Me);
        place.dockerfile(
            r"
            FROM busybox AS one
            RUN echo a > /a
            FROM busybox
            RUN --mount=from=one,target=/one,rw --mount=type=cache,target=/c \
                cp /one/a /b && echo c > /c/c && rm /bin/wc
            ",
        );
        let root = place.path().join("home").join(name);
        let layout = place.out("layout");
        let output = to_layout(&layout);
        let args = ["--root", root.to_str().unwrap(), "--output", &output];
        for _ in 0..2 {
            place.build(&args).ok();
            assert_eq!(image::read(&layout)[0].text("b"), "a", "{name:?}");
        }
        place.run(["prune", "--all", "--root", root.to_str().unwrap()]).ok();
    }
}

/// Builds in a store that `mount` mounts, where `{}` is.
fn mounted(place: &Place, mount: &str, more: &[&str]) -> Finished {
    let folder = place.path().join("mounted");
    let _ = fs::create_dir(&folder);
    let script =
        format!("{} || exit 99; \"$@\"", mount.replace("{}", &folder.display().to_string()));
    in_own_mounts(place, &script, &[&["--root", folder.to_str().unwrap()], more].concat())
}

#[test]
fn stores_on_other_file_systems_work_or_say_why_not() {
    needs!(Run);
    let place = steps();
    let expected = build(&place, &[]).ok().stdout;
    for mount in [
        "mount -t tmpfs -o mode=700,noexec,nosuid,nodev none {}",
        "mount -t ramfs none {} && chmod 700 {}",
        "mount -t tmpfs -o mode=700,nosuid,noatime none {}",
    ] {
        let finished = mounted(&place, mount, &[]);
        finished.copes();
        assert!(finished.status != 0 || finished.stdout == expected, "{mount}");
    }
}

#[test]
fn a_store_on_an_overlay_is_for_builds_without_run() {
    needs!(Run);
    let place = steps();
    let mount = "mount -t tmpfs none {} && mkdir {}/l {}/u {}/w {}/m \
                 && mount -t overlay -o lowerdir={}/l,upperdir={}/u,workdir={}/w none {}";
    // A kernel may allow it; where it does not, the message names the mount.
    let finished = mounted(&place, mount, &[]);
    finished.copes();
    if finished.status != 0 {
        finished.says(&["overlay"]);
    }
    place.dockerfile("FROM busybox\nCOPY Dockerfile /\n");
    mounted(&place, mount, &[]).ok();
}

#[test]
fn a_store_of_another_user_is_refused_and_stays_as_it_is() {
    if !is_root() {
        return;
    }
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nCOPY Dockerfile /\n");
    build(&place, &[]).ok();
    let store = place.store().display().to_string();
    tool("chown", ["-R", "nobody", &store]);
    let list = || tool("find", [&*store, "-printf", "%P %u %m %s\n"]);
    let before = list();
    for command in [&["du"][..], &["prune", "--all"]] {
        assert_ne!(place.run(command).status, 0, "{command:?}");
    }
    build(&place, &[]).fails(1, &["belongs to user", "--root"]);
    assert_eq!(list(), before);
    tool("chown", ["-R", "root", &store]);
}
