//! Being started a second time: the helper is the same program, told apart by its `argv[0]`.
//!
//! Inside of the namespace the calling user is root, so a command that got hold of the program's file
//! could overwrite it: the helper is executed from where that is not possible, see [`sealed`].

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};

use rustix::net::SocketType;

use super::serve;
use super::tasks::Tasks;
use crate::idmap::IdMap;
use crate::sealed;

/// The `argv[0]` of the helper, which process listings show.
const MARKER: &str = "xbuild-namespace";

/// Does the work of the helper if this process was started as one.
///
/// To be called first thing in `main`, before there is any thread: the helper moves into other
/// namespaces and forks. Returns `None` in an ordinary run of the program, at once.
pub fn role(tasks: &Tasks) -> Option<ExitCode> {
    let called = std::env::args_os().next()?;
    let socket = || rustix::net::sockopt::socket_type(rustix::stdio::stdin());
    if called != MARKER || socket() != Ok(SocketType::SEQPACKET) {
        return None;
    }
    Some(serve::serve(tasks))
}

/// Starts the helper; `socket` becomes its standard input, `map` will be its namespace's.
pub(crate) fn start(socket: OwnedFd, map: &IdMap) -> io::Result<Child> {
    let program = sealed::program(File::open("/proc/self/exe")?, map)?;
    // Nothing of the caller's environment: secrets may be in it.
    Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
        .arg0(MARKER)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null())
        .spawn()
}
