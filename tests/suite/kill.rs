//! A killed build leaves nothing running, nothing mounted, and a store that the next build can use.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::harness::{Place, User, host_state, needs, to_layout, tool};
use crate::image;

const DOCKERFILE: &str = "\
FROM busybox
COPY source.txt /
RUN sleep 1000 & mkdir /many && for i in $(seq 200); do echo $i > /many/$i; done
RUN rm -r /many && mkdir -m 0 /closed && touch /closed/file && sleep 0.1
RUN echo done > /done
";

/// A mark by which all processes of a build are found, whatever becomes of their environment,
/// parents, sessions and namespaces: an OOM score adjustment, which children inherit and only root
/// can lower.
pub(crate) struct Mark(String);

impl Mark {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(300);
        loop {
            let mark = Self(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
            if mark.bearers().is_empty() {
                return mark;
            }
        }
    }

    /// Returns the id and the command line of each process with the mark.
    pub(crate) fn bearers(&self) -> Vec<(u32, String)> {
        let ids = fs::read_dir("/proc").unwrap().flatten();
        let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let read = |id: u32, name: &str| {
            fs::read_to_string(format!("/proc/{id}/{name}")).unwrap_or_default()
        };
        ids.filter(|id| read(*id, "oom_score_adj").trim() == self.0)
            // A zombie has ended, and only waits for its parent to notice.
            .filter(|id| !read(*id, "stat").contains(") Z "))
            .map(|id| (id, read(id, "cmdline").replace('\0', " ")))
            .collect()
    }

    /// Starts a build with the mark.
    pub(crate) fn start(&self, place: &Place, args: &[&str]) -> Child {
        self.start_with(place, &place.build_args(args))
    }

