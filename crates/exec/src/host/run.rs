//! Running a step: the request goes to the helper, output and result come back.

use rustix::pipe::PipeFlags;
use tracing::debug_span;
use tracing::field::Empty;
use xbuild_model::records::Records;
use xbuild_model::rootfs::{Overlay, RootFs};
use xbuild_model::run::{Exit, Network, ReadyMount, ReadySource, RunRequest, Security};
use xbuild_model::seam::{Output, Runner};
use xbuild_model::{Chain, Platform, StepFailure};

use super::agent::Lent;
use super::sandbox::Sandbox;
use super::streams::Streams;
use super::{arguments, output};
use crate::arch::Arch;
use crate::binfmt::Registration;
use crate::error::{Complaint, Errno, RunError, SandboxError};
use crate::protocol::{self, Outcome, StepRequest};
use crate::twins::{StepTwins, Usage};

impl Runner for Sandbox {
    fn run(
        &self,
        root: &RootFs,
        request: &RunRequest,
        mounts: &[ReadyMount],
        _: &Chain,
        output: &dyn Output,
    ) -> Result<Records, StepFailure> {
        self.run_with(root, request, mounts, Vec::new(), output)
    }

    fn is_emulated(&self, platform: &Platform) -> bool {
        let (host, arch) = (Arch::host(), Arch::of(platform));
        arch != host && arch != host.and_then(Arch::compat)
    }
}

/// The parts that a step gets beside its emulator.
#[derive(Debug, Clone, Default)]
pub struct Natively {
    /// The programs that run natively.
    pub twins: Vec<StepTwins>,
    /// Whether its programs are counted, see
    /// [`Emulator::counts`](crate::emulator::Emulator::counts).
    pub counted: bool,
}

/// A command that ran to its end.
struct Ended {
    /// Facts for the layer.
    records: Records,
    exit: Exit,
    /// What its output complains about.
    complaint: Option<Complaint>,
    usage: Option<Usage>,
}

impl Sandbox {
    /// Runs a command as [`Runner::run`] does. Programs that have `twins` run natively; these twins
    /// were given to [`Sandbox::register_twins`].
    pub fn run_with(
        &self,
        root: &RootFs,
        request: &RunRequest,
        mounts: &[ReadyMount],
        twins: Vec<StepTwins>,
        output: &dyn Output,
    ) -> Result<Records, StepFailure> {
        let natively = Natively { twins, counted: false };
        self.run_counted(root, request, mounts, natively, output).map(|(records, _)| records)
    }

    /// Runs a command as [`Sandbox::run_with`] does, and also returns what was counted.
    pub fn run_counted(
        &self,
        root: &RootFs,
        request: &RunRequest,
        mounts: &[ReadyMount],
        natively: Natively,
        output: &dyn Output,
    ) -> Result<(Records, Option<Usage>), StepFailure> {
        let ended = self.execute(root, request, mounts, (None, natively), output)?;
        match ended.exit {
            Exit::Code(0) => Ok((ended.records, ended.usage)),
            exit => {
                let complaint = ended.complaint;
                let emulated = self.is_emulated(&request.platform);
                Err(RunError::Exit { exit, emulated, complaint }.into())
            }
        }
    }

    /// Runs a command. Without `streams` it has nothing to read, and `output` takes what it writes.
    fn execute(
        &self,
        root: &RootFs,
        request: &RunRequest,
        mounts: &[ReadyMount],
        (streams, natively): (Option<Streams>, Natively),
        output: &dyn Output,
    ) -> Result<Ended, StepFailure> {
        let span =
            debug_span!("command", platform = %request.platform, exit = Empty, signal = Empty);
        let _entered = span.enter();
        self.cancel.check().map_err(|_| RunError::Cancelled)?;
        // The agents serve the step until the command has ended.
        let (mounts, _agents) = lend_agents(root, mounts)?;
        let mut run = resolved(request, self.network);
        arguments::fit(&mut run)?;
        let request = StepRequest {
            intercepted: names(self.intercepted_in(&request.platform)),
            root: as_mounted(root, request),
            run,
            mounts,
            streams: streams.as_ref().map_or(protocol::Streams::Output, Streams::kind),
            twins: natively.twins,
            counted: natively.counted,
        };
        let (outcome, complaint) = exchange(self, &request, streams, output)?;
        for note in outcome.notes.iter().filter(|note| self.is_news(note)) {
            output.note(note);
        }
        let exit = outcome.result?;
        match exit {
            Exit::Code(code) => span.record("exit", code),
            Exit::Signal(signal) => span.record("signal", signal),
        };
        // In a network of the step's own the port is the step's own affair.
        let is_of_host = |complaint: &Complaint| {
            *complaint != Complaint::PortInUse || !request.has_own_network()
        };
        let complaint = complaint.filter(is_of_host);
        Ok(Ended { records: outcome.records, exit, complaint, usage: outcome.usage })
    }

