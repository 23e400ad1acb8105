//! A command in front of a terminal, whose keys the test types.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::pty::OpenptFlags;
use rustix::termios::{Action, LocalModes, Winsize};

use super::finished::Finished;

const PATIENCE: Duration = Duration::from_secs(120);

/// A running command, and the other side of its terminal.
pub(crate) struct Typed {
    child: Child,
    screen: Arc<Mutex<Vec<u8>>>,
    other: File,
    terminal: OwnedFd,
}

impl Typed {
    /// Starts a command in front of a terminal with 33 lines of 99 columns.
    pub(crate) fn start(command: Command) -> Self {
        Self::start_with(command, Action::OOn)
    }

    /// The same; the terminal takes no output before `resumes`.
    pub(crate) fn start_stopped(command: Command) -> Self {
        Self::start_with(command, Action::OOff)
    }

    fn start_with(mut command: Command, output: Action) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let other = rustix::pty::openpt(flags).unwrap();
        rustix::pty::unlockpt(&other).unwrap();
        let terminal = rustix::pty::ioctl_tiocgptpeer(&other, flags).unwrap();
        let size = Winsize { ws_row: 33, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&terminal, size).unwrap();
        rustix::termios::tcflow(&terminal, output).unwrap();
        let copy = || Stdio::from(terminal.try_clone().unwrap());
        let child = command.stdin(copy()).stdout(copy()).stderr(copy()).spawn().unwrap();
        let (other, screen) = (File::from(other), Arc::<Mutex<Vec<u8>>>::default());
        let (mut reader, shown) = (other.try_clone().unwrap(), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                shown.lock().unwrap().extend_from_slice(&buffer[..read]);
            }
        });
        Self { child, screen, other, terminal }
    }

    /// Returns everything that was shown.
    pub(crate) fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    /// Waits until `text` is shown.
    #[track_caller]
    pub(crate) fn waits_for(&self, text: &str) {
        let found = patiently(|| self.screen().contains(text).then_some(()));
        assert!(found.is_some(), "{text:?} is missing in:\n{}", self.screen());
    }

    /// Waits until keys are no longer shown.
    #[track_caller]
    pub(crate) fn waits_for_hidden_keys(&self) {
        let hidden = patiently(|| (!self.modes().contains(LocalModes::ECHO)).then_some(()));
        assert!(hidden.is_some(), "keys are shown after:\n{}", self.screen());
    }

    /// Lets the terminal take output again.
    pub(crate) fn resumes(&self) {
        rustix::termios::tcflow(&self.terminal, Action::OOn).unwrap();
    }

    fn modes(&self) -> LocalModes {
        rustix::termios::tcgetattr(&self.terminal).unwrap().local_modes
    }

    /// Types a line.
    pub(crate) fn types(&mut self, line: &str) {
        self.keys(&format!("{line}\r"));
    }

    /// Types keys.
    pub(crate) fn keys(&mut self, keys: &str) {
        self.other.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the end. The terminal must be as it was before.
    #[track_caller]
    pub(crate) fn ends(mut self) -> Finished {
        let Some(status) = patiently(|| self.child.try_wait().unwrap()) else {
            self.child.kill().unwrap();
            panic!("it does not end after:\n{}", self.screen());
        };
        let status = status.code().unwrap_or(-1);
        assert!(self.modes().contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
        Finished { status, stdout: String::new(), stderr: self.screen() }
    }
}

/// Looks until there is something, or until the patience is over.
fn patiently<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = look();
        if found.is_some() || Instant::now() > deadline {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
