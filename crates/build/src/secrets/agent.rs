//! SSH agents: the user's own, or one that is started to serve keys.
//!
//! The agent is OpenSSH's own `ssh-agent`, so keys of all kinds work, and no code of ours parses
//! them. It ends with this process, even if that is killed: an agent serves for as long as the
//! command that it was given, and that command waits for our end of a pipe.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use xbuild_model::run::SecretBytes;
use xbuild_model::ward::Ward;
use xbuild_model::{Digest, FailureKind, StepFailure};
use xbuild_store::{Store, StoreError, TempFolder};
use xbuild_wording::{Hint, hints};

use super::bounded::read_bounded;
use crate::error::SecretError;
use crate::machine::Machine;
use crate::request::AgentSource;

/// The largest key in bytes; the largest RSA keys in use have a tenth of that.
const MAX_KEY: u64 = 100 << 10;
/// The command of the agent: tells the id of its process, then waits for the end of its input.
const WAITER: &str = "echo \"$SSH_AGENT_PID\" && exec cat > /dev/null";

/// The keeper of the keys of an id.
#[derive(Debug)]
pub(super) enum Agent {
    /// An agent that runs already.
    Socket(PathBuf),
    /// This process, which starts one agent for them.
    Keys {
        keys: Vec<Key>,
        search_path: OsString,
        store: Arc<Store>,
        started: Mutex<Option<Started>>,
    },
}

/// A private key.
#[derive(Debug)]
pub(super) struct Key {
    path: PathBuf,
    text: SecretBytes,
}

impl Agent {
    /// Finds a running agent, or reads the keys for one to start, whose socket will be in `store`.
    pub(super) fn read(
        source: &AgentSource,
        machine: &Machine,
        store: &Arc<Store>,
    ) -> Result<Self, SecretError> {
        let AgentSource { id, paths } = source;
        let fail = |reason: String, hint: Option<Hint>| SecretError::Agent {
            source_text: source.to_string(),
            reason,
            hint,
        };
        let paths = match (paths.is_empty(), &machine.ssh_agent) {
            (false, _) => paths.clone(),
            (true, Some(socket)) => vec![socket.clone()],
            (true, None) => {
                let hint = hints::start_agent(id);
                return Err(fail("SSH_AUTH_SOCK is not set".to_owned(), Some(hint)));
            }
        };
        let mut keys = Vec::new();
        for path in &paths {
            let meta = fs::metadata(path)
                .map_err(|error| fail(format!("cannot use {}: {error}", path.display()), None))?;
            if meta.file_type().is_socket() {
                if paths.len() > 1 {
                    return Err(fail("one socket, or keys only".to_owned(), None));
                }
                let path = std::path::absolute(path)
                    .map_err(|error| SecretError::Socket { path: path.clone(), error })?;
                return Ok(Self::Socket(path));
            }
            keys.push(
                Key::read(path)
                    .map_err(|reason| fail(format!("the key {} {reason}", path.display()), None))?,
            );
        }
        for program in ["ssh-agent", "ssh-add"] {
            if !is_installed(program, &machine.search_path) {
                return Err(SecretError::Program { id: id.clone(), program });
            }
        }
        let (search_path, store) = (machine.search_path.clone(), Arc::clone(store));
        Ok(Self::Keys { keys, search_path, store, started: Mutex::new(None) })
    }

    /// Returns a digest of the keys or the socket, which never leaves this process.
    pub(super) fn identity(&self) -> Digest {
        match self {
            Self::Socket(path) => Digest::of(path.as_os_str().as_encoded_bytes()),
            Self::Keys { keys, .. } => {
                let keys = keys.iter().map(|key| Digest::of(&key.text.0).to_string());
                Digest::of(keys.collect::<Vec<_>>().join(" ").as_bytes())
            }
        }
    }

    /// Returns the socket of the agent, and starts the agent if necessary. Only this process can
    /// use the path.
    ///
    /// **Errors** — kind `User` if a key cannot be used, `Environment` if no agent starts.
    pub(super) fn socket(&self) -> Result<PathBuf, StepFailure> {
        let (keys, search_path, store, started) = match self {
            Self::Socket(path) => return Ok(path.clone()),
            Self::Keys { keys, search_path, store, started } => (keys, search_path, store, started),
        };
        let mut started = started.lock().unwrap_or_else(PoisonError::into_inner);
        let agent = match started.take() {
            Some(agent) => agent,
            None => Started::new(keys, search_path, store)?,
        };
        let socket = agent.socket();
        *started = Some(agent);
        Ok(socket)
    }
}

