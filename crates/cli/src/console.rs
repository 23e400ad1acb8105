//! What is told beside results and errors: warnings and what was done, on standard error.

use std::fmt::Display;

use xbuild_build::events::Events;
use xbuild_dockerfile::Diagnostics;

use crate::report::{self, note, printable};

/// How many warnings of the linter a build shows; `xbuild check` shows them all.
const MAX_SHOWN: usize = 20;

/// Standard error, for all but errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    /// Whether nothing is said.
    pub(crate) quiet: bool,
}

impl Console {
    /// Shows a line.
    pub(crate) fn line(&self, text: impl Display) {
        if !self.quiet {
            note(text);
        }
    }

    /// Shows what is unwise in a Dockerfile with the text `source`.
    pub(crate) fn diagnostics(&self, warnings: &Diagnostics, source: &str) {
        let lines: Vec<&str> = source.lines().collect();
        for warning in warnings.iter().take(MAX_SHOWN) {
            self.line(report::warning(warning, &lines));
        }
        if let Some(more) = warnings.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
            self.line(format_args!("warning: {more} more; xbuild check shows them all"));
        }
    }
}

impl Events for Console {
    fn warning(&self, text: &str) {
        self.line(format_args!("warning: {}", printable(text)));
    }

    fn note(&self, text: &str) {
        self.line(text);
    }
}
