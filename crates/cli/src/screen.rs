//! The lower end of a terminal, where lines are drawn again and again: the *frame*.
//!
//! Between two drawings the cursor stands at the beginning of the frame's first line. So the frame can
//! be removed without knowing how many rows it has: a terminal that gets narrower wraps its lines
//! anew. While a frame is drawn, the terminal does not wrap: a character that is wider than we think
//! cannot push a line into the next one.
//!
//! **Source** — ECMA-48 § 8.3 (CUU, ED, EL), DEC private mode 7 (autowrap).

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::termios::Winsize;

/// Removes the frame: clears the first line, and from its second column to the end of the screen. tmux
/// keeps a copy of a screen that is cleared from its first column on.
const CLEAR: &str = "\r\u{1b}[2K \u{1b}[J\r";

/// Clears the rest of a line, and begins the next one.
const END_OF_LINE: &str = "\u{1b}[K\n";

/// Ends the wrapping of lines, and begins it again.
const WRAP: [&str; 2] = ["\u{1b}[?7l", "\u{1b}[?7h"];

/// The size of a terminal that does not tell it.
const SIZE: Size = Size { columns: 80, rows: 24 };

/// The most bytes of the last words.
const WORDS: usize = 2048;

/// What a signal's handler writes before it ends the process, and the number of its bytes. Atomic
/// bytes, since the handler may wait for no lock.
static LAST_WORDS: [AtomicU8; WORDS] = [const { AtomicU8::new(0) }; WORDS];
static LAST_LENGTH: AtomicUsize = AtomicUsize::new(0);

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// The columns of a line.
    pub(crate) columns: usize,
    /// The number of lines.
    pub(crate) rows: usize,
}

/// A terminal with a frame.
#[derive(Debug, Default)]
pub(crate) struct Screen(Mutex<Frame>);

#[derive(Debug, Default)]
struct Frame {
    /// The lines that are drawn.
    lines: Vec<String>,
    /// The columns that they were drawn for.
    columns: usize,
    /// Whether no frame is drawn any more.
    is_closed: bool,
}

/// A frame, and what a signal's handler writes in its place.
#[derive(Debug, Default)]
pub(crate) struct Drawing {
    /// The lines, none wider than the terminal.
    pub(crate) lines: Vec<String>,
    /// The columns of the terminal.
    pub(crate) columns: usize,
    /// The last words, whole lines.
    pub(crate) last_words: String,
}

impl Screen {
    /// Returns the size of the terminal now.
    pub(crate) fn size() -> Size {
        match rustix::termios::tcgetwinsize(rustix::stdio::stderr()) {
            Ok(Winsize { ws_row: rows @ 1.., ws_col: columns @ 1.., .. }) => {
                Size { columns: columns.into(), rows: rows.into() }
            }
            _ => SIZE,
        }
    }

    /// Writes text above the frame, for good. It ends with a line feed.
    pub(crate) fn above(&self, text: &[u8]) {
        let frame = self.lock();
        let mut bytes = CLEAR.as_bytes().to_vec();
        if frame.lines.is_empty() {
            bytes.clear();
        }
        bytes.extend_from_slice(text);
        frame.draw(&mut bytes);
        write(&bytes);
    }

    /// Draws another frame; writes `above` above it, for good.
    pub(crate) fn draw(&self, above: &str, drawing: Drawing) {
        let mut frame = self.lock();
        let mut bytes = Vec::new();
        // A terminal that changed its width has wrapped the lines anew.
        let is_torn = frame.columns != drawing.columns;
        frame.columns = drawing.columns;
        if !frame.lines.is_empty() && (is_torn || !above.is_empty()) {
            bytes.extend_from_slice(CLEAR.as_bytes());
        }
        bytes.extend_from_slice(above.as_bytes());
        let old = frame.lines.len();
        frame.lines = if frame.is_closed { Vec::new() } else { drawing.lines };
        if frame.lines.is_empty() && old > 0 {
            bytes.extend_from_slice(CLEAR.as_bytes());
        }
        frame.draw(&mut bytes);
        keep_last_words(match frame.lines.is_empty() {
            true => "",
            false => &drawing.last_words,
        });
        write(&bytes);
    }

    /// Removes the frame while `work` writes to the terminal itself.
    pub(crate) fn without<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut frame = self.lock();
        frame.remove();
        work()
    }

    /// Removes the frame; no other is drawn until [`open`](Self::open).
    pub(crate) fn close(&self) {
        let mut frame = self.lock();
        frame.remove();
        frame.is_closed = true;
    }

    /// Lets frames be drawn again.
    pub(crate) fn open(&self) {
        self.lock().is_closed = false;
    }

    fn lock(&self) -> MutexGuard<'_, Frame> {
        // Nobody panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Frame {
    /// Adds the bytes that draw the frame and put the cursor back to its beginning.
    fn draw(&self, bytes: &mut Vec<u8>) {
        if self.lines.is_empty() {
            return;
        }
        bytes.extend_from_slice(WRAP[0].as_bytes());
        bytes.push(b'\r');
        for line in &self.lines {
            bytes.extend_from_slice(line.as_bytes());
            bytes.extend_from_slice(END_OF_LINE.as_bytes());
        }
        let rows = self.lines.len();
        let end = format!("\u{1b}[J\u{1b}[{rows}A{}", WRAP[1]);
        bytes.extend_from_slice(end.as_bytes());
    }

    fn remove(&mut self) {
        if !self.lines.is_empty() {
            self.lines.clear();
            keep_last_words("");
            write(CLEAR.as_bytes());
        }
    }
}

/// Writes to the terminal at once. If it is gone nobody can read an error either.
fn write(bytes: &[u8]) {
    if !bytes.is_empty() {
        let _ = io::stderr().lock().write_all(bytes);
    }
}

/// Keeps the words that a signal's handler writes in place of the frame; none if there is no frame.
fn keep_last_words(words: &str) {
    // A handler that comes meanwhile writes nothing, or a part.
    LAST_LENGTH.store(0, Ordering::Release);
    let whole = if words.is_empty() { String::new() } else { format!("{CLEAR}{words}") };
    let bytes = &whole.as_bytes()[..whole.len().min(WORDS)];
    for (place, byte) in LAST_WORDS.iter().zip(bytes) {
        place.store(*byte, Ordering::Relaxed);
    }
    LAST_LENGTH.store(bytes.len(), Ordering::Release);
}

/// Writes the last words. For signal handlers: it neither allocates nor locks.
pub(crate) fn write_last_words() {
    let length = LAST_LENGTH.swap(0, Ordering::AcqRel).min(WORDS);
    let mut bytes = [0; WORDS];
    for (byte, place) in bytes.iter_mut().zip(&LAST_WORDS) {
        *byte = place.load(Ordering::Relaxed);
    }
    // If the terminal is gone nobody can read them.
    let _ = rustix::io::write(rustix::stdio::stderr(), &bytes[..length]);
}
