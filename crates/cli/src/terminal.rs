//! Standard streams and the terminal of this process, joined to those of a command in an image.
//!
//! A command never gets a descriptor of this process: through one it could reach a file of the user's,
//! or push input into the user's terminal. Bytes are copied, by threads.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::PipeFlags;
use rustix::termios::{OptionalActions, Termios};
use xbuild_exec::{Streams, Terminal};
use xbuild_model::thread;

/// Bytes that are copied at a time.
const BUFFER: usize = 16 << 10;

/// The time between two looks at the size of the user's terminal.
const GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// The threads that copy for a command.
#[derive(Debug)]
pub(crate) struct Copies(Vec<JoinHandle<()>>);

impl Copies {
    /// Waits until everything that the command wrote is copied.
    pub(crate) fn finish(self) {
        for thread in self.0 {
            // Such a thread does not panic.
            let _ = thread.join();
        }
    }
}

/// Returns whether standard input and output are a terminal.
pub(crate) fn is_there() -> bool {
    rustix::termios::isatty(rustix::stdio::stdin())
        && rustix::termios::isatty(rustix::stdio::stdout())
}

/// Returns streams that are copied from and to those of this process. Without `interactive` there is
/// nothing to read.
///
/// **Errors** — no descriptors or threads are left.
pub(crate) fn three(interactive: bool) -> io::Result<(Streams, Copies)> {
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
    let ((input, to_input), (output, to_output), (errors, to_errors)) = (pipe()?, pipe()?, pipe()?);
    let start = |from: OwnedFd, to: BorrowedFd<'static>| {
        thread::start("output", move || copy(from.as_fd(), to)).map_err(|error| error.source)
    };
    let copies =
        vec![start(output, rustix::stdio::stdout())?, start(errors, rustix::stdio::stderr())?];
    if interactive {
        // It may wait for the user for ever, so nobody waits for it.
        thread::start("input", move || copy(rustix::stdio::stdin(), to_input.as_fd()))
            .map_err(|error| error.source)?;
    }
    Ok((Streams::Three([input, to_output, to_errors]), Copies(copies)))
}

/// Returns streams with a terminal, which is joined to that of this process while the command runs.
/// Without `interactive` the command gets no input.
///
/// **Errors** — no descriptors or threads are left.
pub(crate) fn terminal(interactive: bool) -> io::Result<(Streams, Copies)> {
    let (streams, terminal) = Streams::terminal()?;
    let serve = thread::start("terminal", move || serve(terminal, interactive));
    Ok((streams, Copies(vec![serve.map_err(|error| error.source)?])))
}

/// Joins the terminals from the start of the command to its end.
fn serve(terminal: Terminal, interactive: bool) {
    let Some(other) = terminal.wait() else { return };
    let other = Arc::new(other);
    let _raw = interactive.then(Raw::enter);
    // Closed at the end of this function, which ends the other thread.
    let Ok((ended, _end)) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC) else { return };
    if interactive {
        let to = Arc::clone(&other);
        // Without a thread the command reads nothing.
        let _ = thread::start("input", move || copy_input(&to, &ended));
    }
    let mut size = None;
    loop {
        let now = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok();
        if let Some(new) = now.filter(|now| size != Some((now.ws_row, now.ws_col))) {
            size = Some((new.ws_row, new.ws_col));
            // A command that does not know the size still runs.
            let _ = rustix::termios::tcsetwinsize(&other, new);
        }
        let mut polled = [PollFd::new(&other, PollFlags::IN)];
        match rustix::event::poll(&mut polled, Some(&GLANCE)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) if pass(other.as_fd(), rustix::stdio::stdout()) => {}
            _ => return,
        }
    }
}

/// Copies what the user types until `ended` is closed at its other end.
fn copy_input(to: &OwnedFd, ended: &OwnedFd) {
    let input = rustix::stdio::stdin();
    loop {
        let mut polled =
            [PollFd::new(&input, PollFlags::IN), PollFd::new(ended, PollFlags::empty())];
        let ready = retry_on_intr(|| rustix::event::poll(&mut polled, None));
        if ready.is_err() || !polled[1].revents().is_empty() || !pass(input, to.as_fd()) {
            return;
        }
    }
}

fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    while pass(from, to) {}
}

/// Copies the next bytes; returns `false` at the end of either side.
fn pass(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let mut buffer = [0; BUFFER];
    // A terminal that nobody has open any more says EIO.
    let Ok(read @ 1..) = retry_on_intr(|| rustix::io::read(from, &mut buffer)) else {
        return false;
    };
    let mut bytes = &buffer[..read];
    while !bytes.is_empty() {
        match retry_on_intr(|| rustix::io::write(to, bytes)) {
            Ok(written) => bytes = &bytes[written..],
            Err(_) => return false,
        }
    }
    true
}

/// The terminal of this process, passing every key on, until this is dropped.
struct Raw(Option<Termios>);

impl Raw {
    fn enter() -> Self {
        let input = rustix::stdio::stdin();
        let before = rustix::termios::tcgetattr(input).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            // A terminal that stays as it is shows keys twice, and is of use all the same.
            let _ = rustix::termios::tcsetattr(input, OptionalActions::Now, &raw);
        }
        Self(before)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let input = rustix::stdio::stdin();
            let _ = rustix::termios::tcsetattr(input, OptionalActions::Now, before);
        }
    }
}
