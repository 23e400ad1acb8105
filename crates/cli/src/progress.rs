//! Progress: the events of a build, shown to people.

mod frame;
mod journal;
mod plain;
mod tail;
mod transfers;
mod words;

use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use xbuild_build::events::{Event, Events};
use xbuild_model::thread;
use xbuild_model::transfer::{Transfer, TransferState};
use xbuild_plan::VertexId;
use xbuild_registry::PushEvent;
use xbuild_solve::Event as StepEvent;

use crate::console::{Console, Style};
use crate::screen::{Drawing, Screen};
use journal::Journal;

/// The time between two frames.
const TICK: Duration = Duration::from_millis(100);

/// Shows the events of a build on a console.
pub(crate) struct Progress {
    view: Arc<View>,
    ticker: Once,
}

/// A journal, and the console that shows it.
struct View {
    console: Arc<Console>,
    journal: Mutex<Journal>,
}

impl Progress {
    /// Returns a progress that shows nothing yet.
    pub(crate) fn new(console: Arc<Console>) -> Self {
        let journal = Mutex::new(Journal::new(Instant::now()));
        Self { view: Arc::new(View { console, journal }), ticker: Once::new() }
    }

    /// Returns a progress for commands that move images; without `quiet` it also shows what is moved.
    pub(crate) fn events(console: &Arc<Console>, quiet: bool) -> Arc<dyn Events> {
        match quiet {
            true => Arc::clone(console) as Arc<dyn Events>,
            false => Arc::new(Self::new(Arc::clone(console))),
        }
    }

    /// Returns the last lines of the step with that label, for its error; none in plain style,
    /// which has just shown them.
    pub(crate) fn tail(&self, label: &str) -> Vec<String> {
        match self.view.console.style() {
            Style::Plain => Vec::new(),
            Style::Live(_) | Style::Quiet => self.view.lock().take_tail(label),
        }
    }

    /// Shows what is left to say of the transfers, and ends the frame.
    pub(crate) fn finish(&self) {
        self.view.finish();
    }

    /// Draws frames from now on until the progress is dropped. Without a thread they are drawn when
    /// something happens.
    fn begin(&self) {
        self.ticker.call_once(|| {
            if !matches!(self.view.console.style(), Style::Live(_)) {
                return;
            }
            let view = Arc::downgrade(&self.view);
            let turn = move || {
                while let Some(view) = view.upgrade() {
                    view.draw(&view.lock(), "");
                    drop(view);
                    std::thread::sleep(TICK);
                }
            };
            let _ = thread::start("ticker", turn);
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.view.finish();
    }
}

impl View {
    fn lock(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws the frame, and writes lines above it, each with its end.
    fn draw(&self, journal: &Journal, above: &str) {
        if let Style::Live(screen) = self.console.style() {
            let size = Screen::size();
            screen.draw(above, frame::frame(journal, Instant::now(), size, self.console.paint()));
        }
    }

    fn step(&self, id: VertexId, event: StepEvent<'_>) {
        self.console.wait_for_terminal();
        let (now, paint) = (Instant::now(), self.console.paint());
        let mut journal = self.lock();
        journal.step(id, event, now);
        match self.console.style() {
            Style::Plain => {
                if let Some(text) = plain::lines(&journal, id, event, (now, paint)) {
                    self.console.line(text);
                }
            }
            Style::Live(_) => {
                let step = journal.get(id);
                let columns = Screen::size().columns;
                if let Some(line) = step.and_then(|step| frame::ended(step, columns, paint)) {
                    self.draw(&journal, &format!("{line}\n"));
                }
            }
            Style::Quiet => {}
        }
    }

    fn transfer(&self, transfer: &Transfer, state: TransferState) {
        let mut journal = self.lock();
        let report = journal.transfers.take(transfer, state, Instant::now());
        let ended = journal.transfers.ended_pulls();
        let is_plain = matches!(self.console.style(), Style::Plain);
        let lines = report.filter(|_| is_plain).into_iter().chain(ended);
        self.say(&journal, lines);
    }

    fn push(&self, event: PushEvent<'_>) {
        // On a terminal the bytes of a push are enough.
        let is_shown = matches!(event, PushEvent::Tagged { .. })
            || matches!(self.console.style(), Style::Plain);
        if matches!(event, PushEvent::Tagged { .. }) {
            let mut journal = self.lock();
            let ended = journal.transfers.all_ended();
            self.say(&journal, ended);
        }
        if is_shown {
            self.console.push(event);
        }
    }

    /// Shows lines for good.
    fn say(&self, journal: &Journal, lines: impl IntoIterator<Item = String>) {
        let text: String = lines.into_iter().map(|line| line + "\n").collect();
        match self.console.style() {
            _ if text.is_empty() => {}
            Style::Live(_) => self.draw(journal, &text),
            Style::Plain | Style::Quiet => self.console.line(text.trim_end()),
        }
    }

    fn finish(&self) {
        let mut journal = self.lock();
        let ended = journal.transfers.all_ended();
        if let Style::Live(screen) = self.console.style() {
            screen.close();
            let above: String = ended.into_iter().map(|line| line + "\n").collect();
            screen.draw(&above, Drawing::default());
        } else {
            self.say(&journal, ended);
        }
    }
}

impl Events for Progress {
    fn event(&self, event: Event<'_>) {
        self.begin();
        let console = &self.view.console;
        match event {
            Event::Warning(warning) => console.warning(warning),
            Event::Lint { findings, source } => console.findings(findings, source),
            Event::Planned(graph) => self.view.lock().plan(graph),
            Event::Step { vertex, event } => self.view.step(vertex, event),
            Event::Transfer(transfer, state) => self.view.transfer(transfer, state),
            Event::Push(event) => self.view.push(event),
            Event::Base { image, is_stored } => console.base(image, is_stored),
            Event::Form { encoding, digest } => console.form(encoding, digest),
            Event::Emulated { steps: 0 | 1, .. } if matches!(console.style(), Style::Plain) => {}
            event => console.remark(event),
        }
    }
}
