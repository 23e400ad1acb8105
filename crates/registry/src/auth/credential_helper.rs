//! Credential helpers: programs named `docker-credential-NAME`.
//!
//! **Source** — docker CLI reference § Credential helper protocol.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use xbuild_image::printable::printable;
use xbuild_model::Cancel;
use xbuild_model::thread;
use xbuild_model::ward::Ward;

use crate::auth::credential::{Credential, Secret};
use crate::error::CredentialsError;

/// Time after which the user is told what is waited for.
const QUIET: Duration = Duration::from_secs(5);
/// Time between two looks at whether the helper is still wanted.
const TICK: Duration = Duration::from_millis(100);
/// Bytes of a helper's answer that are read: a token has a few KiB.
const MAX_ANSWER: u64 = 64 << 10;

/// Go's helpers write `null` for what they do not have.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    username: Option<String>,
    #[serde(rename = "Secret", default)]
    secret: Option<String>,
}

/// Checks that `name` can be part of a file name.
pub(crate) fn check_name(name: &str) -> Result<(), CredentialsError> {
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.is_empty() && name.len() <= 100 && name.chars().all(valid) {
        Ok(())
    } else {
        Err(CredentialsError::HelperName { name: name.chars().take(100).collect() })
    }
}

/// A helper that takes a while.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting<'a> {
    /// The program.
    pub(crate) program: &'a str,
    /// The time that it may take in all.
    pub(crate) patience: Duration,
}

/// The way to run helpers.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    /// The folders with programs.
    pub(crate) search_path: &'a [PathBuf],
    /// The time that a helper may take.
    pub(crate) patience: Duration,
    /// Ends helpers that are not wanted any more.
    pub(crate) cancel: &'a Cancel,
    /// Called once for a helper that takes a while.
    pub(crate) waiting: &'a dyn Fn(&Waiting<'_>),
}

impl Run<'_> {
    /// Asks the helper `name` for the credential of `server`; `None` if it has none.
    pub(crate) fn get(
        &self,
        name: &str,
        server: &str,
    ) -> Result<Option<Credential>, CredentialsError> {
        let program = program(name)?;
        let ended = self.run(&program, "get", server.as_bytes())?;
        parse(&ended).map_err(|reason| CredentialsError::HelperAnswer { program, reason })
    }
}

impl Run<'_> {
    /// Lets the helper `name` keep a credential.
    pub(crate) fn store(
        &self,
        name: &str,
        server: &str,
        user: &str,
        password: &Secret,
    ) -> Result<(), CredentialsError> {
        let login = json!({"ServerURL": server, "Username": user, "Secret": password.expose()});
        self.tell(name, "store", login.to_string().as_bytes())
    }

    /// Lets the helper `name` forget the credential of `server`. One that it does not have is no
    /// error.
    pub(crate) fn erase(&self, name: &str, server: &str) -> Result<(), CredentialsError> {
        self.tell(name, "erase", server.as_bytes())
    }

    fn tell(&self, name: &str, action: &str, input: &[u8]) -> Result<(), CredentialsError> {
        let program = program(name)?;
        let ended = self.run(&program, action, input)?;
        // A helper has no message for what it does not have.
        let is_gone = action == "erase" && (has_none(&ended) || said(&ended).is_none());
        if ended.status.success() || is_gone {
            return Ok(());
        }
        Err(CredentialsError::HelperAnswer { program, reason: reason(&ended) })
    }
}

fn program(name: &str) -> Result<String, CredentialsError> {
    check_name(name)?;
    Ok(format!("docker-credential-{name}"))
}

/// Returns the first executable file of that name in the absolute folders of `search_path`.
fn find(program: &str, search_path: &[PathBuf]) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let executable = |path: &PathBuf| {
        path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    let absolute = search_path.iter().filter(|folder| folder.is_absolute());
    absolute.map(|folder| folder.join(program)).find(executable)
}

