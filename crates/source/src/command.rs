//! Running git so that it executes nothing that a repository, a remote or the user's configuration
//! names.
//!
//! - The environment holds only listed variables: no `GIT_*` of the user, no home, and no
//!   configuration of user or system.
//! - Git may use `https`, `http`, `ssh` and `git` only, for submodules too; never `ext` or files.
//! - No hooks, no templates, no file system monitor, no credential helper, no pager, no prompt.
//! - Git runs only in new folders of our own, never in a repository that somebody else made.
//! - Texts of the user stand behind `--`, and are checked not to begin with `-`.
//! - A remote that says nothing is given up after a minute: over HTTP by git, else by `silence`.
//! - Secrets go through the environment: all users of a machine can read arguments.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpgid};
use tracing::field::Empty;
use tracing::{Span, debug_span};
use xbuild_model::Cancelled;
use xbuild_model::cancel::OnCancel;
use xbuild_model::thread::{self, ThreadError};
use xbuild_model::ward::Ward;

use crate::error::FetchError;
use crate::login;
use crate::options::FetchOptions;
use crate::silence::Watch;

/// The subcommands that speak to the remote.
const SPEAKING: &[&str] = &["fetch", "ls-remote", "submodule"];

/// Bytes of git's output that are read. All references of the largest repositories have about
/// 50 MiB; those requested by name have a few lines.
const MAX_OUTPUT: u64 = 16 << 20;

/// Bytes that are kept of git's error output, counted from its end.
const MAX_SAID: usize = 2000;

/// The time that processes have to end once they are killed.
const PATIENCE: Duration = Duration::from_secs(1);

/// The time for which a remote may say nothing, as over HTTP.
const PATIENCE_WITH_REMOTES: Duration = Duration::from_secs(60);

/// Settings that override every configuration.
const SETTINGS: &[&str] = &[
    "advice.detachedHead=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.autocrlf=false",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.symlinks=true",
    "credential.helper=",
    "fetch.recurseSubmodules=false",
    "gc.auto=0",
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=60",
    "init.defaultBranch=main",
    "maintenance.auto=false",
    "protocol.allow=never",
    "protocol.git.allow=always",
    "protocol.http.allow=always",
    "protocol.https.allow=always",
    "protocol.ssh.allow=always",
    "safe.directory=*",
    "submodule.recurse=false",
];

/// All that git wrote; `None` if the work is not wanted any more.
type Output = Option<io::Result<Vec<u8>>>;

/// Git for one repository.
#[derive(Debug)]
pub(crate) struct Git<'a> {
    program: PathBuf,
    options: &'a FetchOptions,
    /// The remote, for errors.
    remote: &'a str,
    authorization: Option<String>,
    /// An empty folder, for HOME.
    home: &'a Path,
    /// The folders of the repository and of its files.
    places: Option<(PathBuf, PathBuf)>,
}

impl<'a> Git<'a> {
    /// Finds the program.
    pub(crate) fn new(
        options: &'a FetchOptions,
        remote: &'a str,
        authorization: Option<String>,
        home: &'a Path,
    ) -> Result<Self, FetchError> {
        let program = find("git", &options.search_path)
            .ok_or_else(|| FetchError::NoGit { remote: remote.to_owned() })?;
        Ok(Self { program, options, remote, authorization, home, places: None })
    }

    /// Sets the repository to work on: its folder, and the folder of its files.
    pub(crate) fn place(&mut self, folder: PathBuf, work: PathBuf) {
        self.places = Some((folder, work));
    }

    /// Runs a subcommand and returns its output.
    pub(crate) fn run<A: AsRef<OsStr>>(
        &self,
        action: &'static str,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Vec<u8>, FetchError> {
        let span = match SPEAKING.contains(&action) {
            true => {
                let (host, path) = login::host_and_path(self.remote);
                debug_span!("request", method = action, host, path, status = Empty)
            }
            false => Span::none(),
        };
        let (status, output, said) = span.in_scope(|| self.execute(action, args))?;
        span.record("status", status.code());
        if status.success() {
            return Ok(output);
        }
        let remote = self.remote.to_owned();
        Err(FetchError::Git { action, remote, status, said: printable(&said) })
    }

