//! A build with steps and outputs of each kind, again and again: each time one call of the system
//! fails, or the process that makes the call is killed. `make test-faults` runs these tests.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use xbuild_testkit::registry::Registry;

use super::{SAME, noise, whole};
use crate::harness::{Finished, Place, User, needs, to_layout};
use crate::image;

/// The calls of a process that are met, counted from 1.
const NUMBERS: [u32; 9] = [1, 2, 3, 5, 8, 13, 21, 34, 55];

/// The seconds after which a build counts as hanging, on a busy machine.
const PATIENCE: u64 = 60;

/// A kind of fault.
struct Kind {
    calls: &'static str,
    error: &'static str,
    /// The first calls that are left out: the loader of the program makes them, and not the program.
    loader: u32,
}

const fn kind(calls: &'static str, error: &'static str, loader: u32) -> Kind {
    Kind { calls, error, loader }
}

const WRITES: &str = "write,pwrite64,writev,pwritev,copy_file_range,ftruncate,fallocate";
const NAMES: &str = "mkdir,mkdirat,link,linkat,symlinkat,rename,renameat,renameat2";
const SYNCS: &str = "fsync,fdatasync,syncfs,sync_file_range";

/// A place with a registry to push to and a layout to write.
struct Scene {
    place: Place,
    registry: Registry,
    arguments: Vec<String>,
}

impl Scene {
    fn new() -> Self {
        let place = Place::new(User::Me);
        place.dockerfile(
            "
            FROM --platform=$BUILDPLATFORM busybox AS made
            COPY large /from/
            RUN echo a > /from/a && touch -d @1 /from/a /from
            FROM busybox
            COPY . /all/
            COPY --from=made /from /to/
            ",
        );
        place.write("large", noise(1 << 20));
        let registry = Registry::start();
        let name = format!("{}/app:1", registry.host());
        let output = to_layout(&place.out("layout"));
        let platforms = "linux/amd64,linux/arm64";
        let arguments = ["--platform", platforms, "-t", &name, "--push", "--output", &output];
        let arguments = SAME.iter().chain(&arguments).map(|text| (*text).to_owned()).collect();
        Self { place, registry, arguments }
    }

    fn build_args(&self) -> Vec<std::ffi::OsString> {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.place.build_args(&arguments)
    }

    /// Builds without a fault and returns the digest.
    fn digest(&self) -> String {
        let finished = self.place.run(self.build_args()).ok();
        image::read(&self.place.out("layout"));
        finished.stdout.trim().to_owned()
    }

    /// Builds with a fault.
    fn meet(&self, fault: &str) -> Met {
        let mut command = self.place.command("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={fault}")]);
        command.arg(self.place.path().join("xbuild")).args(self.build_args());
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        end_within(command, fault)
    }
}

/// How a build with a fault ended.
struct Met {
    finished: Finished,
    is_killed: bool,
}

/// Runs a command that must end by itself.
fn end_within(command: &mut Command, fault: &str) -> Met {
    use std::os::unix::process::ExitStatusExt as _;
    let begin = Instant::now();
    let output = command.output().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(PATIENCE), "{fault}: it waits for something");
    Met { is_killed: output.status.signal().is_some(), finished: Finished::of(output) }
}

/// Meets faults of one kind at calls further and further on. Returns how many builds failed.
fn sweep(expected: &str, kind: &Kind, effect: &str, may_be_killed: bool) -> usize {
    let mut failed = 0;
    for number in NUMBERS {
        let scene = Scene::new();
        let fault = format!("{}:{effect}:when={}", kind.calls, number + kind.loader);
        let Met { finished, is_killed } = scene.meet(&fault);
        let Finished { status, stdout, stderr } = &finished;
        let is_allowed = match is_killed {
            true => may_be_killed,
            // 3 is a command that met the fault itself, 4 a connection that did.
            false => [0, 3, 4, 5, 70].contains(status),
        };
        // The library that waits for sockets writes to an event counter, which no disk makes fail: a call
        // that strace cannot tell from the others.
        let is_counter = kind.calls == WRITES && stderr.contains("failed to wake I/O driver");
        if !is_counter {
            assert!(is_allowed, "{fault}: status {status}\n{stdout}\n{stderr}");
            finished.does_not_say("panicked");
        }
        if *status == 0 {
            assert_eq!(stdout.trim(), expected, "{fault}");
            whole(&scene.registry, "1");
        } else {
            failed += 1;
            // The message itself may be what cannot be written.
            let is_said = stderr.contains("error: ") || is_killed || kind.calls == WRITES;
            assert!(is_said, "{fault}: status {status}\n{stderr}");
        }
        assert_eq!(scene.digest(), expected, "{fault}: the build after it");
        whole(&scene.registry, "1");
        eprintln!("{fault}: {}", if is_killed { "killed".to_owned() } else { status.to_string() });
    }
    failed
}

#[test]
#[ignore = "takes minutes: make test-faults"]
fn any_call_may_fail() {
    needs!(Run, Tool("strace"));
    let expected = Scene::new().digest();
    for kind in [
        kind(WRITES, "ENOSPC", 0),
        kind(NAMES, "ENOSPC", 0),
        kind("openat,openat2", "ENOSPC", 8),
        kind("read,pread64,readv,preadv,getdents64", "EIO", 8),
        kind(SYNCS, "EIO", 0),
        kind(NAMES, "EIO", 0),
        kind("openat,openat2", "EMFILE", 8),
        kind("pipe2,socket,socketpair,eventfd2,epoll_create1,memfd_create", "EMFILE", 0),
        kind("clone,clone3,fork,vfork", "EAGAIN", 0),
    ] {
        let failed = sweep(&expected, &kind, &format!("error={}", kind.error), false);
        assert!(failed > 0, "{} {}: the fault was not met", kind.calls, kind.error);
    }
}

#[test]
#[ignore = "takes minutes: make test-faults"]
fn any_call_may_be_the_last() {
    needs!(Run, Tool("strace"));
    let expected = Scene::new().digest();
    for calls in [WRITES, NAMES, SYNCS, "openat,openat2", "sendto,sendmsg,connect"] {
        let kind = kind(calls, "", 0);
        let failed = sweep(&expected, &kind, "signal=KILL", true);
        assert!(failed > 0, "{calls}: the fault was not met");
    }
}