    /// Starts xbuild with the mark, in the context.
    pub(crate) fn start_with<S: AsRef<OsStr>>(&self, place: &Place, args: &[S]) -> Child {
        let mut command: Command = place.command("sh");
        let script = format!("echo {} > /proc/self/oom_score_adj; exec \"$0\" \"$@\"", self.0);
        command.args(["-euc", &script]).arg(place.path().join("xbuild"));
        command.args(args).current_dir(place.context());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// Waits until no process has the mark.
    #[track_caller]
    pub(crate) fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while let left @ [_, ..] = &*self.bearers() {
            assert!(Instant::now() < deadline, "still running: {left:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A sequence of numbers that look random. Source: Marsaglia, Xorshift RNGs.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let now = || u64::from(SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos());
        let seed =
            std::env::var("XBUILD_SEED").map_or_else(|_| now(), |text| text.parse().unwrap());
        eprintln!("XBUILD_SEED={seed}");
        Self(seed | 1 << 40)
    }

    /// Returns a random part of a time.
    fn part_of(&mut self, time: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        time.mul_f64((self.0 % 10_000) as f64 / 10_000.0)
    }
}

/// Fails the test if anything is left below `tmp` of the store.
#[track_caller]
pub(crate) fn no_work_is_left(place: &Place) {
    let left = tool("find", [place.store().join("tmp").to_str().unwrap(), "-mindepth", "1", "-ls"]);
    assert_eq!(left, "", "as {:?}", place.user);
}

#[test]
fn a_killed_build_leaves_nothing() {
    needs!(Run);
    let mut random = Random::new();
    let before = host_state();
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile(DOCKERFILE).write("source.txt", "a\n");
        let mark = Mark::new();
        let start = Instant::now();
        assert!(mark.start(&place, &[]).wait().unwrap().success());
        let whole = start.elapsed();
        mark.wait();
        for _ in 0..10 {
            let mut build = mark.start(&place, &["--no-cache"]);
            std::thread::sleep(random.part_of(whole));
            build.kill().unwrap();
            build.wait().unwrap();
            mark.wait();
            assert_eq!(host_state(), before);
            let steps = place.build(&[]).ok().steps();
            let numbers = steps.split(' ').filter_map(|word| word.parse::<u32>().ok());
            assert_eq!(numbers.sum::<u32>(), 4, "{steps}");
        }
        let layout = place.out("image");
        place.build(&["--no-cache", "--output", &to_layout(&layout)]).ok();
        let image = image::read(&layout).remove(0);
        assert_eq!(image.text("done"), "done");
        assert!(!image.files().contains_key("many"));
        no_work_is_left(&place);
    }
}

#[test]
fn a_build_that_is_told_to_end_ends_by_that_signal() {
    needs!(Run);
    let before = host_state();
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile("FROM busybox\nRUN sleep 1000 & sleep 1000\n");
        let mark = Mark::new();
        let mut build = mark.start(&place, &[]);
        let deadline = Instant::now() + Duration::from_secs(30);
        while !mark.bearers().iter().any(|(_, line)| line.starts_with("sleep 1000")) {
            assert!(Instant::now() < deadline, "the step does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        // Not SIGINT: a shell that starts the tests in the background makes them ignore it.
        tool("kill", ["-TERM", &build.id().to_string()]);
        assert_eq!(build.wait().unwrap().signal(), Some(15), "as {user:?}");
        mark.wait();
        assert_eq!(host_state(), before);
    }
}

#[test]
fn the_first_process_of_a_container_can_be_ended() {
    needs!(Run);
    let place = Place::new(User::Me);
    let mut command = place.command("unshare");
    command.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child"]);
    command.arg(place.path().join("xbuild")).args(["build", "-"]);
    let mut outside = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let children = format!("/proc/{0}/task/{0}/children", outside.id());
    let deadline = Instant::now() + Duration::from_secs(30);
    // The build waits for its standard input. It may not have come so far yet, so signal it again.
    let status = loop {
        if let Some(status) = outside.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "it does not end");
        if let Some(child) = fs::read_to_string(&children).unwrap_or_default().split(' ').next() {
            let _ = Command::new("kill").args(["-TERM", child]).stderr(Stdio::null()).status();
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(143));
}

#[test]
fn a_first_build_that_is_killed_is_no_obstacle() {
    needs!(Run);
    let mut random = Random::new();
    for user in User::all() {
        for _ in 0..3 {
            let place = Place::new(user);
            place.dockerfile(DOCKERFILE).write("source.txt", "a\n");
            let mark = Mark::new();
            let mut build = mark.start(&place, &[]);
            std::thread::sleep(random.part_of(Duration::from_millis(500)));
            build.kill().unwrap();
            build.wait().unwrap();
            mark.wait();
            let image = place.image(&[]);
            assert_eq!(image.text("done"), "done");
            no_work_is_left(&place);
        }
    }
}

#[test]
fn any_later_build_removes_what_a_killed_one_left() {
    needs!(Run);
    const FILES_OF_OTHERS: &str = "\
FROM busybox
RUN mkdir /d && touch /d/f && chmod 700 /d && { chown -R 7:7 /d || true; } && sleep 1000
";
    // Without a RUN, with one that fails, and no build at all.
    let later: [Option<(&str, i32)>; 3] = [
        Some(("FROM busybox\nCOPY source.txt /\n", 0)),
        Some(("FROM busybox\nRUN false\n", 3)),
        None,
    ];
    for user in User::all() {
        let place = Place::new(user);
        place.write("source.txt", "a\n");
        for later in later {
            place.dockerfile(FILES_OF_OTHERS);
            let mark = Mark::new();
            let mut build = mark.start(&place, &["--no-cache"]);
            let deadline = Instant::now() + Duration::from_secs(30);
            while !mark.bearers().iter().any(|(_, line)| line.starts_with("sleep 1000")) {
                assert!(Instant::now() < deadline, "the step does not start");
                std::thread::sleep(Duration::from_millis(5));
            }
            build.kill().unwrap();
            build.wait().unwrap();
            mark.wait();
            let (ended, status) = match later {
                Some((dockerfile, status)) => (place.dockerfile(dockerfile).build(&[]), status),
                None => (place.run(["prune", "--max-used-space", "0"]), 0),
            };
            assert_eq!(ended.status, status, "{}", ended.stderr);
            no_work_is_left(&place);
        }
    }
}
