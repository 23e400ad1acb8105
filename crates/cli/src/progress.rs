//! Progress: the events of a build, or of several at the same time, shown to people.

mod frame;
mod journal;
mod json_steps;
mod plain;
mod tail;
mod timeline;
mod trace;
mod transfers;
mod words;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use xbuild_build::events::{Event, Events};
use xbuild_model::transfer::{Transfer, TransferState};
use xbuild_model::{DiffId, thread};
use xbuild_otlp::Trace;
use xbuild_plan::Graph;
use xbuild_registry::PushEvent;
use xbuild_solve::Event as StepEvent;

use crate::console::{Console, Style};
use crate::paint::Paint;
use crate::screen::Screen;
pub(crate) use journal::Count;
use journal::{Journal, StepId};
use json_steps::StepLines;
use trace::Ended;
pub(crate) use trace::{Failure, Told};
pub(crate) use words::seconds;

/// The time between two frames.
const TICK: Duration = Duration::from_millis(100);

/// How many of the slowest steps are told in the end.
const SLOWEST: usize = 3;

/// Shows the events of builds on a console. It takes those of the first.
pub(crate) struct Progress {
    view: Arc<View>,
    ticker: Once,
}

/// Takes the events of one of several builds.
pub(crate) struct BuildProgress {
    progress: Arc<Progress>,
    build: usize,
}

/// A build in numbers.
#[derive(Debug)]
pub(crate) struct Tally {
    /// The time since its beginning.
    pub(crate) time: Duration,
    /// The steps.
    pub(crate) count: Count,
    /// The steps that took most time, the slowest first.
    pub(crate) slowest: Vec<(String, Duration)>,
}

/// A journal, and the console that shows it.
struct View {
    console: Arc<Console>,
    journal: Mutex<Journal>,
    json: Mutex<StepLines>,
    /// What several builds say of their surroundings, each once; `None` if there is one build.
    said: Option<Mutex<HashSet<String>>>,
    /// Whether nothing but warnings is shown.
    is_silent: bool,
}

/// The number of the first build.
const FIRST: usize = 0;

impl Progress {
    /// Returns a progress that shows nothing yet.
    pub(crate) fn new(console: Arc<Console>) -> Self {
        Self::of_one(console, false)
    }

    /// Returns a progress for commands that move images; if `quiet` it shows nothing but warnings.
    pub(crate) fn of_transfers(console: &Arc<Console>, quiet: bool) -> Arc<Self> {
        Arc::new(Self::of_one(Arc::clone(console), quiet))
    }

    /// Returns a progress of builds that [`build`](Self::build) adds.
    pub(crate) fn of_several(console: Arc<Console>) -> Self {
        Self::of(console, Journal::new(Instant::now()), Some(Mutex::default()), false)
    }

    fn of_one(console: Arc<Console>, is_silent: bool) -> Self {
        let mut journal = Journal::new(Instant::now());
        journal.add(None);
        Self::of(console, journal, None, is_silent)
    }

    fn of(
        console: Arc<Console>,
        journal: Journal,
        said: Option<Mutex<HashSet<String>>>,
        is_silent: bool,
    ) -> Self {
        let (journal, json) = (Mutex::new(journal), Mutex::default());
        Self {
            view: Arc::new(View { console, journal, json, said, is_silent }),
            ticker: Once::new(),
        }
    }

    /// Adds a build. Its steps begin with its name, if it has one.
    pub(crate) fn build(self: &Arc<Self>, name: Option<&str>) -> Arc<BuildProgress> {
        let build = self.view.lock().add(name.map(str::to_owned));
        Arc::new(BuildProgress { progress: Arc::clone(self), build })
    }

    /// Does what [`of_transfers`](Self::of_transfers) does, for a command without a trace.
    pub(crate) fn events(console: &Arc<Console>, quiet: bool) -> Arc<dyn Events> {
        Self::of_transfers(console, quiet)
    }

    /// Returns the last lines of the step with that label, for its error; none in plain style,
    /// which has just shown them.
    pub(crate) fn tail(&self, label: &str) -> Vec<String> {
        self.tail_of(FIRST, label)
    }

    fn tail_of(&self, build: usize, label: &str) -> Vec<String> {
        match self.view.console.style() {
            Style::Plain | Style::Json(_) => Vec::new(),
            Style::Live(_) | Style::Quiet => self.view.lock().take_tail(build, label),
        }
    }

    /// Returns how long the build took so far, how many steps it had, and which took most time.
    pub(crate) fn tally(&self) -> Tally {
        let journal = self.view.lock();
        let slowest = journal.slowest(SLOWEST).into_iter();
        Tally {
            time: journal.began.elapsed(),
            count: journal.count(),
            slowest: slowest.map(|(label, time)| (label.to_owned(), time)).collect(),
        }
    }

    /// Returns the timeline of the build, a page of HTML. `bytes` returns the size of a layer's blob.
    pub(crate) fn timeline(&self, bytes: &dyn Fn(&DiffId) -> Option<u64>) -> String {
        timeline::page(&self.view.lock(), Instant::now(), bytes)
    }