/// A helper that has ended.
struct Ended {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Run<'_> {
    /// Runs a helper.
    fn run(&self, program: &str, action: &str, input: &[u8]) -> Result<Ended, CredentialsError> {
        let path = find(program, self.search_path)
            .ok_or_else(|| CredentialsError::HelperMissing { program: program.to_owned() })?;
        let failed = |source| CredentialsError::HelperRun { program: program.to_owned(), source };
        let mut child = Command::new(path)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let _ward = Ward::of_process(child.id());
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // A helper may ignore its input; only its answer counts.
        let _ = stdin.write_all(input);
        drop(stdin);
        let stdout = read(child.stdout.take().expect("stdout is piped"));
        let stderr = read(child.stderr.take().expect("stderr is piped"));
        let ended = self.wait(program, &mut child, &stdout, &stderr);
        if ended.is_err() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        ended
    }

    /// Waits until a helper has ended and its answer is here.
    fn wait(
        &self,
        program: &str,
        child: &mut Child,
        stdout: &Output,
        stderr: &Output,
    ) -> Result<Ended, CredentialsError> {
        let failed = |source| CredentialsError::HelperRun { program: program.to_owned(), source };
        let wrong = |reason: &str| CredentialsError::HelperAnswer {
            program: program.to_owned(),
            reason: reason.to_owned(),
        };
        let (begin, mut told) = (Instant::now(), false);
        let (mut status, mut answer, mut ended) = (None, None, None);
        loop {
            // A helper that ends its output may go on, and one that ends may leave a process with
            // its output.
            if status.is_none() {
                status = child.try_wait().map_err(failed)?;
                ended = status.map(|_| Instant::now());
            }
            if answer.is_none() {
                answer = stdout.next(if status.is_some() { TICK } else { TICK / 10 });
            } else if status.is_none() {
                std::thread::sleep(Duration::from_millis(5));
            }
            if let (Some(status), Some(answer)) = (status, answer.take_if(|_| status.is_some())) {
                let stdout = answer.map_err(failed)?;
                if stdout.len() as u64 > MAX_ANSWER {
                    return Err(wrong("its answer is too long"));
                }
                let stderr = stderr.next(TICK).and_then(Result::ok).unwrap_or_default();
                return Ok(Ended { status, stdout, stderr });
            }
            if ended.is_some_and(|ended| ended.elapsed() > QUIET) {
                return Err(wrong("it left a process that keeps its output open"));
            }
            if self.cancel.is_cancelled() {
                return Err(wrong("the work was given up"));
            }
            let waited = begin.elapsed();
            if waited >= self.patience {
                let seconds = self.patience.as_secs();
                return Err(CredentialsError::HelperSlow { program: program.to_owned(), seconds });
            }
            if waited >= QUIET && !told {
                told = true;
                (self.waiting)(&Waiting { program, patience: self.patience });
            }
        }
    }
}

/// The bytes of a pipe, once it is closed.
struct Output(mpsc::Receiver<std::io::Result<Vec<u8>>>);

impl Output {
    fn next(&self, patience: Duration) -> Option<std::io::Result<Vec<u8>>> {
        self.0.recv_timeout(patience).ok()
    }
}

/// Reads a pipe on a thread: a grandchild can keep it open after the helper was killed.
fn read(pipe: impl Read + Send + 'static) -> Output {
    let (sender, receiver) = mpsc::channel();
    let refused = sender.clone();
    let started = thread::start("credentials", move || {
        let mut bytes = Vec::new();
        let read = pipe.take(MAX_ANSWER + 1).read_to_end(&mut bytes);
        let _ = sender.send(read.map(|_| bytes));
    });
    if let Err(error) = started {
        let _ = refused.send(Err(error.into()));
    }
    Output(receiver)
}

fn parse(ended: &Ended) -> Result<Option<Credential>, String> {
    if !ended.status.success() {
        return if has_none(ended) { Ok(None) } else { Err(reason(ended)) };
    }
    let answer: Answer = serde_json::from_slice(&ended.stdout)
        .map_err(|_| "its answer is not JSON of user name and secret".to_owned())?;
    let (user, secret) = (answer.username.unwrap_or_default(), answer.secret.unwrap_or_default());
    let secret = Secret::new(secret);
    Ok(match user.as_str() {
        "" => None,
        "<token>" => Some(Credential::Identity { token: secret }),
        _ => Some(Credential::Basic { user, password: secret }),
    })
}

