//! What people see while a build runs.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use xbuild_plan::{Graph, VertexId};
use xbuild_solve::{Event, Events};

use crate::reasons;
use crate::report::printable;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// tty on a terminal, else plain
    Auto,
    /// Every line of output and why each step runs, for logs
    Plain,
    /// A line for each step under way
    Tty,
    /// Nothing but errors and the result
    None,
}

/// How many of its last lines are shown of a step that failed.
const TAIL: usize = 20;

/// Shows the events of a build on standard error.
pub(crate) struct Progress {
    labels: Vec<String>,
    mode: ProgressMode,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When the work on a vertex began.
    started: HashMap<VertexId, Instant>,
    /// The last lines of each vertex under way.
    tails: HashMap<VertexId, VecDeque<String>>,
    bars: HashMap<VertexId, ProgressBar>,
    screen: Option<MultiProgress>,
}

impl Progress {
    /// Returns a view of the build of `graph`.
    pub(crate) fn new(graph: &Graph, mode: ProgressMode) -> Self {
        let labels = graph.vertices.iter().map(|vertex| {
            let label = printable(vertex.label.lines().next().unwrap_or_default());
            label.chars().take(200).collect()
        });
        let mode = match mode {
            ProgressMode::Auto if io::stderr().is_terminal() => ProgressMode::Tty,
            ProgressMode::Auto => ProgressMode::Plain,
            mode => mode,
        };
        let screen = (mode == ProgressMode::Tty).then(MultiProgress::new);
        Self {
            labels: labels.collect(),
            mode,
            state: Mutex::new(State { screen, ..State::default() }),
        }
    }

    /// Returns the last lines of the step of that name, for its error; none in plain mode, where
    /// they stand right above.
    pub(crate) fn tail(&self, label: &str) -> Vec<String> {
        if self.mode == ProgressMode::Plain {
            return Vec::new();
        }
        let mut state = self.lock();
        let wanted = printable(label.lines().next().unwrap_or_default());
        let id = self.labels.iter().position(|label| wanted.starts_with(label.as_str()));
        id.and_then(|id| state.tails.remove(&VertexId(id))).unwrap_or_default().into()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plain(&self, state: &mut State, id: VertexId, event: Event<'_>) {
        let number = id.0 + 1;
        let label = &self.labels[id.0];
        let text = match event {
            Event::Started(reasons) => {
                format!("#{number} {label}\n#{number} WHY {}", reasons::text(reasons))
            }
            Event::Line { line, .. } => {
                let since =
                    state.started.get(&id).map_or(0.0, |start| start.elapsed().as_secs_f64());
                format!("#{number} {since:.2} {}", shown(line))
            }
            Event::Cached => format!("#{number} {label}\n#{number} CACHED"),
            Event::Done(time) => format!("#{number} DONE {}", seconds(time)),
            Event::Failed(time) => format!("#{number} ERROR {}", seconds(time)),
        };
        // Nobody is left to tell if standard error is gone.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    fn tty(&self, state: &mut State, id: VertexId, event: Event<'_>) {
        let Some(screen) = state.screen.clone() else { return };
        let label = &self.labels[id.0];
        let finish = |state: &mut State, text: String| {
            if let Some(bar) = state.bars.remove(&id) {
                bar.finish_and_clear();
            }
            let _ = screen.println(text);
        };
        match event {
            Event::Started(reasons) => {
                let bar = screen.add(ProgressBar::new_spinner());
                if let Ok(style) =
                    ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}")
                {
                    bar.set_style(style);
                }
                bar.set_prefix(label.clone());
                // Until there is output to show.
                bar.set_message(reasons::text(reasons));
                bar.enable_steady_tick(Duration::from_millis(120));
                state.bars.insert(id, bar);
            }
            Event::Line { line, .. } => {
                if let Some(bar) = state.bars.get(&id) {
                    bar.set_message(shown(line));
                }
            }
            Event::Cached => finish(state, format!("= {label} CACHED")),
            Event::Done(time) => finish(state, format!("+ {label} {}", seconds(time))),
            Event::Failed(time) => finish(state, format!("! {label} ERROR {}", seconds(time))),
        }
    }
}

impl Events for Progress {
    fn event(&self, vertex: VertexId, event: Event<'_>) {
        let mut state = self.lock();
        match event {
            Event::Started(_) => {
                state.started.insert(vertex, Instant::now());
            }
            Event::Line { line, .. } => {
                let tail = state.tails.entry(vertex).or_default();
                tail.push_back(shown(line));
                if tail.len() > TAIL {
                    tail.pop_front();
                }
            }
            Event::Done(_) => {
                state.tails.remove(&vertex);
            }
            Event::Cached | Event::Failed(_) => {}
        }
        match self.mode {
            ProgressMode::Plain => self.plain(&mut state, vertex, event),
            ProgressMode::Tty => self.tty(&mut state, vertex, event),
            ProgressMode::Auto | ProgressMode::None => {}
        }
    }
}

/// Returns a line of a command's output as it is shown. A bar that the command redraws with
/// carriage returns is shown in its last state.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    printable(text.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default())
}

fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_last_state_of_a_redrawn_line() {
        assert_eq!(shown(b"10%\r50%\r100%\r"), "100%");
        assert_eq!(shown(b"\x1b[1mbold\x1b[0m \xff"), "bold \u{fffd}");
    }
}
