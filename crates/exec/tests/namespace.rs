//! Runs real commands in real namespaces.
//!
//! No harness: the helper is this program, started again, and `role` must be the first call of
//! `main`. Started as root, everything runs a second time as an ordinary user.

// The lint knows functions marked as tests only.
#![allow(clippy::unwrap_used)]

#[path = "namespace/folders.rs"]
mod folders;
#[path = "namespace/hostile.rs"]
mod hostile;
#[path = "namespace/joined.rs"]
mod joined;
#[path = "namespace/mounts.rs"]
mod mounts;
#[path = "namespace/nodes.rs"]
mod nodes;
#[path = "namespace/spans.rs"]
mod spans;
#[path = "namespace/steps.rs"]
mod steps;
#[path = "namespace/support.rs"]
mod support;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use xbuild_exec::{Tasks, role};

/// Set for the run that root starts as an ordinary user.
const SECOND_RUN: &str = "XBUILD_TEST_SECOND_RUN";

/// The user `nobody`: exists everywhere and has no subordinate ids.
const NOBODY: u32 = 65534;

fn main() -> ExitCode {
    let tasks = Tasks::new()
        .with("test.remove", support::remove)
        .with("test.echo", support::echo)
        .with("test.mounts", support::mounts);
    if let Some(code) = role(&tasks) {
        return code;
    }
    if std::env::args().nth(1).is_some_and(|arg| arg == support::HOLD) {
        return support::hold();
    }
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mut failed = support::run_all(
        &[steps::ALL, mounts::ALL, nodes::ALL, joined::ALL, hostile::ALL, folders::ALL, spans::ALL]
            .concat(),
        &filter,
    );
    let root = rustix::process::geteuid().is_root();
    if root && std::env::var_os(SECOND_RUN).is_none() {
        println!("\nas an ordinary user:");
        let status = Command::new("/proc/self/exe")
            .args(std::env::args().skip(1))
            .env(SECOND_RUN, "1")
            .uid(NOBODY)
            .gid(NOBODY)
            .status();
        failed |= !status.is_ok_and(|status| status.success());
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
