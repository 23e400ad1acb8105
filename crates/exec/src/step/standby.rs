//! One RUN step: the request's way to its process, the processes of the step, and the way back of
//! output and result.
//!
//! The main process ([`run`]) sends the request as a task and reads output. The task's process
//! ([`Standby`]) makes the namespaces, waits, and cleans up; meanwhile it answers what the step must
//! not ask of the kernel itself ([`watch`]). Its child is pid 1 of the step
//! ([`init`]): it builds the root file system, starts the command and reaps. Both are there, with all that does not depend on
//! the request, before it comes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::retry_on_intr;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitOptions};
use serde::{Deserialize, Serialize};
use xbuild_model::records::Records;
use xbuild_model::rootfs::{Overlay, RootFs};
use xbuild_model::run::{Exit, Network, ReadyMount, ReadySource, RunRequest, Script, Security};
use xbuild_model::seam::Output;
use xbuild_model::{Platform, StepFailure};

use super::init;
use super::userns::stubs;
use crate::arch::Arch;
use crate::error::{RunError, SandboxError};
use crate::helper::{join, serve};
use crate::host::agent::Lent;
use crate::host::output::Lines;
use crate::host::sandbox::Parent;
use crate::idmap::Ids;
use crate::seccomp::{self, Filter};
use crate::supervisor::watch;
use crate::sys::{self, Fork};
use crate::wire;

/// The name of the task, which has processes and a socket of its own.
pub(crate) const TASK: &str = "exec.run";

/// What the task's process has to know: the request as it travels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// With the layers that are not joined only, if any are.
    pub(crate) root: RootFs,
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) cwd: String,
    pub(crate) user: String,
    pub(crate) platform: String,
    /// Whether the step has a network namespace of its own, with a loopback interface only.
    pub(crate) isolated: bool,
    pub(crate) security: Security,
    pub(crate) hostname: String,
    pub(crate) extra_hosts: Vec<(String, String)>,
    pub(crate) ulimits: Vec<(String, u64, u64)>,
    pub(crate) shm_size: u64,
    pub(crate) scripts: Vec<Script>,
    pub(crate) mounts: Vec<ReadyMount>,
}

/// What pid 1 of the step, and the command's process before it becomes the command, report.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// Mount points were made that shall go again.
    Stubs(stubs::Stubs),
    /// Something the user should know.
    Note(String),
    /// The step cannot be set up, or the command not be executed.
    Failed(RunError),
    /// The command has ended.
    Ended(Exit),
}

/// The answer of the task.
#[derive(Debug, Serialize, Deserialize)]
struct Outcome {
    result: Result<Exit, RunError>,
    records: Records,
    notes: Vec<String>,
}

/// Runs a step, in the main process. See [`xbuild_model::seam::Runner::run`].
pub(crate) fn run(
    parent: &Parent,
    network: Network,
    root: &RootFs,
    request: &RunRequest,
    mounts: &[ReadyMount],
    output: &dyn Output,
) -> Result<Records, StepFailure> {
    let mut spec = spec(network, root, request);
    // Until the command has ended.
    let _agents = lend_agents(root, mounts, &mut spec.mounts)?;
    let bytes = serde_json::to_vec(&spec)
        .map_err(|error| SandboxError::Protocol { what: error.to_string() })?;
    let pipe = || {
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
            .map_err(|errno| SandboxError::Start { attempt: "a pipe".into(), source: errno.into() })
    };
    let ((stdout, stdout_end), (stderr, stderr_end)) = (pipe()?, pipe()?);
    let answer = parent.start_task(TASK, &bytes, &[stdout_end, stderr_end])?;
    read_output(stdout, stderr, output)?;
    let outcome: Outcome = serde_json::from_slice(&answer.receive()?)
        .map_err(|error| SandboxError::Protocol { what: error.to_string() })?;
    for note in outcome.notes.iter().filter(|note| parent.is_news(note)) {
        output.line(true, note.as_bytes());
    }
    match outcome.result? {
        Exit::Code(0) => Ok(outcome.records),
        exit => {
            let emulated = !runs_on_cpu(&request.platform);
            Err(RunError::Exit { exit, emulated }.into())
        }
    }
}

/// Returns whether programs of the platform are for this machine's CPU, at least in a 32-bit mode.
pub(crate) fn runs_on_cpu(platform: &Platform) -> bool {
    let (host, arch) = (Arch::host(), Arch::of(platform));
    arch == host || arch == host.and_then(Arch::compat)
}

