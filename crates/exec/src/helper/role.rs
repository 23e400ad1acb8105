//! Telling the helper from an ordinary run of the program: by its `argv[0]` and its socket.

use std::process::ExitCode;

use rustix::net::SocketType;

use super::serve;
use super::tasks::Tasks;
use crate::protocol;

/// Does the work of the helper if this process was started as one.
///
/// To be called first thing in `main`, before there is any thread: the helper moves into other
/// namespaces and forks. Returns `None` in an ordinary run of the program, at once.
pub fn role(tasks: &Tasks) -> Option<ExitCode> {
    let called = std::env::args_os().next()?;
    let socket = || rustix::net::sockopt::socket_type(rustix::stdio::stdin());
    if called != protocol::HELPER || socket() != Ok(SocketType::SEQPACKET) {
        return None;
    }
    Some(serve::serve(tasks))
}
