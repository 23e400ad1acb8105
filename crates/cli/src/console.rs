//! Standard output, for results, and standard error, for all other text.
//!
//! The [`Console`] decides which text is shown, and words it. Its lines do not tear the bars of a
//! terminal.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Condvar, Mutex, PoisonError};

use clap::ValueEnum;
use indicatif::{MultiProgress, ProgressDrawTarget};
use xbuild_build::events::{Event, Events, Warning};
use xbuild_dockerfile::Diagnostics;
use xbuild_layer::Encoding;
use xbuild_model::{Digest, FailureKind, ResolvedImage};
use xbuild_registry::PushEvent;

use crate::report::{self, Problem, ProblemKind};

/// How many broken rules of the linter a build shows; `xbuild check` shows them all.
const MAX_SHOWN: usize = 20;

/// The kind of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// tty on a terminal, else plain
    Auto,
    /// Every line of output and why each step runs, for logs
    Plain,
    /// A line for each running step
    Tty,
    /// Nothing but errors and the result
    #[value(alias = "none")]
    Quiet,
}

/// The way to show the steps of a build.
#[derive(Debug, Clone)]
pub(crate) enum Style {
    /// Nothing: only errors and results are shown.
    Quiet,
    /// Lines.
    Plain,
    /// Bars that are drawn again and again.
    Bars(MultiProgress),
}

/// Standard output and standard error.
#[derive(Debug)]
pub(crate) struct Console {
    style: Style,
    /// Whether somebody else has the terminal.
    paused: Mutex<bool>,
    resumed: Condvar,
}

/// Shows warnings, and no other event.
impl Events for Console {
    fn event(&self, event: Event<'_>) {
        if let Event::Warning(warning) = event {
            self.warning(warning);
        }
    }
}

impl Console {
    /// Returns a console with that kind of progress.
    pub(crate) fn new(mode: ProgressMode) -> Self {
        let style = match mode {
            ProgressMode::Quiet => Style::Quiet,
            ProgressMode::Tty => Style::Bars(MultiProgress::new()),
            ProgressMode::Auto if io::stderr().is_terminal() => Style::Bars(MultiProgress::new()),
            ProgressMode::Auto | ProgressMode::Plain => Style::Plain,
        };
        Self { style, paused: Mutex::default(), resumed: Condvar::new() }
    }

    /// Returns the way to show steps.
    pub(crate) fn style(&self) -> &Style {
        &self.style
    }

    /// Gives the terminal to somebody else: whoever shows something waits until [`resume`](Self::resume)
    /// is called.
    pub(crate) fn pause(&self) {
        if let Style::Bars(screen) = &self.style {
            // If the terminal is gone there is nothing to clear.
            let _ = screen.clear();
            screen.set_draw_target(ProgressDrawTarget::hidden());
        }
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Takes the terminal back.
    pub(crate) fn resume(&self) {
        if let Style::Bars(screen) = &self.style {
            screen.set_draw_target(ProgressDrawTarget::stderr());
        }
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.resumed.notify_all();
    }

    /// Waits while somebody else has the terminal.
    pub(crate) fn wait_for_terminal(&self) {
        let paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody panics while holding it.
        drop(self.resumed.wait_while(paused, |paused| *paused));
    }

    /// Shows a line on standard error, unless the console is quiet.
    pub(crate) fn line(&self, text: impl Display) {
        if !matches!(self.style, Style::Quiet) {
            self.error_bytes(format!("{text}\n").as_bytes());
        }
    }

    /// Writes to standard error, even if the console is quiet. A failure is ignored, since there is
    /// no other place to report it.
    pub(crate) fn error_bytes(&self, bytes: &[u8]) {
        self.wait_for_terminal();
        let write = || {
            let _ = io::stderr().lock().write_all(bytes);
        };
        match &self.style {
            Style::Bars(screen) => screen.suspend(write),
            Style::Quiet | Style::Plain => write(),
        }
    }

    /// Shows a warning.
    pub(crate) fn warning(&self, warning: &Warning) {
        self.line(report::warning(warning));
    }

    /// Shows the rules that a Dockerfile with the text `source` breaks.
    pub(crate) fn findings(&self, findings: &Diagnostics, source: &str) {
        let lines: Vec<&str> = source.lines().collect();
        for finding in findings.iter().take(MAX_SHOWN) {
            self.line(report::finding(finding, &lines));
        }
        if let Some(more) = findings.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
            self.line(format_args!("warning: {more} more; xbuild check shows them all"));
        }
    }

    /// Shows which image a name stands for that the store has, too.
    pub(crate) fn base(&self, image: &ResolvedImage, is_stored: bool) {
        let place = if is_stored { "from the store" } else { "from its registry" };
        let (name, platform) = (&image.name, &image.platform);
        let digest = &image.manifest.digest;
        self.line(format_args!("image: {name} for {platform}, {place}: {digest}"));
    }

    /// Shows a blob that arrived, or a tag that moved.
    pub(crate) fn push(&self, event: PushEvent<'_>) {
        if let Some(text) = push_line(event) {
            self.line(text);
        }
    }

    /// Shows the digest of the image in a form besides the main one.
    pub(crate) fn form(&self, encoding: Encoding, digest: &Digest) {
        self.line(format_args!("{encoding:<16} {digest}"));
    }

    /// Shows a problem and returns the exit status that goes with it.
    pub(crate) fn problem(&self, problem: &Problem) -> ExitCode {
        if !matches!(
            problem.kind(),
            ProblemKind::BrokenPipe
                | ProblemKind::Shown
                | ProblemKind::Told(_)
                | ProblemKind::Exit(_)
        ) {
            self.error_bytes(problem.render().as_bytes());
        }
        ExitCode::from(problem.exit_code())
    }

    /// Writes a result to standard output. If its reader went away the program ends without an
    /// error message.
    pub(crate) fn result(&self, bytes: &[u8]) -> Result<(), Problem> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Problem::new(ProblemKind::BrokenPipe, ""),
            _ => Problem::failure(FailureKind::Internal, format!("cannot write output: {error}")),
        })
    }
}

fn push_line(event: PushEvent<'_>) -> Option<String> {
    match event {
        PushEvent::Finished { repository, blob, how } => {
            Some(format!("push {repository}: blob {} {how}", blob.digest.short()))
        }
        PushEvent::Tagged { reference, digest } => Some(format!("push {reference}: {digest}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use xbuild_model::Descriptor;
    use xbuild_registry::BlobOutcome;

    use super::*;

    #[test]
    fn a_push_is_told_in_words() {
        let blob = Descriptor::of("text/plain", b"x");
        let line = |how| push_line(PushEvent::Finished { repository: "r/a", blob: &blob, how });
        for (how, words) in [
            (BlobOutcome::Present, "was there"),
            (BlobOutcome::Mounted, "was mounted"),
            (BlobOutcome::Uploaded, "was uploaded"),
        ] {
            let expected = format!("push r/a: blob {} {words}", blob.digest.short());
            assert_eq!(line(how).unwrap(), expected);
        }
        let reference = "r.example/a:1".parse().unwrap();
        let tagged = push_line(PushEvent::Tagged { reference: &reference, digest: &blob.digest });
        assert_eq!(tagged.unwrap(), format!("push r.example/a:1: {}", blob.digest));
        assert_eq!(push_line(PushEvent::Started { repository: "r/a", blob: &blob }), None);
    }
}
