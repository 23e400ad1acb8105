//! Programs of this machine.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs a program that must succeed, and returns its standard output.
#[track_caller]
pub(crate) fn tool<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> String {
    let output = command(program).args(args).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a program without output, and returns whether it succeeded.
pub(crate) fn quiet<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> bool {
    let status = command(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Returns the command of a program. skopeo looks for logins in `/run/containers` unless the folder of the
/// session is set, and ends where root's podman has closed it.
fn command(program: &str) -> Command {
    let mut command = Command::new(found_in_path(program));
    command.env("XDG_RUNTIME_DIR", "/nonexistent");
    command
}

pub(crate) fn in_path(program: &str) -> bool {
    found_in_path(program).is_file()
}

/// Returns the path of a program in PATH, or of the one that `fixtures/base-images tools` got; only its
/// name if there is none.
pub(crate) fn found_in_path(program: &str) -> PathBuf {
    let path = search_path();
    let mut candidates = std::env::split_paths(&path).map(|folder| folder.join(program));
    candidates.find(|path| path.is_file()).unwrap_or_else(|| program.into())
}

/// Returns PATH, and after it the folder of the tools that were fetched.
pub(crate) fn search_path() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([cached("tools")]);
    std::env::join_paths(folders).unwrap()
}

/// Returns the folder of the checkout: `XBUILD_CHECKOUT`, or the one that the suite was compiled in.
pub(crate) fn checkout() -> PathBuf {
    let other = std::env::var_os("XBUILD_CHECKOUT").map(PathBuf::from);
    other.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into())
}

/// Returns the path of the program under test, which another checkout has in its `target/debug`.
pub(crate) fn program() -> PathBuf {
    match std::env::var_os("XBUILD_CHECKOUT") {
        Some(other) => Path::new(&other).join("target/debug/xbuild"),
        None => env!("CARGO_BIN_EXE_xbuild").into(),
    }
}

/// Returns the path of something that `fixtures/base-images` made.
pub(crate) fn cached(name: &str) -> PathBuf {
    checkout().join("fixtures/.cache").join(name)
}
