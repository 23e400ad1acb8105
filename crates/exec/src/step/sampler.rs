//! Which programs of a step take time under the emulator, and how many start.
//!
//! Nothing watches a program: the step's pid 1 looks at the list of processes now and then, and the
//! starter of twins writes a byte into a pipe for each start. A process that is seen for the first
//! time while it runs gets the whole time since the last look, later its own processor time: so the
//! sums are right on average, for processes of any length. The step may write into the pipe and choose
//! its own names, which harms nobody but whoever reads the result.
//!
//! **Source** — `proc_pid_stat(5)`, `proc_pid_cmdline(5)`; kernel
//! `Documentation/admin-guide/binfmt-misc.rst`, flag P.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;

use crate::twins::{NATIVELY, Usage};

/// The time between two looks.
const INTERVAL: Duration = Duration::from_millis(50);
/// A look is followed by at least this many times its own time, so it costs at most 2 %.
const REST: u32 = 50;
/// The unit of processor times, on all processors that have twins.
const TICK: Duration = Duration::from_millis(10);
/// The most programs that are told apart.
const MAX_PROGRAMS: usize = 1000;
/// The most bytes of a command line that are looked at.
const MAX_LINE: usize = 400;
/// The start of an emulator's first argument: the path that it is registered by.
const REGISTERED: &[u8] = b"/proc/self/fd/";

/// Looks at the processes of a step.
#[derive(Debug)]
pub(super) struct Sampler {
    proc: OwnedFd,
    pipe: File,
    last: Instant,
    next: Instant,
    /// The emulated processes of the last look: program, processor time.
    seen: BTreeMap<i32, (String, Duration)>,
    usage: Usage,
}

impl Sampler {
    /// Opens `/proc` and the pipe of the step whose root this process has entered. `None` if it is not
    /// the step's own `/proc`.
    pub(super) fn open(pipe: &str) -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = rustix::fs::open("/proc", flags, Mode::empty()).ok()?;
        let own = rustix::fs::readlinkat(&proc, "self", Vec::new()).ok()?;
        if own.to_str().ok()?.parse() != Ok(rustix::process::getpid().as_raw_nonzero().get()) {
            return None;
        }
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let pipe = File::from(rustix::fs::open(pipe, flags, Mode::empty()).ok()?);
        let now = Instant::now();
        let (seen, usage) = (BTreeMap::new(), Usage::default());
        Some(Self { proc, pipe, last: now, next: now + INTERVAL, seen, usage })
    }

    /// Returns the time until the next look.
    pub(super) fn rest(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Looks once.
    pub(super) fn look(&mut self) {
        let now = Instant::now();
        let since = now - self.last;
        self.last = now;
        self.count();
        let mut seen = BTreeMap::new();
        for pid in self.processes() {
            let Some(program) = self.program(pid) else { continue };
            let Some((is_running, time)) = self.state(pid) else { continue };
            let before = self.seen.get(&pid).filter(|(known, _)| *known == program);
            let spent = match before {
                Some((_, before)) => time.saturating_sub(*before),
                None if is_running => since,
                None => Duration::ZERO,
            };
            let times = &mut self.usage.times;
            if let Some(sum) = times.get_mut(&program) {
                *sum += spent;
            } else if times.len() < MAX_PROGRAMS && !spent.is_zero() {
                times.insert(program.clone(), spent);
            }
            seen.insert(pid, (program, time));
        }
        self.seen = seen;
        self.next = Instant::now() + INTERVAL.max(now.elapsed() * REST);
    }

    /// Returns what was seen.
    pub(super) fn finish(mut self) -> Usage {
        self.count();
        self.usage
    }

    /// Takes the bytes out of the pipe.
    fn count(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = self.pipe.read(&mut buffer) {
            let natively = buffer[..read].iter().filter(|byte| **byte == NATIVELY).count();
            self.usage.natively += natively as u64;
            self.usage.emulated += (read - natively) as u64;
        }
    }

    fn processes(&self) -> Vec<i32> {
        let mut found = Vec::new();
        if rustix::fs::seek(&self.proc, SeekFrom::Start(0)).is_err() {
            return found;
        }
        let mut buffer = [std::mem::MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(&self.proc, &mut buffer);
        while let Some(Ok(entry)) = entries.next() {
            found.extend(entry.file_name().to_str().ok().and_then(|name| name.parse::<i32>().ok()));
        }
        found
    }

    /// Returns the program of an emulated process.
    fn program(&self, pid: i32) -> Option<String> {
        let mut line = [0; MAX_LINE];
        let read = self.read(pid, "cmdline", &mut line).ok()?;
        program_of(&line[..read])
    }

    /// Returns whether a process runs, and its processor time.
    fn state(&self, pid: i32) -> Option<(bool, Duration)> {
        let mut line = [0; 1024];
        let read = self.read(pid, "stat", &mut line).ok()?;
        state_of(&line[..read])
    }

    fn read(&self, pid: i32, name: &str, buffer: &mut [u8]) -> Result<usize, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.proc, format!("{pid}/{name}"), flags, Mode::empty())?;
        rustix::io::read(&file, buffer)
    }
}

/// Returns the program in a command line of the emulator, which comes after the emulator itself.
fn program_of(line: &[u8]) -> Option<String> {
    let mut parts = line.split(|byte| *byte == 0);
    parts.next().filter(|emulator| emulator.starts_with(REGISTERED))?;
    let program = parts.next().filter(|program| !program.is_empty())?;
    Some(String::from_utf8_lossy(program).into_owned())
}

/// Reads state, `utime` and `stime`. The name before them, in parentheses, may hold any bytes.
fn state_of(line: &[u8]) -> Option<(bool, Duration)> {
    let end = line.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(line.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let mut ticks = fields.skip(10).map(|field| field.parse::<u32>().ok());
    let time = ticks.next()??.checked_add(ticks.next()??)?;
    Some((state == "R", TICK * time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulated_programs_are_told_by_their_command_line() {
        let of = |line: &str| program_of(line.as_bytes());
        assert_eq!(of("/proc/self/fd/7\0/usr/bin/dpkg\0dpkg\0-i\0"), Some("/usr/bin/dpkg".into()));
        assert_eq!(of("sh\0-c\0true\0"), None);
        assert_eq!(of("/proc/self/fd/7\0"), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn times_come_after_the_name() {
        let line = "42 (a) R 1) S 1 42 42 0 -1 4194560 900 0 0 0 150 50 3 4 20 0 1 0 9 8 7";
        assert_eq!(state_of(line.as_bytes()), Some((false, Duration::from_secs(2))));
        let running = line.replace(") S", ") R");
        assert!(state_of(running.as_bytes()).unwrap().0);
        assert_eq!(state_of(b"42 (a) R 1 2"), None);
        assert_eq!(state_of(b""), None);
    }

    #[test]
    fn processes_and_bytes_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let (kind, mode) = (rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600));
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
        let mut sampler = Sampler::open(pipe.to_str().unwrap()).unwrap();
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        for _ in 0..2 {
            assert!(sampler.processes().contains(&pid));
        }
        assert!(sampler.state(pid).is_some());
        std::io::Write::write_all(
            &mut std::fs::OpenOptions::new().write(true).open(&pipe).unwrap(),
            b"nqqn",
        )
        .unwrap();
        sampler.look();
        let usage = sampler.finish();
        assert_eq!((usage.natively, usage.emulated), (2, 2));
    }
}
