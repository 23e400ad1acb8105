//! Noticing that a remote says nothing: git has a limit for that over HTTP only.
//!
//! The kernel counts what the processes of a group read and how long they compute. A git that
//! resolves deltas or writes files computes; one that waits for a remote does neither, or reads a
//! few bytes that the remote sends to keep it waiting.
//!
//! **Source** — `proc_pid_io(5)`, `proc_pid_stat(5)`.

use std::fs;
use std::time::{Duration, Instant};

/// Half a byte a second. A server that is still at work sends five bytes every five seconds (`git
/// config uploadpack.keepAlive`), which must be enough whenever they are counted.
const LEAST_BYTES_IN_TEN_SECONDS: u64 = 5;

/// The work of a process group since its processes began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Work {
    processes: usize,
    /// Bytes that they read: from sockets, pipes and files.
    read: u64,
    /// Processor time in clock ticks.
    ticks: u64,
}

/// A process group, and when it last got on.
#[derive(Debug)]
pub(crate) struct Watch {
    group: u32,
    patience: Duration,
    /// The beginning of the time that is judged, and the work up to then.
    since: Instant,
    before: Work,
}

impl Watch {
    /// Watches a group from now on.
    pub(crate) fn new(group: u32, patience: Duration) -> Self {
        Self { group, patience, since: Instant::now(), before: Work::of(group) }
    }

    /// Returns the time between two looks.
    pub(crate) fn pause(&self) -> Duration {
        self.patience / 10
    }

    /// Looks at the group, and returns whether it has waited for as long as the patience lasts.
    pub(crate) fn is_over(&mut self) -> bool {
        let now = Work::of(self.group);
        if now.is_getting_on(&self.before, self.patience) {
            (self.since, self.before) = (Instant::now(), now);
        }
        self.since.elapsed() >= self.patience
    }
}

impl Work {
    fn of(group: u32) -> Self {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let ids = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        ids.filter_map(|id| Self::of_process(&id, group)).fold(Self::default(), |all, one| Self {
            processes: all.processes + one.processes,
            read: all.read.saturating_add(one.read),
            ticks: all.ticks.saturating_add(one.ticks),
        })
    }

    /// Returns the work of a process; `None` if it is not in the group, or has ended meanwhile.
    fn of_process(id: &str, group: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let ticks = ticks(&stat, group)?;
        // A process that shows nothing, as one with other rights, only computes.
        let io = fs::read_to_string(format!("/proc/{id}/io")).unwrap_or_default();
        Some(Self { processes: 1, read: bytes_read(&io), ticks })
    }

    /// Returns whether there was more work since `before` than a group does that waits.
    fn is_getting_on(&self, before: &Self, patience: Duration) -> bool {
        let least = LEAST_BYTES_IN_TEN_SECONDS * patience.as_secs() / 10;
        // One that begins or ends takes its numbers with it.
        self.processes != before.processes
            || self.ticks != before.ticks
            || self.read < before.read
            || self.read - before.read > least
    }
}

/// Returns the processor time in the text of a `stat` file, if the process is in the group. Its
/// second field is a name in brackets, which may hold anything.
fn ticks(stat: &str, group: u32) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    // State, parent, group are the fields 3 to 5; the times of the process and of the children that
    // it waited for are the fields 14 to 17.
    if number(2)? != u64::from(group) {
        return None;
    }
    (11..15).map(number).sum()
}

/// Returns the number of bytes in the text of an `io` file.
fn bytes_read(io: &str) -> u64 {
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command, Stdio};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    struct Group(Child);

    impl Group {
        fn start(script: &str) -> Self {
            let mut command = Command::new("sh");
            command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::null());
            Self(command.process_group(0).spawn().unwrap())
        }

        /// Looks at the group until it is over, or for three times the patience.
        fn is_over(&self) -> bool {
            let mut watch = Watch::new(self.0.id(), PATIENCE);
            let looks = 3 * PATIENCE.as_millis() / watch.pause().as_millis();
            (0..looks).any(|_| {
                std::thread::sleep(watch.pause());
                watch.is_over()
            })
        }
    }

    impl Drop for Group {
        fn drop(&mut self) {
            let group = rustix::process::Pid::from_child(&self.0);
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            let _ = self.0.wait();
        }
    }

    #[test]
    fn who_reads_or_computes_gets_on_and_who_waits_does_not() {
        assert!(Group::start("sleep 1000 | cat").is_over());
        let feed = "while :; do echo a few bytes; sleep 0.2; done";
        assert!(!Group::start(&format!("({feed}) | cat")).is_over());
        assert!(!Group::start("while :; do :; done").is_over());
    }

    #[test]
    fn bytes_that_only_keep_somebody_waiting_are_too_few() {
        let minute = Duration::from_secs(60);
        let before = Work { processes: 2, read: 1000, ticks: 7 };
        let after = |read| Work { read, ..before };
        // A server that works sends five bytes every five seconds.
        assert!(after(1000 + 11 * 5).is_getting_on(&before, minute));
        assert!(!after(1000 + 30).is_getting_on(&before, minute));
        assert!(Work { ticks: 8, ..before }.is_getting_on(&before, minute));
        assert!(Work { processes: 1, read: 10, ticks: 0 }.is_getting_on(&before, minute));
    }

    #[test]
    fn the_files_of_the_kernel_are_read() {
        let stat = "12 (a) b) c) S 1 77 77 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 5";
        assert_eq!((ticks(stat, 77), ticks(stat, 78), ticks("", 77)), (Some(100), None, None));
        assert_eq!((bytes_read("rchar: 42\nwchar: 7\n"), bytes_read("")), (42, 0));
    }
}