fn spec(network: Network, root: &RootFs, request: &RunRequest) -> Spec {
    let network = if request.network == Network::Default { network } else { request.network };
    let mut env = request.env.clone();
    for (name, value) in &request.unkeyed_env {
        if env.iter().all(|(known, _)| known != name) {
            env.push((name.clone(), value.clone()));
        }
    }
    Spec {
        root: as_mounted(root, request),
        argv: request.argv.clone(),
        env,
        cwd: request.cwd.clone(),
        user: request.user.clone(),
        platform: request.platform.to_string(),
        isolated: network == Network::None,
        security: request.security,
        hostname: request.hostname.clone(),
        extra_hosts: request.extra_hosts.clone(),
        ulimits: request.ulimits.clone(),
        shm_size: request.shm_size,
        scripts: request.scripts.clone(),
        mounts: Vec::new(),
    }
}

/// Returns the folders as they are to be mounted: without those that are joined, or with all and
/// nothing joined.
///
/// Joined layers make inode numbers that programs of 32 bits may not know how to read, and leave
/// no room for an overlay mount of the step's own, which only steps without a sandbox can make.
fn as_mounted(root: &RootFs, request: &RunRequest) -> RootFs {
    let RootFs::Overlay(dirs) = root;
    let is_64_bit = Arch::of(&request.platform).is_some_and(Arch::is_64_bit);
    let sandboxed = request.security == Security::Sandbox;
    let joined = dirs.joined.clone().filter(|_| is_64_bit && sandboxed);
    let lowers = joined.as_ref().map_or(&dirs.lowers[..], |joined| joined.rest(&dirs.lowers));
    RootFs::Overlay(Overlay {
        lowers: lowers.to_vec(),
        joined,
        upper: dirs.upper.clone(),
        work: dirs.work.clone(),
    })
}

/// Fills `ready` with the mounts, with sockets of ours in place of those of agents.
fn lend_agents(
    root: &RootFs,
    mounts: &[ReadyMount],
    ready: &mut Vec<ReadyMount>,
) -> Result<Vec<Lent>, RunError> {
    let RootFs::Overlay(dirs) = root;
    let mut home = dirs.work.clone().into_os_string();
    home.push("-agents");
    let mut agents = Vec::new();
    for (number, mount) in mounts.iter().enumerate() {
        let mut mount = mount.clone();
        if let ReadySource::Socket { path, .. } = &mut mount.source {
            let lent = Lent::start(path, home.as_ref(), &number.to_string())
                .map_err(RunError::setup("make a socket for the SSH agent"))?;
            *path = lent.path().to_owned();
            agents.push(lent);
        }
        ready.push(mount);
    }
    Ok(agents)
}

/// Passes on what comes through both pipes, until both are closed, in about the order in which it
/// was written.
fn read_output(stdout: OwnedFd, stderr: OwnedFd, output: &dyn Output) -> Result<(), SandboxError> {
    let failed = |errno: rustix::io::Errno| SandboxError::Protocol {
        what: format!("cannot read the command's output: {errno}"),
    };
    let mut streams = vec![(stdout, false, Lines::default()), (stderr, true, Lines::default())];
    let mut buffer = vec![0; 64 << 10];
    while !streams.is_empty() {
        let mut polled: Vec<PollFd<'_>> =
            streams.iter().map(|(pipe, ..)| PollFd::new(pipe, PollFlags::IN)).collect();
        retry_on_intr(|| rustix::event::poll(&mut polled, None)).map_err(failed)?;
        let ready: Vec<bool> = polled.iter().map(|p| !p.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        let mut error = None;
        streams.retain_mut(|(pipe, is_stderr, lines)| {
            if ready.next() != Some(true) {
                return true;
            }
            let mut sink = |line: &[u8]| output.line(*is_stderr, line);
            match retry_on_intr(|| rustix::io::read(&*pipe, &mut buffer)) {
                Ok(0) => {
                    lines.finish(&mut sink);
                    false
                }
                Ok(read) => {
                    lines.push(&buffer[..read], &mut sink);
                    true
                }
                Err(errno) => {
                    error = Some(failed(errno));
                    false
                }
            }
        });
        if let Some(error) = error {
            return Err(error);
        }
    }
    Ok(())
}

impl Spec {
    /// Reads the file that was sent.
    pub(crate) fn read(request: Option<&OwnedFd>) -> Result<Self, RunError> {
        let invalid = |value: String| RunError::Invalid { what: "request".to_owned(), value };
        let request = request.ok_or_else(|| invalid("nothing".to_owned()))?;
        let bytes = request.try_clone().and_then(wire::read_payload);
        let bytes = bytes.map_err(RunError::setup("read the request"))?;
        serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))
    }

    /// Returns the filter of the step's system calls, if it has one.
    pub(crate) fn filter(&self) -> Result<Option<Filter>, RunError> {
        if self.security == Security::Insecure {
            return Ok(None);
        }
        let platform: Platform = self.platform.parse().map_err(|_| RunError::Invalid {
            what: "platform".to_owned(),
            value: self.platform.clone(),
        })?;
        let filter = seccomp::program(&platform)
            .map_err(|error| RunError::Filter { reason: serve::in_words(&error) })?;
        Ok(Some(filter))
    }
}