    /// Runs a command as [`Runner::run`] does, with these streams, and returns how it ended. Programs
    /// that have twins in `natively` run natively.
    ///
    /// **Errors** — it could not be run.
    pub fn attach(
        &self,
        root: &RootFs,
        request: &RunRequest,
        mounts: &[ReadyMount],
        streams: Streams,
        natively: Natively,
    ) -> Result<Exit, StepFailure> {
        Ok(self.execute(root, request, mounts, (Some(streams), natively), &Quiet)?.exit)
    }
}

/// Shows remarks to nobody: somebody sits in front of the command itself.
struct Quiet;

impl Output for Quiet {
    fn line(&self, _: &[u8], _: bool) {}
}

/// Sends the request, passes the output on, and waits for the outcome. Also returns whether the output
/// says that a port is in use.
fn exchange(
    sandbox: &Sandbox,
    request: &StepRequest,
    streams: Option<Streams>,
    output: &dyn Output,
) -> Result<(Outcome, Option<Complaint>), SandboxError> {
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed("a pipe"));
    let ((pipe, end), (stopped, stop)) = (pipe()?, pipe()?);
    let mut ends = vec![end];
    for emulator in sandbox.intercepted_in(&request.run.platform) {
        let copy = emulator.interpreter.try_clone().map_err(failed("an emulator"))?;
        ends.push(copy);
    }
    ends.extend(streams.into_iter().flat_map(Streams::into_descriptors));
    ends.push(stopped);
    let pending = sandbox.start_task(protocol::RUN, &protocol::to_json(request)?, &ends)?;
    // The last copies must be the step's: the pipe ends with it.
    drop(ends);
    // The watcher kills pid 1 of the step when this end is closed.
    let _stop = sandbox.cancel.on_cancel(move || drop(stop));
    let complaint = output::pass_on(&pipe, output)?;
    Ok((protocol::from_json(&pending.receive()?)?, complaint))
}

fn failed<E: Into<Errno>>(attempt: &str) -> impl FnOnce(E) -> SandboxError {
    move |source| SandboxError::Start { attempt: attempt.to_owned(), source: source.into() }
}

fn names(emulators: &[Registration]) -> Vec<String> {
    emulators.iter().map(|emulator| emulator.arch.oci_name().to_owned()).collect()
}

/// Returns the request with the network chosen, and with all variables in one list.
fn resolved(request: &RunRequest, default: Network) -> RunRequest {
    let mut request = request.clone();
    if request.network == Network::Default {
        request.network = default;
    }
    for (name, value) in std::mem::take(&mut request.unkeyed_env) {
        if request.env.iter().all(|(known, _)| *known != name) {
            request.env.push((name, value));
        }
    }
    request
}

/// Returns the folders as they are to be mounted: without those that are joined, or with all and
/// nothing joined.
///
/// Joined layers make inode numbers that programs of 32 bits may not know how to read, and leave
/// no room for an overlay mount of the step's own, which only steps without a sandbox can make.
fn as_mounted(root: &RootFs, request: &RunRequest) -> RootFs {
    let RootFs::Overlay(dirs) = root else { return root.clone() };
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

/// Returns the mounts, with sockets of ours in place of those of agents.
fn lend_agents(
    root: &RootFs,
    mounts: &[ReadyMount],
) -> Result<(Vec<ReadyMount>, Vec<Lent>), RunError> {
    let mut home = root.work().to_owned().into_os_string();
    home.push("-agents");
    let (mut mounts, mut agents) = (mounts.to_vec(), Vec::new());
    for (number, mount) in mounts.iter_mut().enumerate() {
        if let ReadySource::Socket { path, .. } = &mut mount.source {
            let lent = Lent::start(path, home.as_ref(), &number.to_string())
                .map_err(RunError::setup("make a socket for the SSH agent"))?;
            *path = lent.path().to_owned();
            agents.push(lent);
        }
    }
    Ok((mounts, agents))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(env: &[(&str, &str)], unkeyed: &[(&str, &str)]) -> RunRequest {
        let pairs = |list: &[(&str, &str)]| {
            list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        RunRequest {
            argv: vec!["true".to_owned()],
            env: pairs(env),
            cwd: "/".to_owned(),
            user: String::new(),
            platform: Platform::host(),
            network: Network::Default,
            security: Security::Sandbox,
            hostname: "host".to_owned(),
            extra_hosts: Vec::new(),
            ulimits: Vec::new(),
            shm_size: 0,
            scripts: Vec::new(),
            mounts: Vec::new(),
            unkeyed_env: pairs(unkeyed),
        }
    }

    #[test]
    fn variables_of_the_image_win_over_those_of_the_caller() {
        let run = resolved(&request(&[("a", "1")], &[("a", "2"), ("b", "3")]), Network::None);
        let expected = request(&[("a", "1"), ("b", "3")], &[]);
        assert_eq!(run, RunRequest { network: Network::None, ..expected });
        let host = RunRequest { network: Network::Host, ..request(&[], &[]) };
        assert_eq!(resolved(&host, Network::None), host);
    }
}
