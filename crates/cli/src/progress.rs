//! Progress: the events of a build, shown to people.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use xbuild_build::events::{Event, Events};
use xbuild_model::{short_label, thread};
use xbuild_plan::{Graph, VertexId};
use xbuild_solve::Event as StepEvent;

use crate::commands::du::size;
use crate::console::{Console, Style};
use crate::reasons;
use crate::report::printable;

/// How many of its last lines a failed step shows.
const TAIL: usize = 20;

/// The time between two states of a spinner.
const TICK: Duration = Duration::from_millis(120);

/// Shows the events of a build on a console.
pub(crate) struct Progress {
    console: Arc<Console>,
    state: Arc<Mutex<State>>,
    ticker: Once,
}

#[derive(Default)]
struct State {
    /// The label of each vertex.
    labels: Vec<String>,
    /// The time when each vertex started.
    started: HashMap<VertexId, Instant>,
    /// The last lines of each running vertex.
    tails: HashMap<VertexId, VecDeque<String>>,
    bars: HashMap<VertexId, ProgressBar>,
}

impl Progress {
    /// Returns a progress that shows nothing yet.
    pub(crate) fn new(console: Arc<Console>) -> Self {
        Self { console, state: Arc::default(), ticker: Once::new() }
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
        if self.is_plain() {
            return Vec::new();
        }
        let mut state = self.lock();
        let wanted = shown_label(label);
        let id = state.labels.iter().position(|label| *label == wanted);
        id.and_then(|id| state.tails.remove(&VertexId(id))).unwrap_or_default().into()
    }

    /// Returns whether lines of steps are shown as they come.
    fn is_plain(&self) -> bool {
        matches!(self.console.style(), Style::Plain)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, id: VertexId, event: StepEvent<'_>) {
        self.console.wait_for_terminal();
        let mut state = self.lock();
        state.note(id, event);
        match self.console.style() {
            Style::Plain => self.console.line(state.plain(id, event)),
            Style::Bars(screen) => {
                state.bars(screen, id, event);
                self.ticker.call_once(|| tick(&self.state));
            }
            Style::Quiet => {}
        }
    }
}

/// Turns the spinners and the clocks of the bars until the progress is dropped. Without a thread
/// they change when something happens.
fn tick(state: &Arc<Mutex<State>>) {
    let state = Arc::downgrade(state);
    let turn = move || {
        while let Some(state) = state.upgrade() {
            state.lock().unwrap_or_else(PoisonError::into_inner).tick();
            drop(state);
            std::thread::sleep(TICK);
        }
    };
    let _ = thread::start("ticker", turn);
}

impl Events for Progress {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Warning(warning) => self.console.warning(warning),
            Event::Lint { findings, source } => self.console.findings(findings, source),
            Event::Isolation(choice) => self.console.line(format_args!("isolation: {choice}")),
            Event::Twins { image, platform, count } => {
                let programs = if count == 1 { "program" } else { "programs" };
                self.console.line(format_args!(
                    "twins: {platform}: {count} {programs} of {image} run natively"
                ));
            }
            Event::Emulated { usage, steps } if steps > 1 || !self.is_plain() => {
                self.console.line(format_args!("emulation: in {steps} emulated steps {usage}"))
            }
            Event::Verified { paths } => self.console.line(format_args!(
                "verify: the same result natively and under QEMU, {paths} paths"
            )),
            Event::Emulator(emulator) => self.console.line(format_args!("emulator: {emulator}")),
            Event::Planned(graph) => self.lock().labels = labels(graph),
            Event::Step { vertex, event } => self.step(vertex, event),
            Event::Base { image, is_stored } => self.console.base(image, is_stored),
            Event::Fetched(blob) => self.console.line(format_args!(
                "fetch blob {} {}",
                blob.digest.short(),
                size(blob.size)
            )),
            Event::Push(event) => self.console.push(event),
            Event::Loaded { engine, names, sent, layers } => {
                let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                let names = if names.is_empty() { "the image".into() } else { names.join(", ") };
                self.console.line(format_args!(
                    "loaded {names} into {engine}: {sent} of {layers} layers sent"
                ));
            }
            Event::Form { encoding, digest } => self.console.form(encoding, digest),
            _ => {}
        }
    }
}

