//! Credential helpers: programs named `docker-credential-NAME`.
//!
//! **Source** — docker CLI reference § Credential helper protocol.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use xbuild_model::thread;
use xbuild_model::ward::Ward;

use crate::auth::credential::{Credential, Secret};
use crate::error::CredentialsError;

/// Time that a helper may take. Some unlock a keychain or ask a cloud for a token, which takes
/// seconds; a helper that waits for a person would hold up the build for ever.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a helper's answer that are read: a token has a few KiB.
const MAX_ANSWER: u64 = 64 << 10;

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
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

/// Asks the helper `name` for the credential of `server`; `None` if it has none.
pub(crate) fn get(
    name: &str,
    server: &str,
    search_path: &[PathBuf],
) -> Result<Option<Credential>, CredentialsError> {
    check_name(name)?;
    let program = format!("docker-credential-{name}");
    let path = find(&program, search_path)
        .ok_or_else(|| CredentialsError::HelperMissing { program: program.clone() })?;
    let (success, answer) = run(&program, &path, server, TIMEOUT)?;
    parse(success, &answer).map_err(|reason| CredentialsError::HelperAnswer { program, reason })
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

/// Runs the helper and returns whether it succeeded, and its output. Its stderr is dropped, since
/// it may hold secrets.
fn run(
    program: &str,
    path: &Path,
    server: &str,
    timeout: Duration,
) -> Result<(bool, Vec<u8>), CredentialsError> {
    let failed = |source| CredentialsError::HelperRun { program: program.to_owned(), source };
    let wrong = |reason| CredentialsError::HelperAnswer { program: program.to_owned(), reason };
    let deadline = Instant::now() + timeout;
    let mut child = Command::new(path)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let _ward = Ward::of_process(child.id());
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A helper may ignore its input; only its answer counts.
    let _ = stdin.write_all(server.as_bytes());
    drop(stdin);
    let stdout = child.stdout.take().expect("stdout is piped");
    let (sender, receiver) = mpsc::channel();
    // On a thread: a grandchild can keep the pipe open after the helper was killed.
    let reader = thread::start("credentials", move || {
        let mut answer = Vec::new();
        let read = stdout.take(MAX_ANSWER + 1).read_to_end(&mut answer);
        let _ = sender.send(read.map(|_| answer));
    });
    let answer = match reader.map(|_| receiver.recv_timeout(timeout)) {
        Ok(Ok(answer)) => answer.map_err(failed),
        Ok(Err(_)) => Err(wrong("it took too long")),
        Err(error) => Err(failed(error.into())),
    };
    let status = answer.and_then(|answer| match wait_until(&mut child, deadline) {
        Ok(Some(status)) => Ok((status.success(), answer)),
        Ok(None) => Err(wrong("it took too long")),
        Err(error) => Err(failed(error)),
    });
    if status.is_err() {
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
    let (success, answer) = status?;
    if answer.len() as u64 > MAX_ANSWER {
        return Err(wrong("its answer is too long"));
    }
    Ok((success, answer))
}

fn wait_until(
    child: &mut Child,
    deadline: Instant,
) -> std::io::Result<Option<std::process::ExitStatus>> {
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(Some(status)),
            None if Instant::now() >= deadline => return Ok(None),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn parse(success: bool, answer: &[u8]) -> Result<Option<Credential>, &'static str> {
    if !success {
        let text = String::from_utf8_lossy(answer);
        let unknown = text.contains("credentials not found") || text.trim().is_empty();
        return if unknown { Ok(None) } else { Err("it failed") };
    }
    let answer: Answer = serde_json::from_slice(answer).map_err(|_| "its answer is not JSON")?;
    let secret = Secret::new(answer.secret);
    Ok(match answer.username.as_str() {
        "" => None,
        "<token>" => Some(Credential::Identity { token: secret }),
        _ => Some(Credential::Basic { user: answer.username, password: secret }),
    })
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn asks_about_the_server() {
        let (_folder, search) =
            helper(r#"read -r server; echo "{\"Username\":\"$1\",\"Secret\":\"for $server\"}""#);
        let found = get("test", "r.example:5000", &search).unwrap();
        let password = Secret::new("for r.example:5000");
        assert_eq!(found, Some(Credential::Basic { user: "get".to_owned(), password }));
    }

    #[test]
    fn knows_what_helpers_answer() {
        let token = Credential::Identity { token: Secret::new("t") };
        assert_eq!(parse(true, br#"{"Username":"<token>","Secret":"t"}"#), Ok(Some(token)));
        assert_eq!(parse(false, b"credentials not found in native keychain\n"), Ok(None));
        assert_eq!(parse(false, b"keychain is locked"), Err("it failed"));
        assert!(parse(true, b"not json").is_err());
    }

    #[test]
    fn does_not_wait_for_ever() {
        let (folder, _) = helper("exec sleep 60");
        let path = folder.path().join("docker-credential-test");
        let start = Instant::now();
        let error = run("test", &path, "r.example", Duration::from_millis(200)).unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn refuses_names_that_are_paths() {
        for bad in ["", "a/b", "../x", "a b", "a\0"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
