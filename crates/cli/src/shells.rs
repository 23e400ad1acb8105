//! `--on-error=shell`: the user's terminal for a shell in the place of a step that failed.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use xbuild_build::Shells;
use xbuild_exec::Streams;
use xbuild_model::{StepFailure, short_label};

use crate::console::Console;
use crate::report::{Problem, printable, told};
use crate::terminal::{self, Copies};

/// Gives the terminal of a console to one shell at a time.
pub(crate) struct TerminalShells {
    console: Arc<Console>,
    copies: Mutex<Option<Copies>>,
}

impl TerminalShells {
    /// Returns shells on the terminal that `console` writes to.
    pub(crate) fn new(console: Arc<Console>) -> Self {
        Self { console, copies: Mutex::default() }
    }

    fn copies(&self) -> std::sync::MutexGuard<'_, Option<Copies>> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shells for TerminalShells {
    fn open(&self, argv: &[String], failure: &StepFailure) -> io::Result<Streams> {
        let (streams, copies) = terminal::terminal(true)?;
        let command = short_label(&argv.join(" "));
        let text = format!(
            "\n{}: {}\nThis is a shell in the place of the step, with its files, variables and \
             mounts. What is changed here is thrown away. `exit` ends the build.\n",
            printable(&told(command)),
            printable(&told(failure.to_string())),
        );
        self.console.error_text(&text);
        self.console.pause();
        *self.copies() = Some(copies);
        Ok(streams)
    }

    fn close(&self, failure: Option<&StepFailure>) {
        if let Some(copies) = self.copies().take() {
            copies.finish();
        }
        self.console.resume();
        if let Some(failure) = failure {
            self.console.error_text(&Problem::in_files(failure, &[]).render());
        }
    }
}