impl State {
    /// Keeps times and lines for later events and errors.
    fn note(&mut self, id: VertexId, event: StepEvent<'_>) {
        match event {
            StepEvent::Started(_) => {
                self.started.insert(id, Instant::now());
            }
            StepEvent::Line { line, redraws } => {
                let tail = self.tails.entry(id).or_default();
                if redraws {
                    tail.pop_back();
                }
                tail.push_back(shown(line));
                if tail.len() > TAIL {
                    tail.pop_front();
                }
            }
            StepEvent::Done(_) => {
                self.tails.remove(&id);
            }
            StepEvent::Cached | StepEvent::Failed(_) | StepEvent::Cancelled(_) => {}
        }
    }

    fn tick(&self) {
        self.bars.values().for_each(ProgressBar::tick);
    }

    fn label(&self, id: VertexId) -> &str {
        self.labels.get(id.0).map_or("", String::as_str)
    }

    /// Returns an event as one or two lines.
    fn plain(&self, id: VertexId, event: StepEvent<'_>) -> String {
        let number = id.0 + 1;
        let label = self.label(id);
        match event {
            StepEvent::Started(reasons) => {
                format!("#{number} {label}\n#{number} WHY {}", reasons::text(reasons))
            }
            StepEvent::Line { line, .. } => {
                let since =
                    self.started.get(&id).map_or(0.0, |start| start.elapsed().as_secs_f64());
                format!("#{number} {since:.2} {}", shown(line))
            }
            StepEvent::Cached => format!("#{number} {label}\n#{number} CACHED"),
            StepEvent::Done(time) => format!("#{number} DONE {}", seconds(time)),
            StepEvent::Failed(time) => format!("#{number} ERROR {}", seconds(time)),
            StepEvent::Cancelled(time) => format!("#{number} CANCELED {}", seconds(time)),
        }
    }

    /// Shows an event on the bars.
    fn bars(&mut self, screen: &MultiProgress, id: VertexId, event: StepEvent<'_>) {
        let text = match event {
            StepEvent::Started(reasons) => {
                let bar = screen.add(ProgressBar::new_spinner());
                if let Ok(style) =
                    ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}")
                {
                    bar.set_style(style);
                }
                bar.set_prefix(self.label(id).to_owned());
                // Shown until the command writes a line.
                bar.set_message(reasons::text(reasons));
                self.bars.insert(id, bar);
                return;
            }
            StepEvent::Line { line, .. } => {
                if let Some(bar) = self.bars.get(&id) {
                    bar.set_message(shown(line));
                }
                return;
            }
            StepEvent::Cached => format!("= {} CACHED", self.label(id)),
            StepEvent::Done(time) => format!("+ {} {}", self.label(id), seconds(time)),
            StepEvent::Failed(time) => format!("! {} ERROR {}", self.label(id), seconds(time)),
            StepEvent::Cancelled(time) => {
                format!("- {} CANCELED {}", self.label(id), seconds(time))
            }
        };
        if let Some(bar) = self.bars.remove(&id) {
            bar.finish_and_clear();
        }
        // If the terminal is gone nobody can read an error either.
        let _ = screen.println(text);
    }
}

fn labels(graph: &Graph) -> Vec<String> {
    graph.vertices.iter().map(|vertex| shown_label(&vertex.label)).collect()
}

/// Returns the label of a step for the screen.
fn shown_label(label: &str) -> String {
    printable(&short_label(label))
}

/// Returns a line of output for the screen.
fn shown(line: &[u8]) -> String {
    printable(&String::from_utf8_lossy(line))
}

fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_cannot_move_the_cursor() {
        assert_eq!(shown(b"\x1b[1mbold\x1b[0m \xff"), "bold \u{fffd}");
    }

    #[test]
    fn the_tail_of_a_step_has_the_last_state_of_a_redrawn_line() {
        let (mut state, id) = (State::default(), VertexId(0));
        let states = (0..100).map(|percent| (format!("{percent}%"), percent > 0));
        let lines = [("error".to_owned(), false)].into_iter().chain(states);
        for (line, redraws) in lines.chain([("end".to_owned(), false)]) {
            state.note(id, StepEvent::Line { line: line.as_bytes(), redraws });
        }
        assert_eq!(state.tails[&id], ["error", "99%", "end"]);
    }
}