    fn execute<A: AsRef<OsStr>>(
        &self,
        action: &'static str,
        args: impl IntoIterator<Item = A>,
    ) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), FetchError> {
        let failed = |source| FetchError::Run { action, source };
        let mut child = self
            .command(action)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let _ward = Ward::of_group(child.id());
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let readers = thread::start("git-stderr", move || last(stderr))
            .and_then(|said| Ok((said, self.listen(stdout)?)));
        let (said, (told, _hook)) = match readers {
            Ok(readers) => readers,
            Err(error) => {
                let _ = end(&mut child);
                return Err(failed(error.into()));
            }
        };
        let Some(read) = self.await_output(action, child.id(), &told) else {
            end(&mut child).map_err(failed)?;
            let (remote, seconds) = (self.remote.to_owned(), self.patience().as_secs());
            return Err(FetchError::Silent { action, remote, seconds });
        };
        let read = read.unwrap_or_else(|| Err(io::Error::other(Cancelled)));
        let is_unwanted = read.as_ref().map_or(true, |output| output.len() as u64 > MAX_OUTPUT);
        let status = if is_unwanted { end(&mut child) } else { child.wait() }.map_err(failed)?;
        let output = read.map_err(failed)?;
        let said = said.join().unwrap_or_default();
        if output.len() as u64 > MAX_OUTPUT {
            return Err(FetchError::Answer { action, remote: self.remote.to_owned() });
        }
        Ok((status, output, said))
    }

    /// Waits for the output of git, whose process group has that id. Returns `None` if it speaks to a
    /// remote that says nothing.
    fn await_output(
        &self,
        action: &'static str,
        group: u32,
        told: &Receiver<Output>,
    ) -> Option<Output> {
        if !SPEAKING.contains(&action) {
            return Some(told.recv().ok().flatten());
        }
        let mut watch = Watch::new(group, self.patience());
        loop {
            match told.recv_timeout(watch.pause()) {
                Err(RecvTimeoutError::Timeout) if watch.is_over() => return None,
                Err(RecvTimeoutError::Timeout) => {}
                output => return Some(output.ok().flatten()),
            }
        }
    }

    fn patience(&self) -> Duration {
        self.options.patience.unwrap_or(PATIENCE_WITH_REMOTES)
    }

    /// Reads git's output in a thread. `None` comes through the channel if the work is not wanted
    /// any more; the hook must be kept until then.
    fn listen(&self, stdout: ChildStdout) -> Result<(Receiver<Output>, OnCancel), ThreadError> {
        let (tell, told) = mpsc::channel();
        let tell_end = tell.clone();
        let hook = self.options.cancel.on_cancel(move || drop(tell_end.send(None)));
        thread::start("git-stdout", move || {
            let mut output = Vec::new();
            let read = stdout.take(MAX_OUTPUT + 1).read_to_end(&mut output);
            // Nobody listens any more if the work is not wanted.
            let _ = tell.send(Some(read.map(|_| output)));
        })?;
        Ok((told, hook))
    }

    fn command(&self, action: &'static str) -> Command {
        let mut command = Command::new(&self.program);
        let own = self.options.environment.iter().filter(|(name, _)| !name.starts_with("GIT_"));
        command.env_clear().envs(own.cloned()).envs([
            ("PATH", self.options.search_path.as_os_str()),
            ("HOME", self.home.as_os_str()),
            ("LC_ALL", OsStr::new("C")),
            ("GIT_CONFIG_NOSYSTEM", OsStr::new("1")),
            ("GIT_CONFIG_GLOBAL", OsStr::new("/dev/null")),
            ("GIT_ATTR_NOSYSTEM", OsStr::new("1")),
            ("GIT_TERMINAL_PROMPT", OsStr::new("0")),
            ("GIT_ASKPASS", OsStr::new("true")),
            ("GIT_PROTOCOL_FROM_USER", OsStr::new("0")),
            ("GIT_OPTIONAL_LOCKS", OsStr::new("0")),
            ("GIT_SSH_COMMAND", OsStr::new("ssh -oBatchMode=yes")),
        ]);
        // Arguments of git do not reach the processes that it starts for submodules.
        let mut allowed = String::from("git:http:https:ssh");
        let mut settings: Vec<&str> = SETTINGS.to_vec();
        if self.options.allow_files {
            allowed.push_str(":file");
            settings.push("protocol.file.allow=always");
        }
        command.env("GIT_ALLOW_PROTOCOL", allowed);
        if let Some(authorization) = &self.authorization {
            // The target of a redirect would get the secret too.
            settings.push("http.followRedirects=false");
            let key = format!("http.{}/.extraHeader", login::origin(self.remote));
            command.env("GIT_CONFIG_COUNT", "1");
            command.env("GIT_CONFIG_KEY_0", key);
            command.env("GIT_CONFIG_VALUE_0", format!("Authorization: {authorization}"));
        }
        for setting in settings {
            command.arg("-c").arg(setting);
        }
        command.current_dir(self.home);
        if let Some((folder, work)) = &self.places {
            command.arg("--git-dir").arg(folder).arg("--work-tree").arg(work).current_dir(work);
        }
        command.arg(action);
        command
    }
}

/// Ends git with the processes that it started, which are a group, and waits for them.
fn end(child: &mut Child) -> io::Result<ExitStatus> {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // All may have ended by themselves.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let status = child.wait();
    if let Some(group) = group {
        // They are children of this process if it adopts orphans. They were killed, so this is soon.
        let deadline = Instant::now() + PATIENCE;
        while let Ok(state) = waitpgid(group, WaitOptions::NOHANG)
            && Instant::now() < deadline
        {
            if state.is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    status
}

/// Returns the first executable file of that name in the absolute folders of `search_path`.
fn find(program: &str, search_path: &OsString) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let executable = |path: &PathBuf| {
        path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    let folders = std::env::split_paths(search_path).filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join(program)).find(executable)
}

/// Reads to the end and returns the last bytes.
fn last(mut input: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return kept,
            Ok(count) => {
                kept.extend_from_slice(&buffer[..count]);
                kept.drain(..kept.len().saturating_sub(MAX_SAID));
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // The text so far explains enough.
            Err(_) => return kept,
        }
    }
}

/// Returns git's error output on one line with a colon before it, without control characters: a
/// remote may have sent them.
fn printable(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines = text.lines().map(|line| {
        let visible = line.chars().filter(|c| !c.is_control());
        visible.collect::<String>().trim().to_owned()
    });
    let lines: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { String::new() } else { format!(": {}", lines.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_said_is_one_safe_line() {
        assert_eq!(printable(b""), "");
        assert_eq!(
            printable(b"remote: \x1b[31mno\x07\r\nfatal: x\n"),
            ": remote: [31mno; fatal: x"
        );
        assert_eq!(last(&vec![b'x'; 100_000][..]).len(), MAX_SAID);
    }
}
