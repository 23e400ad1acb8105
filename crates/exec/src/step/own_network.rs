//! A network of the step's own, which pasta joins to the host's.
//!
//! A child makes the network namespace and hands it over. Another one becomes pasta: it stays in the
//! host's network and in the host's pid namespace, so the step neither sees it nor can end it. Both
//! are there before the step's request comes.

use std::ffi::CStr;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::retry_on_intr;
use rustix::mount::MountAttrFlags;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal, WaitOptions};

use super::userns::{mounts, namespaces};
use crate::error::{Errno, RunError, in_words};
use crate::sys::{self, Fork};
use crate::{lifeline, mount, wire};

/// The address at which pasta answers questions about names; [`super::files`] writes it into the
/// step's resolver configuration. It is one of those that no router passes on (RFC 3927).
pub(super) const RESOLVER: &str = "169.254.1.1";

/// The time that pasta has to configure the network.
const PATIENCE: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };

/// The most bytes of pasta's last words.
const WORDS_LIMIT: u64 = 4 << 10;

/// Settings that let users who are not root use low ports and `ping`, as container engines set them;
/// of several values the first that the kernel takes. Groups have to exist in the namespace.
const SETTINGS: &[(&str, &[&str])] = &[
    ("/proc/sys/net/ipv4/ip_unprivileged_port_start", &["0"]),
    ("/proc/sys/net/ipv4/ping_group_range", &["0 65535", "0 0"]),
];

/// A network namespace that is joined to the host's network until this is dropped.
#[derive(Debug)]
pub(super) struct OwnNetwork {
    namespace: OwnedFd,
    pasta: Pid,
    /// The end that pasta's words come through. Pasta must not find it closed.
    words: OwnedFd,
}

impl OwnNetwork {
    /// Makes the network, and waits until it can be used.
    pub(super) fn start(pasta: &Path) -> Result<Self, RunError> {
        let namespace = make_namespace()?;
        let (words, words_end) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
            .map_err(failed("pipe"))?;
        let (channel, channel_end) = wire::pair().map_err(failed("socketpair"))?;
        let own = std::process::id();
        let pid = match sys::fork().map_err(failed("fork"))? {
            Fork::Parent(pid) => pid,
            Fork::Child => {
                drop((words, channel));
                become_pasta(own, pasta, &namespace, &words_end, &channel_end);
                sys::exit_now(1)
            }
        };
        drop((words_end, channel_end));
        let network = Self { namespace, pasta: pid, words };
        if network.is_ready(&channel)? { Ok(network) } else { Err(network.failure(pasta)) }
    }

    /// Returns the network namespace.
    pub(super) fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// Returns the descriptors that it needs.
    pub(super) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.namespace.as_fd(), self.words.as_fd()]
    }

    /// Waits until pasta has written its process id, or has ended.
    fn is_ready(&self, channel: &OwnedFd) -> Result<bool, RunError> {
        let message = wire::receive(channel).map_err(failed("wait for pasta"))?;
        let Some(ready) = message.and_then(|(_, fds)| fds.into_iter().next()) else {
            return Ok(false);
        };
        // What pasta writes to its standard error does not matter, but that it is closed.
        let closed = PollFlags::empty();
        let mut polled = [PollFd::new(&ready, PollFlags::IN), PollFd::new(&self.words, closed)];
        retry_on_intr(|| rustix::event::poll(&mut polled, Some(&PATIENCE)))
            .map_err(failed("wait for pasta"))?;
        Ok(polled[0].revents().contains(PollFlags::IN))
    }

    /// Returns why pasta failed, in its own words.
    fn failure(self, pasta: &Path) -> RunError {
        let mut text = Vec::new();
        if let Ok(words) = self.words.try_clone() {
            // There is nothing more to read when it would block.
            let _ = std::fs::File::from(words).take(WORDS_LIMIT).read_to_end(&mut text);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        // Where there is no system log, it says so after each line.
        let lines = text.lines().filter(|line| !line.contains("to syslog"));
        let lines: Vec<&str> = lines.map(str::trim).filter(|line| !line.is_empty()).collect();
        let said = if lines.is_empty() { "it said nothing".to_owned() } else { lines.join("; ") };
        RunError::Network { reason: format!("{} failed: {said}", pasta.display()) }
    }
}

impl Drop for OwnNetwork {
    fn drop(&mut self) {
        // It is a child that nobody has waited for, so the id is still its own.
        let _ = rustix::process::kill_process(self.pasta, Signal::KILL);
        let _ = retry_on_intr(|| rustix::process::waitpid(Some(self.pasta), WaitOptions::empty()));
    }
}

