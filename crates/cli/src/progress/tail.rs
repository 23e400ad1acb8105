//! The last lines of a step's output, as a terminal would show them.

use std::collections::VecDeque;

use crate::columns::overwrite;
use crate::report::printable;

/// How many of its last lines a failed step shows.
const LINES: usize = 20;

/// The last lines of a step's output.
#[derive(Debug, Default)]
pub(crate) struct Tail(VecDeque<String>);

impl Tail {
    /// Takes a line. If it `redraws`, it is written over the line before.
    pub(crate) fn push(&mut self, line: &[u8], redraws: bool) {
        let text = shown(line);
        let text = match redraws.then(|| self.0.pop_back()).flatten() {
            Some(old) if !erases(line) => overwrite(&old, &text),
            _ => text,
        };
        self.0.push_back(text);
        if self.0.len() > LINES {
            self.0.pop_front();
        }
    }

    /// Returns the last lines, at most `count`, the oldest first.
    pub(crate) fn last(&self, count: usize) -> impl Iterator<Item = &str> {
        let skipped = self.0.len().saturating_sub(count);
        self.0.iter().skip(skipped).map(String::as_str)
    }

    /// Returns whether there is no line.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Tail> for Vec<String> {
    fn from(tail: Tail) -> Self {
        tail.0.into()
    }
}

/// Returns a line of output for the screen.
pub(crate) fn shown(line: &[u8]) -> String {
    printable(&String::from_utf8_lossy(line))
}

/// Returns whether a line erases a part of the line that it is written over.
///
/// **Source** — ECMA-48 § 8.3.41, erase in line.
fn erases(line: &[u8]) -> bool {
    let mut rest = line;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\x1b[") {
        rest = &rest[at + 2..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if matches!(rest.get(digits), Some(b'K' | b'J')) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(lines: &[(&str, bool)]) -> Vec<String> {
        let mut tail = Tail::default();
        lines.iter().for_each(|(line, redraws)| tail.push(line.as_bytes(), *redraws));
        tail.into()
    }

    #[test]
    fn lines_cannot_move_the_cursor() {
        assert_eq!(shown(b"\x1b[1mbold\x1b[0m \xff"), "bold \u{fffd}");
    }

    #[test]
    fn a_redrawn_line_has_its_last_state() {
        let states: Vec<String> = (0..100).map(|percent| format!("{percent}%")).collect();
        let mut lines = vec![("error", false)];
        lines.extend(states.iter().enumerate().map(|(at, state)| (state.as_str(), at > 0)));
        lines.push(("end", false));
        assert_eq!(tail(&lines), ["error", "99%", "end"]);
    }

    #[test]
    fn a_shorter_line_leaves_the_end_of_the_longer_one_unless_it_erases_it() {
        assert_eq!(tail(&[("loading 10 files", false), ("done", true)]), ["doneing 10 files"]);
        assert_eq!(tail(&[("loading 10 files", false), ("done\u{1b}[K", true)]), ["done"]);
        assert_eq!(tail(&[("loading 10 files", false), ("\u{1b}[2Kdone", true)]), ["done"]);
        assert_eq!(tail(&[("abc", false), ("\u{1b}[1mX\u{1b}[0m", true)]), ["Xbc"]);
    }
}
