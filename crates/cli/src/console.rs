//! Standard output, for results, and standard error, for all other text.
//!
//! The [`Console`] decides which text is shown, and words it. Its lines do not tear the frame of a
//! terminal.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use clap::ValueEnum;
use xbuild_build::events::{Event, Events, Warning};
use xbuild_dockerfile::Diagnostics;
use xbuild_layer::Encoding;
use xbuild_model::transfer::{Transfer, TransferState};
use xbuild_model::{Digest, FailureKind, ResolvedImage};
use xbuild_registry::PushEvent;
use xbuild_wording::hints;

use crate::environment;
use crate::paint::Paint;
use crate::rawjson::RawJson;
use crate::report::{self, Problem, ProblemKind};
use crate::screen::Screen;

/// How many broken rules of the linter a build shows; `xbuild check` shows them all.
const MAX_SHOWN: usize = 20;

/// The kind of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// tty on a terminal, else plain
    Auto,
    /// Every line of output and why each step runs, for logs
    Plain,
    /// A frame with the steps under way and the end of their output, redrawn in place
    Tty,
    /// Nothing but errors and the result
    #[value(alias = "none")]
    Quiet,
    /// Lines of JSON, as those of BuildKit
    #[value(name = "rawjson")]
    RawJson,
}

/// The way to show the steps of a build.
#[derive(Debug)]
pub(crate) enum Style {
    /// Nothing: only errors and results are shown.
    Quiet,
    /// Lines.
    Plain,
    /// A frame at the lower end of a terminal that is drawn again and again.
    Live(Screen),
    /// Lines of JSON.
    Json(Mutex<RawJson>),
}