/// Returns whether a helper that failed says that it has no credential.
fn has_none(ended: &Ended) -> bool {
    String::from_utf8_lossy(&ended.stdout).contains("credentials not found")
}

/// Returns what a helper that failed says: the protocol has it on standard output.
fn said(ended: &Ended) -> Option<String> {
    [&ended.stdout, &ended.stderr]
        .map(|bytes| printable(String::from_utf8_lossy(bytes).trim(), 300))
        .into_iter()
        .find(|text| !text.is_empty())
}

/// Returns why a helper failed.
fn reason(ended: &Ended) -> String {
    said(ended).unwrap_or_else(|| format!("it failed without a word ({})", ended.status))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn helper(script: &str) -> (tempfile::TempDir, Vec<PathBuf>) {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker-credential-test");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let search = vec![PathBuf::from("relative"), folder.path().to_owned()];
        (folder, search)
    }

    fn get(search_path: &[PathBuf], patience: Duration) -> Result<Option<Credential>, String> {
        let (cancel, waiting) = (Cancel::default(), |_: &Waiting<'_>| {});
        let run = Run { search_path, patience, cancel: &cancel, waiting: &waiting };
        run.get("test", "r.example:5000").map_err(|error| error.to_string())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn asks_about_the_server() {
        let (_folder, search) =
            helper(r#"read -r server; echo "{\"Username\":\"$1\",\"Secret\":\"for $server\"}""#);
        let password = Secret::new("for r.example:5000");
        let expected = Credential::Basic { user: "get".to_owned(), password };
        assert_eq!(get(&search, LONG), Ok(Some(expected)));
    }

    #[test]
    fn knows_what_helpers_answer() {
        let token = Credential::Identity { token: Secret::new("t") };
        let parse = |success, stdout: &[u8], stderr: &[u8]| {
            let status = ExitStatus::from_raw(if success { 0 } else { 2 << 8 });
            parse(&Ended { status, stdout: stdout.to_vec(), stderr: stderr.to_vec() })
        };
        let nothing = br#"{"ServerURL":"x","Username":null,"Secret":null}"#;
        assert_eq!(parse(true, nothing, b""), Ok(None));
        assert_eq!(parse(true, b"{}", b""), Ok(None));
        assert_eq!(parse(true, br#"{"Username":"<token>","Secret":"t"}"#, b"x"), Ok(Some(token)));
        assert_eq!(parse(false, b"credentials not found in native keychain\n", b""), Ok(None));
        let locked = Err("keychain is locked".to_owned());
        assert_eq!(parse(false, b"keychain is locked\n", b"other"), locked);
        assert_eq!(parse(false, b"", b"keychain is locked"), locked);
        let silent = Err("it failed without a word (exit status: 2)".to_owned());
        assert_eq!(parse(false, b" \n", b""), silent);
        assert_eq!(parse(false, b"a\x1b]52;b", b""), Err("a\\u{1b}]52;b".to_owned()));
        let long = parse(false, &b"x".repeat(5000), b"").unwrap_err();
        assert_eq!(long.len(), 300);
        assert!(parse(true, b"not json", b"").is_err());
    }

    #[test]
    fn waits_as_long_as_it_may_and_no_longer() {
        let (_folder, search) = helper("exec sleep 60");
        let start = Instant::now();
        let error = get(&search, Duration::from_millis(200)).unwrap_err();
        assert!(error.contains("docker-credential-test has not answered"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(50));
        // A process that it leaves behind with its output does not count.
        let (_folder, search) = helper("sleep 60 & echo '{\"Username\":\"\",\"Secret\":\"\"}'");
        assert!(get(&search, Duration::from_millis(500)).is_err());
        assert!(start.elapsed() < Duration::from_secs(50));
    }

    #[test]
    fn refuses_names_that_are_paths() {
        for bad in ["", "a/b", "../x", "a b", "a\0"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