/// A step that waits for its request: its namespaces and its pid 1 are there.
#[derive(Debug)]
pub(crate) struct Standby(Result<Processes, RunError>);

#[derive(Debug)]
struct Processes {
    ids: Ids,
    init: Pid,
    /// What pid 1 tells.
    events: OwnedFd,
    /// Takes the request, brings the listener for system calls.
    channel: OwnedFd,
}

impl Standby {
    /// Makes one, in the process that will be the step's task; `ids` are those of the
    /// build's namespace. What fails is told to whoever asks for the step.
    pub(crate) fn new(ids: Ids) -> Self {
        Self(Processes::start(ids))
    }

    /// Returns the descriptors that it needs.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let processes = self.0.as_ref().ok().into_iter();
        processes.flat_map(|p| [p.events.as_fd(), p.channel.as_fd()]).collect()
    }

    /// Runs the step that a request asks for: a file with the [`Spec`], and two pipes for output.
    pub(crate) fn run(self, fds: Vec<OwnedFd>) -> Result<Vec<u8>, String> {
        let (mut records, mut notes) = (Records::default(), Vec::new());
        let result = self.0.and_then(|processes| processes.run(fds, &mut records, &mut notes));
        serde_json::to_vec(&Outcome { result, records, notes }).map_err(|error| error.to_string())
    }
}

impl Processes {
    fn start(ids: Ids) -> Result<Self, RunError> {
        enter_namespaces()?;
        let (events, events_end) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(RunError::setup("pipe"))?;
        let (channel, channel_end) = wire::pair().map_err(RunError::setup("socketpair"))?;
        match sys::fork().map_err(RunError::setup("fork"))? {
            Fork::Child => init::main(ids, channel_end, events, events_end),
            Fork::Parent(init) => Ok(Self { ids, init, events, channel }),
        }
    }

    fn run(
        self,
        fds: Vec<OwnedFd>,
        records: &mut Records,
        notes: &mut Vec<String>,
    ) -> Result<Exit, RunError> {
        let Self { ids, init, events, channel } = self;
        // Before pid 1 does, with whom this process shares the place in the file.
        let spec = Spec::read(fds.first())?;
        let RootFs::Overlay(dirs) = &spec.root;
        let joined = dirs.joined.as_ref().map(|joined| join::copy(&joined.point)).transpose()?;
        let sent: Vec<BorrowedFd<'_>> = fds.iter().chain(&joined).map(AsFd::as_fd).collect();
        // If it is not there any more it has told why.
        let _ = wire::send(&channel, b"step", &sent);
        drop(sent);
        drop(joined);
        // Whoever reads the output waits for the last of these to be closed.
        drop(fds);
        let text = watch::attend(ids, events, channel, records)?;
        retry_on_intr(|| rustix::process::waitpid(Some(init), WaitOptions::empty()))
            .map_err(RunError::setup("wait for the step"))?;
        let mut result = Err(RunError::Killed);
        for line in text.split(|b| *b == b'\n') {
            match serde_json::from_slice(line) {
                Ok(Event::Stubs(stubs)) => stubs.remove(&dirs.upper)?,
                Ok(Event::Note(note)) => notes.push(note),
                Ok(Event::Ended(exit)) if matches!(result, Err(RunError::Killed)) => {
                    result = Ok(exit);
                }
                Ok(Event::Failed(error)) => result = Err(error),
                // The first process was killed while it wrote this.
                Ok(Event::Ended(_)) | Err(_) => {}
            }
        }
        result
    }
}

/// Makes the namespaces of a step, apart from the mount and network namespaces, which pid 1 makes
/// for itself: this process stays where the folders' paths are good.
fn enter_namespaces() -> Result<(), RunError> {
    let flags = libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    sys::unshare(flags).map_err(RunError::setup("unshare"))?;
    match sys::unshare(libc::CLONE_NEWCGROUP) {
        // The kernel has no cgroups at all.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        result => result.map_err(RunError::setup("unshare the cgroup namespace")),
    }
}

impl Event {
    /// Writes the event to the pipe, in one line. If nobody reads it, there is nobody to tell.
    pub(crate) fn send(&self, pipe: impl AsFd) {
        let Ok(mut line) = serde_json::to_vec(self) else { return };
        line.push(b'\n');
        let mut rest = &line[..];
        while !rest.is_empty() {
            match retry_on_intr(|| rustix::io::write(&pipe, rest)) {
                Ok(written) => rest = &rest[written..],
                Err(_) => return,
            }
        }
    }
}
