//! The output of a command: a pipe that is cut into lines.

use std::os::fd::OwnedFd;

use rustix::io::{Errno, retry_on_intr};
use xbuild_model::seam::Output;

use crate::error::{Complaint, SandboxError};

/// Bytes taken from the pipe at a time: as many as a pipe holds.
const BUFFER: usize = 64 << 10;

/// The most bytes of a line that are kept waiting for its end; longer ones come in pieces.
const LINE_LIMIT: usize = 64 << 10;

/// How programs say that a port is in use: EADDRINUSE by glibc and in other letters by Go, by musl, by
/// its name.
const PORT_IN_USE: &[&[u8]] = &[b"ddress already in use", b"Address in use", b"EADDRINUSE"];

/// How programs say that there is no room: ENOSPC and EDQUOT by glibc and musl, and by their names.
const NO_ROOM: &[&[u8]] = &[b"o space left on device", b"ENOSPC", b"uota exceeded", b"EDQUOT"];

/// Passes the output on until the pipe is closed. Returns the first known complaint of its lines.
pub(super) fn pass_on(
    pipe: &OwnedFd,
    output: &dyn Output,
) -> Result<Option<Complaint>, SandboxError> {
    let failed = |errno: Errno| SandboxError::Protocol {
        what: format!("cannot read the command's output: {errno}"),
    };
    let (mut lines, mut buffer) = (Lines::default(), vec![0; BUFFER]);
    let mut complaint = None;
    let mut sink = |line: &[u8], redraws: bool| {
        complaint = complaint.or_else(|| complaint_of(line));
        output.line(line, redraws);
    };
    loop {
        match retry_on_intr(|| rustix::io::read(pipe, &mut buffer)).map_err(failed)? {
            0 => break,
            read => lines.push(&buffer[..read], &mut sink),
        }
    }
    lines.finish(&mut sink);
    Ok(complaint)
}

fn complaint_of(line: &[u8]) -> Option<Complaint> {
    let says = |texts: &[&[u8]]| texts.iter().any(|text| contains(line, text));
    match () {
        () if says(PORT_IN_USE) => Some(Complaint::PortInUse),
        () if says(NO_ROOM) => Some(Complaint::NoRoom),
        () => None,
    }
}

fn contains(line: &[u8], text: &[u8]) -> bool {
    line.windows(text.len()).any(|window| window == text)
}

/// Takes a line, and whether it is drawn over the line before.
type Sink<'a> = dyn FnMut(&[u8], bool) + 'a;

/// A stream of bytes that is cut into lines: at each line feed and at each carriage return.
///
/// A carriage return ends a line at once, so that progress is seen while it is made. A line feed
/// right behind it belongs to the same end, and carriage returns with nothing between them are one.
#[derive(Debug, Default)]
struct Lines {
    pending: Vec<u8>,
    /// Whether a carriage return ended the last line, so that the next one is drawn over it.
    redraws: bool,
}

impl Lines {
    /// Takes the next bytes of the stream and gives every line that is complete to `sink`, without
    /// its end.
    fn push(&mut self, mut bytes: &[u8], sink: &mut Sink<'_>) {
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.extend(&bytes[..end], sink);
            let returns = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            if !self.pending.is_empty() {
                self.give(sink);
                self.redraws = returns;
            } else if !returns && !std::mem::take(&mut self.redraws) {
                self.give(sink);
            }
        }
        self.extend(bytes, sink);
    }

    fn give(&mut self, sink: &mut Sink<'_>) {
        sink(&std::mem::take(&mut self.pending), std::mem::take(&mut self.redraws));
    }

    /// Gives out what is left: a last line without an end.
    fn finish(&mut self, sink: &mut Sink<'_>) {
        if !self.pending.is_empty() {
            self.give(sink);
        }
    }

    fn extend(&mut self, mut bytes: &[u8], sink: &mut Sink<'_>) {
        while self.pending.len() + bytes.len() > LINE_LIMIT {
            let (now, later) = bytes.split_at(LINE_LIMIT - self.pending.len());
            self.pending.extend_from_slice(now);
            self.give(sink);
            bytes = later;
        }
        self.pending.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        let mut sink = |line: &[u8], _| out.push(line.to_vec());
        pieces.iter().for_each(|piece| lines.push(piece, &mut sink));
        lines.finish(&mut sink);
        out
    }

    #[test]
    fn cuts_at_line_ends_wherever_the_pieces_end() {
        assert_eq!(
            cut(&[b"one\ntw", b"o\n", b"\n", b"\xff\r\nthree"]),
            [&b"one"[..], b"two", b"", b"\xff", b"three"]
        );
        assert_eq!(cut(&[]), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn cuts_at_carriage_returns_and_tells_which_lines_are_redrawn() {
        let cut = |pieces: &[&str]| {
            let (mut lines, mut out) = (Lines::default(), Vec::new());
            let mut sink = |line: &[u8], redraws: bool| {
                let sign = if redraws { "<" } else { "" };
                out.push(format!("{sign}{}", String::from_utf8_lossy(line)));
            };
            pieces.iter().for_each(|piece| lines.push(piece.as_bytes(), &mut sink));
            lines.finish(&mut sink);
            out
        };
        for (text, expected) in [
            ("a\rb\n", vec!["a", "<b"]),
            ("a\rb\r", vec!["a", "<b"]),
            ("\r1%\r2%\r\nend", vec!["1%", "<2%", "end"]),
            ("a\r\nb\r\r\n\r\nc\n\n", vec!["a", "b", "", "c", ""]),
            ("a\r\r\rb", vec!["a", "<b"]),
            ("\n\r\n\r", vec!["", ""]),
        ] {
            assert_eq!(cut(&[text]), expected, "{text:?}");
            let bytes: Vec<String> = text.chars().map(String::from).collect();
            let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
            assert_eq!(cut(&bytes), expected, "{text:?} byte by byte");
        }
    }

    #[test]
    fn passes_endless_lines_in_pieces() {
        let long = vec![b'x'; LINE_LIMIT * 2 + 5];
        let sizes = |pieces: &[&[u8]]| cut(pieces).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(&[&long, b"\nend"]), [LINE_LIMIT, LINE_LIMIT, 5, 3]);
        assert_eq!(sizes(&[b"ab", &long]), [LINE_LIMIT, LINE_LIMIT, 7]);
        assert_eq!(sizes(&[&long[..LINE_LIMIT], b"\n"]), [LINE_LIMIT]);
    }
}
