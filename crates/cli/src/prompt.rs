//! Questions on a terminal, asked on standard error and answered on standard input.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use rustix::io::{Errno, retry_on_intr};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};

/// Bytes of an answer at most.
const LONGEST: usize = 64 << 10;

/// Returns whether somebody is there to answer.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks, and returns the line that is typed, without blanks around it.
pub(crate) fn line(question: &str) -> io::Result<String> {
    ask(question)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

/// Asks, and returns the line that is typed and not shown; `None` if it is given up with Ctrl-C.
///
/// The terminal is as before at the end: a signal of the keyboard is a key meanwhile.
pub(crate) fn secret(question: &str) -> io::Result<Option<String>> {
    let typed = {
        // Hidden before the question: who answers at once is neither shown nor lost.
        let _hidden = Hidden::enter()?;
        ask(question)?;
        keys()?
    };
    ask("\n")?;
    typed.map(String::from_utf8).transpose().map_err(|_| io::Error::other("it is not UTF-8"))
}

fn ask(text: &str) -> io::Result<()> {
    let mut out = io::stderr().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

/// Reads keys to the end of the line; `None` after Ctrl-C.
fn keys() -> io::Result<Option<Vec<u8>>> {
    const CTRL_C: u8 = 3;
    const CTRL_D: u8 = 4;
    const BACKSPACE: [u8; 2] = [8, 127];
    const CTRL_U: u8 = 21;
    let mut typed = Vec::new();
    loop {
        let mut key = [0];
        match retry_on_intr(|| rustix::io::read(rustix::stdio::stdin(), &mut key)) {
            Ok(0) => return Ok(Some(typed)),
            Ok(_) => {}
            // The other side of the terminal has gone.
            Err(Errno::IO) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
        match key[0] {
            b'\n' | b'\r' | CTRL_D => return Ok(Some(typed)),
            CTRL_C => return Ok(None),
            CTRL_U => typed.clear(),
            key if BACKSPACE.contains(&key) => {
                // A character may be several bytes.
                while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            _ if typed.len() >= LONGEST => return Err(io::Error::other("it is too long")),
            key => typed.push(key),
        }
    }
}

/// The terminal without an echo, and with each key passed on at once, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn enter() -> io::Result<Self> {
        let input = rustix::stdio::stdin();
        let before = rustix::termios::tcgetattr(input)?;
        let mut hidden = before.clone();
        hidden.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
        hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
        // Flushed: keys that were typed before the question are no answer to it.
        rustix::termios::tcsetattr(input, OptionalActions::Flush, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // If the terminal is gone, nothing is left to set back.
        let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &self.0);
    }
}
