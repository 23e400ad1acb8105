//! Calls that wait for a step's supervisor, and their answers.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::policy;
use crate::sys;

/// A call that waits for its answer.
#[derive(Debug)]
pub(crate) struct Notice {
    id: u64,
    /// The calling thread, as numbered in the pid namespace of whoever received the notice.
    pub thread: u32,
    /// The call; `None` if its number has no name.
    pub call: Option<Call>,
}

/// A call with its arguments, as the caller left them in its registers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) args: [u64; 6],
    /// Whether it was made in the way of the host's 32-bit sibling.
    pub(crate) is_compat: bool,
}

/// Receives the next call from a listener that has one. `None` if the caller is gone.
pub(crate) fn receive(listener: &OwnedFd) -> io::Result<Option<Notice>> {
    match sys::receive_notice(listener) {
        Ok(notice) => {
            let data = notice.data;
            let call = policy::name(data.arch, data.nr.cast_unsigned()).map(|name| Call {
                name,
                args: data.args,
                is_compat: policy::is_compat(data.arch),
            });
            Ok(Some(Notice { id: notice.id, thread: notice.pid, call }))
        }
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Notice {
    /// Returns whether the caller still waits. Facts about it that were read before are then its own.
    pub fn is_waiting(&self, listener: impl AsFd) -> bool {
        sys::is_waiting(listener, self.id)
    }

    /// Lets the kernel do the call.
    pub fn pass_on(&self, listener: impl AsFd) -> io::Result<()> {
        without_caller(sys::continue_notice(listener, self.id))
    }

    /// Makes the call return a number.
    pub fn answer_value(&self, listener: impl AsFd, value: u32) -> io::Result<()> {
        without_caller(sys::answer_notice_value(listener, self.id, value.into()))
    }

    /// Makes the call return a new descriptor of the file. If the caller has no room for one, the call
    /// fails.
    pub fn give(
        &self,
        listener: impl AsFd,
        file: impl AsFd,
        close_on_exec: bool,
    ) -> io::Result<()> {
        match sys::give_notice_file(&listener, self.id, file, close_on_exec) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            Err(error) => self.answer(listener, error.raw_os_error()),
            Ok(()) => Ok(()),
        }
    }

    /// Makes the call return 0, or fail. A caller that is gone needs no answer.
    pub fn answer(&self, listener: impl AsFd, errno: Option<i32>) -> io::Result<()> {
        without_caller(sys::answer_notice(listener, self.id, errno))
    }
}

/// Takes the answer to a caller that is gone for a success.
fn without_caller(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}
