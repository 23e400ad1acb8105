//! The output of a command: two pipes that are cut into lines.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, retry_on_intr};
use xbuild_model::seam::Output;

use crate::error::SandboxError;

/// Bytes taken from a pipe at a time: as many as a pipe holds.
const BUFFER: usize = 64 << 10;

/// The most bytes of a line that are kept waiting for its end; longer ones come in pieces.
const LINE_LIMIT: usize = 64 << 10;

/// Passes the output on until both pipes are closed, in about the order in which it was written.
pub(super) fn pass_on(
    stdout: OwnedFd,
    stderr: OwnedFd,
    output: &dyn Output,
) -> Result<(), SandboxError> {
    let failed = |errno: Errno| SandboxError::Protocol {
        what: format!("cannot read the command's output: {errno}"),
    };
    let stream = |pipe, stderr| Stream { pipe, stderr, lines: Lines::default() };
    let mut streams = vec![stream(stdout, false), stream(stderr, true)];
    let mut buffer = vec![0; BUFFER];
    while !streams.is_empty() {
        let mut polled: Vec<PollFd<'_>> =
            streams.iter().map(|stream| PollFd::new(&stream.pipe, PollFlags::IN)).collect();
        retry_on_intr(|| rustix::event::poll(&mut polled, None)).map_err(failed)?;
        let ready: Vec<bool> = polled.iter().map(|p| !p.revents().is_empty()).collect();
        for (index, _) in ready.iter().enumerate().rev().filter(|(_, ready)| **ready) {
            if !streams[index].read(&mut buffer, output).map_err(failed)? {
                streams.remove(index);
            }
        }
    }
    Ok(())
}

/// Standard output or standard error of a command.
struct Stream {
    pipe: OwnedFd,
    stderr: bool,
    lines: Lines,
}

impl Stream {
    /// Reads once; returns whether there may be more.
    fn read(&mut self, buffer: &mut [u8], output: &dyn Output) -> Result<bool, Errno> {
        let mut sink = |line: &[u8]| output.line(self.stderr, line);
        match retry_on_intr(|| rustix::io::read(&self.pipe, &mut *buffer))? {
            0 => self.lines.finish(&mut sink),
            read => {
                self.lines.push(&buffer[..read], &mut sink);
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A stream of bytes that is cut into lines.
#[derive(Debug, Default)]
struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// Takes the next bytes of the stream and gives every line that is complete to `sink`, without
    /// its `\n` or `\r\n`.
    fn push(&mut self, mut bytes: &[u8], sink: &mut dyn FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            self.extend(&bytes[..end], sink);
            let line = std::mem::take(&mut self.pending);
            sink(line.strip_suffix(b"\r").unwrap_or(&line));
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes, sink);
    }

    /// Gives out what is left: a last line without an end.
    fn finish(&mut self, sink: &mut dyn FnMut(&[u8])) {
        if !self.pending.is_empty() {
            sink(&std::mem::take(&mut self.pending));
        }
    }

    fn extend(&mut self, mut bytes: &[u8], sink: &mut dyn FnMut(&[u8])) {
        while self.pending.len() + bytes.len() > LINE_LIMIT {
            let (now, later) = bytes.split_at(LINE_LIMIT - self.pending.len());
            self.pending.extend_from_slice(now);
            sink(&std::mem::take(&mut self.pending));
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
        let mut sink = |line: &[u8]| out.push(line.to_vec());
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
    fn passes_endless_lines_in_pieces() {
        let long = vec![b'x'; LINE_LIMIT * 2 + 5];
        let sizes = |pieces: &[&[u8]]| cut(pieces).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(&[&long, b"\nend"]), [LINE_LIMIT, LINE_LIMIT, 5, 3]);
        assert_eq!(sizes(&[b"ab", &long]), [LINE_LIMIT, LINE_LIMIT, 7]);
        assert_eq!(sizes(&[&long[..LINE_LIMIT], b"\n"]), [LINE_LIMIT]);
    }
}