fn failed<E: Into<Errno>>(attempt: &str) -> impl FnOnce(E) -> RunError {
    move |error| RunError::Network { reason: format!("{attempt}: {}", in_words(&error.into())) }
}

/// Returns a new network namespace whose loopback interface is switched on.
fn make_namespace() -> Result<OwnedFd, RunError> {
    let (ours, theirs) = wire::pair().map_err(failed("socketpair"))?;
    let child = match sys::fork().map_err(failed("fork"))? {
        Fork::Parent(child) => child,
        Fork::Child => {
            let made = namespaces::enter_network().and_then(|()| {
                for (path, values) in SETTINGS {
                    // Where /proc/sys is read-only, such users do without.
                    let _ = values.iter().any(|value| std::fs::write(path, value).is_ok());
                }
                rustix::fs::open("/proc/self/ns/net", OFlags::RDONLY, Mode::empty())
                    .map_err(RunError::setup("open the network namespace"))
            });
            // The other end knows how to read this.
            let _ = match made {
                Ok(namespace) => wire::send(&theirs, b"made", &[namespace.as_fd()]),
                Err(error) => wire::send(&theirs, in_words(&error).as_bytes(), &[]),
            };
            sys::exit_now(0)
        }
    };
    drop(theirs);
    let message = wire::receive(&ours).map_err(failed("make a network namespace"))?;
    let _ = retry_on_intr(|| rustix::process::waitpid(Some(child), WaitOptions::empty()));
    let (words, fds) = message.unwrap_or_default();
    let refused = || RunError::Network { reason: String::from_utf8_lossy(&words).into_owned() };
    fds.into_iter().next().ok_or_else(refused)
}

/// Executes pasta in this process, which is the child of `parent`. Whatever keeps it from that is
/// written to `words`.
fn become_pasta(
    parent: u32,
    pasta: &Path,
    namespace: &OwnedFd,
    words: &OwnedFd,
    channel: &OwnedFd,
) {
    let execute = || {
        prepare(parent, namespace, channel)?;
        let words = words.try_clone().map_err(failed("duplicate a descriptor"))?;
        let error = Command::new(pasta)
            .env_clear()
            .current_dir("/")
            .args(["--config-net", "--foreground", "--quiet", "--no-map-gw"])
            .args(["--tcp-ports", "none", "--udp-ports", "none"])
            .args(["--tcp-ns", "none", "--udp-ns", "none"])
            .args(["--dns-forward", RESOLVER])
            .args(["--netns", "/sys/net", "--pid", "/sys/ready"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(words))
            .exec();
        Err::<(), _>(failed("execute it")(error))
    };
    if let Err(error) = execute() {
        let _ = rustix::io::write(words, in_words(&error).as_bytes());
    }
}

/// Makes the files that pasta is told by name, in a mount namespace of its own: the network, and a
/// pipe for the news that it is ready. They cover `/sys`, which is sure to exist.
fn prepare(parent: u32, namespace: &OwnedFd, channel: &OwnedFd) -> Result<(), RunError> {
    lifeline::end_with(parent).map_err(|_| RunError::Killed)?;
    sys::close_all_on_exec().map_err(failed("close descriptors"))?;
    namespaces::enter_mounts()?;
    let place = mounts::open_path(CWD, "/sys").map_err(failed("open /sys"))?;
    let options: [(&CStr, Option<&str>); 2] = [(c"size", Some("64k")), (c"mode", Some("0700"))];
    let folder = mounts::create(c"tmpfs", &options, MountAttrFlags::empty())?;
    mounts::make_file(&folder, "net", 0o600).map_err(failed("make a file"))?;
    rustix::fs::mknodat(&folder, "ready", FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .map_err(failed("make a pipe"))?;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let ready = rustix::fs::openat(&folder, "ready", flags, Mode::empty())
        .map_err(failed("open a pipe"))?;
    wire::send(channel, b"ready", &[ready.as_fd()]).map_err(failed("hand a pipe over"))?;
    let network = mount::clone_of(namespace, false).map_err(failed("mount the network"))?;
    let target = mounts::open_path(&folder, "net").map_err(failed("open a file"))?;
    mounts::attach(&folder, place).map_err(failed("mount a folder"))?;
    mounts::attach(network, target).map_err(failed("mount the network"))
}