impl Key {
    fn read(path: &Path) -> Result<Self, String> {
        let text =
            read_bounded(path, MAX_KEY).map_err(|error| format!("cannot be read: {error}"))?;
        if text.len() as u64 > MAX_KEY {
            return Err(format!("is larger than {} KiB", MAX_KEY >> 10));
        }
        if !text.windows(12).any(|part| part == b"PRIVATE KEY-") {
            return Err("is not a private key".to_owned());
        }
        Ok(Self { path: path.to_owned(), text: SecretBytes(text) })
    }
}

/// Why an agent cannot be started.
#[derive(Debug, thiserror::Error)]
enum AgentError {
    #[error(transparent)]
    Folder(StoreError),
    #[error("cannot start ssh-agent")]
    Start(#[source] io::Error),
    #[error("ssh-agent ended at once: {output}")]
    Ended { output: String },
    #[error("cannot start ssh-add")]
    Add(#[source] io::Error),
    #[error("the key {} cannot be used: {output}", path.display())]
    Key { path: PathBuf, output: String },
}

impl From<AgentError> for StepFailure {
    fn from(error: AgentError) -> Self {
        let kind = match error {
            AgentError::Folder(error) => return error.into(),
            AgentError::Key { .. } => FailureKind::User,
            _ => FailureKind::Environment,
        };
        let is_key = matches!(error, AgentError::Key { .. });
        let failure = StepFailure::new(kind, error);
        if !is_key {
            return failure;
        }
        failure.with_hint(hints::key_with_passphrase())
    }
}

/// An agent that this process started; dropping it ends the agent.
#[derive(Debug)]
pub(super) struct Started {
    /// The folder of the socket, which the store removes some day if this process is killed.
    folder: TempFolder,
    /// The same, since names of sockets are short and the store's path may be long.
    opened: File,
    agent: Option<Pid>,
    waiter: Child,
    /// The waiter and the agent.
    wards: Vec<Ward>,
}

impl Started {
    fn new(keys: &[Key], search_path: &OsStr, store: &Store) -> Result<Self, AgentError> {
        // Only this user may enter the folder.
        let folder = store.temp_dir("ssh").map_err(AgentError::Folder)?;
        let opened = File::open(folder.path()).map_err(AgentError::Start)?;
        let mut command = program("ssh-agent", search_path, folder.path());
        command.args(["-a", SOCKET, "sh", "-c", WAITER]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let waiter = command.spawn().map_err(AgentError::Start)?;
        let wards = vec![Ward::of_process(waiter.id())];
        let mut started = Self { folder, opened, agent: None, waiter, wards };
        let mut line = String::new();
        if let Some(stdout) = started.waiter.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(AgentError::Start)?;
        }
        started.agent = line.trim().parse().ok().and_then(Pid::from_raw);
        let Some(agent) = started.agent else {
            return Err(AgentError::Ended { output: started.errors() });
        };
        started.wards.push(Ward::of_process(agent.as_raw_nonzero().get().unsigned_abs()));
        keys.iter().try_for_each(|key| started.add(key, search_path))?;
        Ok(started)
    }

    fn socket(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", self.opened.as_raw_fd()))
    }

    /// Returns the standard error of an agent that has ended.
    fn errors(&mut self) -> String {
        drop(self.waiter.stdin.take());
        let mut text = String::new();
        if let Some(mut stderr) = self.waiter.stderr.take() {
            // A part of the text is better than nothing.
            let _ = io::Read::read_to_string(&mut stderr, &mut text);
        }
        text.trim().to_owned()
    }

    /// Hands a key to the agent, through a pipe: `ssh-add` refuses files that others can read.
    fn add(&self, key: &Key, search_path: &OsStr) -> Result<(), AgentError> {
        let mut command = program("ssh-add", search_path, self.folder.path());
        command.args(["-q", "-"]).env("SSH_AUTH_SOCK", SOCKET);
        // Never ask for a passphrase: there may be no user, or several steps that ask.
        command.env("SSH_ASKPASS", "false").env("SSH_ASKPASS_REQUIRE", "force");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(AgentError::Add)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A failure to write is followed by a message of ssh-add.
            let _ = stdin.write_all(&key.text.0).and_then(|()| stdin.write_all(b"\n"));
        }
        let output = child.wait_with_output().map_err(AgentError::Add)?;
        if output.status.success() {
            return Ok(());
        }
        let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(AgentError::Key { path: key.path.clone(), output })
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(agent) = self.agent {
            // The agent may have ended already.
            let _ = kill_process(agent, Signal::TERM);
        }
        self.wards.clear();
        drop(self.waiter.stdin.take());
        let _ = self.waiter.wait();
        // Without the waiter the agent is a child of this process, if that adopts orphans.
        let deadline = Instant::now() + PATIENCE;
        while let Some(agent) = self.agent
            && let Ok(None) = waitpid(Some(agent), WaitOptions::NOHANG)
            && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The time that an agent has to end once it is told to.
const PATIENCE: Duration = Duration::from_secs(1);

/// The name of the socket in its folder.
const SOCKET: &str = "agent";

/// Returns a command in `folder`, whose environment has only `PATH`.
fn program(name: &str, search_path: &OsStr, folder: &Path) -> Command {
    let mut command = Command::new(name);
    command.env_clear().env("PATH", search_path).current_dir(folder);
    command
}

fn is_installed(program: &str, search_path: &OsStr) -> bool {
    std::env::split_paths(search_path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        let search_path = std::env::var_os("PATH").unwrap_or_default();
        Machine { search_path, ..Machine::default() }
    }

    fn agent(folder: &Path, paths: &[PathBuf]) -> Result<Agent, SecretError> {
        let store = Arc::new(Store::open(&folder.join("store")).unwrap());
        Agent::read(&AgentSource { id: "a".to_owned(), paths: paths.to_vec() }, &machine(), &store)
    }

    #[test]
    fn tells_sockets_from_keys() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        fs::write(path("text"), "no key").unwrap();
        let agent = |paths: &[PathBuf]| super::tests::agent(folder.path(), paths);
        assert!(matches!(agent(&[path("socket")]).unwrap(), Agent::Socket(_)));
        for (paths, word) in [
            (&[path("socket"), path("text")][..], "one socket"),
            (&[path("text")], "is not a private key"),
            (&[path("none")], "cannot use"),
            (&[], "SSH_AUTH_SOCK is not set"),
        ] {
            let error = agent(paths).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn keys_are_served_until_the_end() {
        if !["ssh-agent", "ssh-add", "ssh-keygen"]
            .into_iter()
            .all(|name| is_installed(name, &machine().search_path))
        {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let generate = |path: &Path, passphrase: &str| {
            let mut command = Command::new("ssh-keygen");
            command.args(["-q", "-t", "ed25519", "-N", passphrase, "-f"]).arg(path);
            assert!(command.status().unwrap().success());
        };
        generate(&path, "");
        // ssh-add itself refuses this mode, which keys in a checkout have.
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        // Longer than the name of a socket can be.
        let long = folder.path().join("x".repeat(120));
        let served = agent(&long, std::slice::from_ref(&path)).unwrap();
        let socket = served.socket().unwrap();
        assert_eq!(served.socket().unwrap(), socket, "one agent serves all steps");
        let name = socket.strip_prefix("/proc/self/fd").unwrap();
        let list = program("ssh-add", &machine().search_path, folder.path())
            .arg("-L")
            .env("SSH_AUTH_SOCK", Path::new(&format!("/proc/{}/fd", std::process::id())).join(name))
            .output()
            .unwrap();
        let public = fs::read_to_string(path.with_extension("pub")).unwrap();
        let words = |text: &str| text.split(' ').nth(1).map(str::to_owned);
        assert_eq!(words(&String::from_utf8(list.stdout).unwrap()), words(&public));
        drop(served);
        assert!(!socket.exists());

        let locked = folder.path().join("locked");
        generate(&locked, "passphrase");
        let failure = agent(&long, &[locked]).unwrap().socket().unwrap_err();
        assert_eq!(failure.kind(), FailureKind::User);
        assert!(failure.hint().unwrap().contains("passphrase"));
    }
}