/// Standard output and standard error.
#[derive(Debug)]
pub(crate) struct Console {
    style: Style,
    paint: Paint,
    /// The file of `--log-file`, until writing to it fails.
    log: Mutex<Option<File>>,
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
        let is_terminal = io::stderr().is_terminal();
        let can_draw = is_terminal && !environment::is_dumb_terminal();
        let style = match mode {
            ProgressMode::Quiet => Style::Quiet,
            ProgressMode::RawJson => Style::Json(Mutex::default()),
            ProgressMode::Auto | ProgressMode::Tty if can_draw => Style::Live(Screen::default()),
            ProgressMode::Auto | ProgressMode::Tty | ProgressMode::Plain => Style::Plain,
        };
        let paint = Paint { is_on: environment::wants_colours(is_terminal) };
        Self {
            style,
            paint,
            log: Mutex::default(),
            paused: Mutex::default(),
            resumed: Condvar::new(),
        }
    }

    /// Returns the way to show steps.
    pub(crate) fn style(&self) -> &Style {
        &self.style
    }

    /// Returns the colours of text on standard error.
    pub(crate) fn paint(&self) -> Paint {
        self.paint
    }

    /// Gives the terminal to somebody else: whoever shows something waits until [`resume`](Self::resume)
    /// is called.
    pub(crate) fn pause(&self) {
        if let Style::Live(screen) = &self.style {
            screen.close();
        }
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Takes the terminal back.
    pub(crate) fn resume(&self) {
        if let Style::Live(screen) = &self.style {
            screen.open();
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

    /// Keeps everything that is shown from now on in a file, too, also what is only shown in a log.
    pub(crate) fn keep_log(&self, file: File) {
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
    }

    /// Writes a text to the file of `--log-file`.
    pub(crate) fn log(&self, text: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut file) = log.as_ref() else { return };
        let text = if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
        if let Err(error) = file.write_all(text.as_bytes()) {
            *log = None;
            drop(log);
            self.line(format_args!("warning: --log-file: {error}; the log ends here"));
        }
    }

    /// Shows a line on standard error, unless the console is quiet.
    pub(crate) fn line(&self, text: impl Display) {
        let text = text.to_string();
        self.log(&text);
        match &self.style {
            Style::Quiet => {}
            Style::Json(raw) => self.write(lock(raw).text(&text).as_bytes()),
            Style::Plain | Style::Live(_) => {
                self.write(format!("{}\n", self.paint.message(&text)).as_bytes());
            }
        }
    }

    /// Shows warnings about files that are read before a build.
    pub(crate) fn warnings(&self, warnings: &[String]) {
        for warning in warnings {
            self.line(report::printable(&report::told(format!("warning: {warning}"))));
        }
    }

    /// Writes text to standard error and to the log, even if the console is quiet.
    pub(crate) fn error_text(&self, text: &str) {
        self.log(text);
        self.write(self.paint.message(text).as_bytes());
    }

    /// Writes to standard error alone, even if the console is quiet. A failure is ignored, since there is
    /// no other place to report it.
    pub(crate) fn write(&self, bytes: &[u8]) {
        self.wait_for_terminal();
        match &self.style {
            Style::Live(screen) => screen.above(bytes),
            Style::Quiet | Style::Plain | Style::Json(_) => {
                let _ = io::stderr().lock().write_all(bytes);
            }
        }
    }

    /// Shows a warning.
    pub(crate) fn warning(&self, warning: &Warning) {
        let text = report::warning(warning);
        match &self.style {
            Style::Json(raw) => {
                self.log(&text);
                self.write(lock(raw).warning(&text).as_bytes());
            }
            _ => self.line(text),
        }
    }

    /// Shows the rules that a Dockerfile with the text `source` and that path breaks.
    pub(crate) fn findings(&self, findings: &Diagnostics, (source, path): (&str, &str)) {
        if let Style::Json(raw) = &self.style {
            self.write(lock(raw).findings(findings, source).as_bytes());
            return;
        }
        let lines: Vec<&str> = source.lines().collect();
        for finding in findings.iter().take(MAX_SHOWN) {
            self.line(report::finding(finding, (path, &lines)));
        }
        if let Some(more) = findings.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
            self.line(format_args!("warning: {more} more; {}", hints::check_shows_all()));
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

    /// Tells programs how a transfer goes on; `now` is the time.
    pub(crate) fn transfer(&self, transfer: &Transfer, state: TransferState, now: Instant) {
        if let Style::Json(raw) = &self.style {
            let line = lock(raw).transfer(transfer, state, now);
            self.write(line.unwrap_or_default().as_bytes());
        }
    }

    /// Tells programs that a build has ended.
    pub(crate) fn end(&self) {
        if let Style::Json(raw) = &self.style {
            self.write(lock(raw).end().as_bytes());
        }
    }

    /// Shows what a build says about its surroundings and its results.
    pub(crate) fn remark(&self, event: Event<'_>) {
        match event {
            Event::Isolation(choice) => self.line(format_args!("isolation: {choice}")),
            Event::Twins { image, platform, count } => {
                let programs = if count == 1 { "program" } else { "programs" };
                self.line(format_args!(
                    "twins: {platform}: {count} {programs} of {image} run natively"
                ));
            }
            Event::Compilers { image, platform, names } => self.line(format_args!(
                "cross: {platform}: in steps of {image} run natively: {}",
                names.join(", ")
            )),
            Event::Emulated { usage, steps } => {
                self.line(format_args!("emulation: in {steps} emulated steps {usage}"));
            }
            Event::Verified { paths } => self.line(format_args!(
                "verify: the same result natively and under QEMU, {paths} paths"
            )),
            Event::Emulator(emulator) => self.line(format_args!("emulator: {emulator}")),
            Event::Loaded { engine, names, sent, layers } => {
                let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                let names = if names.is_empty() { "the image".into() } else { names.join(", ") };
                self.line(format_args!(
                    "loaded {names} into {engine}: {sent} of {layers} layers sent"
                ));
            }
            Event::MountsSaved { cache, scope, mounts } => {
                let s = if mounts == 1 { "" } else { "s" };
                self.line(format_args!(
                    "cache: {mounts} cache mount{s} in {cache} (scope {scope})"
                ));
            }
            Event::CacheSaved { cache, scope, steps, new } => self.line(format_args!(
                "cache: {steps} steps in {cache} (scope {scope}), {new} of them new"
            )),
            _ => {}
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
            self.error_text(&problem.render());
        }
        ExitCode::from(problem.exit_code())
    }

    /// Writes a result to standard output. If its reader went away the program ends without an
    /// error message.
    pub(crate) fn result(&self, bytes: &[u8]) -> Result<(), Problem> {
        let write = || {
            let mut out = io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        };
        let written = match &self.style {
            // Standard output may be the same terminal.
            Style::Live(screen) => screen.without(write),
            Style::Quiet | Style::Plain | Style::Json(_) => write(),
        };
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Problem::new(ProblemKind::BrokenPipe, ""),
            _ => Problem::failure(FailureKind::Internal, format!("cannot write output: {error}")),
        })
    }
}

/// Locks the maker of lines of JSON. Nobody panics while holding it.
fn lock(raw: &Mutex<RawJson>) -> MutexGuard<'_, RawJson> {
    raw.lock().unwrap_or_else(PoisonError::into_inner)
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