    /// Returns the trace of builds, with that id.
    pub(crate) fn trace(&self, id: [u8; 16], told: &Told<'_>) -> Trace {
        let (journal, now) = (self.view.lock(), (Instant::now(), SystemTime::now()));
        Ended { journal: &journal, told, now }.trace(id)
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

    fn step(&self, id: StepId, event: StepEvent<'_>) {
        self.console.wait_for_terminal();
        let (now, paint) = (Instant::now(), self.console.paint());
        let mut journal = self.lock();
        journal.step(id, event, now);
        let lines = |paint| plain::lines(&journal, id, event, (now, paint));
        if let Some(text) = lines(Paint::default()) {
            self.console.log(&text);
        }
        match self.console.style() {
            Style::Plain => {
                if let Some(text) = lines(paint) {
                    self.console.write(format!("{text}\n").as_bytes());
                }
            }
            Style::Live(_) => {
                let step = journal.get(id);
                let columns = Screen::size().columns;
                if let Some(line) = step.and_then(|step| frame::ended(step, columns, paint)) {
                    self.draw(&journal, &format!("{line}\n"));
                }
            }
            Style::Json(_) => {
                let line = self.steps().step(&journal, id, event);
                self.console.write(line.unwrap_or_default().as_bytes());
            }
            Style::Quiet => {}
        }
    }

    fn steps(&self) -> MutexGuard<'_, StepLines> {
        self.json.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self, build: usize, graph: &Graph) {
        let mut journal = self.lock();
        journal.plan(build, graph);
        if let Style::Json(_) = self.console.style() {
            self.console.write(self.steps().plan(&journal, build).as_bytes());
        }
    }

    /// Returns whether another build has said the same about something that is no step.
    fn was_said(&self, event: Event<'_>) -> bool {
        let Some(said) = &self.said else { return false };
        let is_remark = matches!(
            event,
            Event::Warning(_)
                | Event::Lint { .. }
                | Event::Isolation(_)
                | Event::Emulator(_)
                | Event::Base { .. }
        );
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        is_remark && !said.insert(format!("{event:?}"))
    }

    /// Takes a transfer without a word.
    fn note(&self, transfer: &Transfer, state: TransferState) {
        let _ = self.lock().transfers.take(transfer, state, Instant::now());
    }

    fn transfer(&self, transfer: &Transfer, state: TransferState) {
        let (mut journal, now) = (self.lock(), Instant::now());
        let report = journal.transfers.take(transfer, state, now);
        self.console.transfer(transfer, state, now);
        let ended = journal.transfers.ended_pulls();
        let is_plain = matches!(self.console.style(), Style::Plain);
        let lines = report.filter(|_| is_plain).into_iter().chain(ended);
        self.say(&journal, lines);
    }

    fn push(&self, event: PushEvent<'_>) {
        // On a terminal the bytes of a push are enough.
        let is_shown = matches!(event, PushEvent::Tagged { .. })
            || matches!(self.console.style(), Style::Plain | Style::Quiet);
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
            Style::Live(_) => {
                self.console.log(&text);
                self.draw(journal, &text);
            }
            Style::Plain | Style::Quiet => self.console.line(text.trim_end()),
            // The transfers themselves are told.
            Style::Json(_) => self.console.log(&text),
        }
    }

    fn finish(&self) {
        if self.is_silent {
            return;
        }
        let mut journal = self.lock();
        let ended = journal.transfers.all_ended();
        if let Style::Live(screen) = self.console.style() {
            // From here on no frame is drawn, and lines stay.
            screen.close();
        }
        self.say(&journal, ended);
        self.console.end();
    }
}

impl Events for Progress {
    fn event(&self, event: Event<'_>) {
        self.event_of(FIRST, event);
    }
}

impl Progress {
    fn event_of(&self, build: usize, event: Event<'_>) {
        let console = &self.view.console;
        if self.view.is_silent {
            return match event {
                Event::Warning(warning) => console.warning(warning),
                Event::Transfer(transfer, state) => self.view.note(transfer, state),
                _ => {}
            };
        }
        self.begin();
        if self.view.was_said(event) {
            return;
        }
        match event {
            Event::Warning(warning) => console.warning(warning),
            Event::Lint { findings, source, path } => {
                console.findings(findings, (source, path));
            }
            Event::Planned(graph) => self.view.plan(build, graph),
            Event::Step { vertex, event } => self.view.step(StepId { build, vertex }, event),
            Event::Transfer(transfer, state) => self.view.transfer(transfer, state),
            Event::Push(event) => self.view.push(event),
            Event::Base { image, is_stored } => console.base(image, is_stored),
            Event::Form { encoding, digest } => console.form(encoding, digest),
            Event::Emulated { steps: 0 | 1, .. } if matches!(console.style(), Style::Plain) => {}
            event => console.remark(event),
        }
    }
}

impl Events for BuildProgress {
    fn event(&self, event: Event<'_>) {
        self.progress.event_of(self.build, event);
    }
}

impl BuildProgress {
    /// Does what [`Progress::tail`] does for a step of this build.
    pub(crate) fn tail(&self, label: &str) -> Vec<String> {
        self.progress.tail_of(self.build, label)
    }
}
