//! Commands that are not steps of a build: somebody sits in front of them.

use std::io;
use std::os::fd::OwnedFd;

use crate::protocol;
use crate::wire;

/// The standard streams of a command that somebody sits in front of.
#[derive(Debug)]
pub enum Streams {
    /// Standard input, output and error.
    Three([OwnedFd; 3]),
    /// A terminal of its own, from [`Streams::terminal`].
    Terminal(OwnedFd),
}

/// The other side of a command's terminal, before there is one.
#[derive(Debug)]
pub struct Terminal(OwnedFd);

impl Streams {
    /// Returns streams with a terminal of their own, and its other side.
    ///
    /// **Errors** — the kernel has no sockets left.
    pub fn terminal() -> io::Result<(Self, Terminal)> {
        let (socket, end) = wire::pair()?;
        Ok((Self::Terminal(end), Terminal(socket)))
    }

    pub(super) fn kind(&self) -> protocol::Streams {
        match self {
            Self::Three(_) => protocol::Streams::Three,
            Self::Terminal(_) => protocol::Streams::Terminal,
        }
    }

    pub(super) fn into_descriptors(self) -> Vec<OwnedFd> {
        match self {
            Self::Three(files) => files.into(),
            Self::Terminal(socket) => vec![socket],
        }
    }
}

impl Terminal {
    /// Waits for the command to start, and returns the side that shows what it writes and takes what
    /// it reads; `None` if it did not start.
    pub fn wait(self) -> Option<OwnedFd> {
        let (_, fds) = wire::receive(self.0).ok()??;
        fds.into_iter().next()
    }
}
