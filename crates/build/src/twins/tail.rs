//! The last lines of a command that nobody sees unless it fails.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use xbuild_model::seam::Output;

/// The lines that are kept.
const LINES: usize = 20;

/// Keeps the last lines.
#[derive(Default)]
pub(super) struct Tail(Mutex<VecDeque<Vec<u8>>>);

impl Tail {
    fn lines(&self) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the lines after a heading.
    pub(super) fn show(&self, heading: &str, output: &dyn Output) {
        output.note(heading);
        self.lines().iter().for_each(|line| output.line(line, false));
    }
}

impl Output for Tail {
    fn line(&self, line: &[u8], redraws: bool) {
        let mut lines = self.lines();
        if redraws || lines.len() == LINES {
            let _ = if redraws { lines.pop_back() } else { lines.pop_front() };
        }
        lines.push_back(line.to_vec());
    }
}
