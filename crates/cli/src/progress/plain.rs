//! The lines of a log: every line of output, and why each step runs.

use std::time::Instant;

use xbuild_solve::Event;

use super::journal::{Journal, Step, StepId, StepState, Told};
use super::tail::shown;
use super::words::seconds;
use crate::paint::{Colour, Paint};

/// Returns an event of a step as lines, without a final newline; `None` if it has none. The journal
/// knows it already.
pub(super) fn lines(
    journal: &Journal,
    id: StepId,
    event: Event<'_>,
    (now, paint): (Instant, Paint),
) -> Option<String> {
    let step = journal.get(id)?;
    let Step { number, label, state, why, told, .. } = step;
    let with_label =
        |text: String| format!("#{number} {}\n{text}", paint.text(Colour::Bold, label));
    let ended = |colour, word: &str, time| {
        format!("#{number} {} {}", paint.text(colour, word), seconds(time))
    };
    Some(match event {
        Event::Started(_) => match told {
            Told::Before => format!("#{number} {}", paint.text(Colour::Bold, label)),
            told => {
                let more = match told {
                    Told::ForMany => "; so do the steps below without a WHY",
                    _ => "",
                };
                with_label(paint.text(Colour::Dim, &format!("#{number} WHY {why}{more}")))
            }
        },
        Event::Ready { .. } | Event::Programs { .. } => return None,
        Event::Line { line, .. } => {
            let since = match state {
                StepState::Working(since) => now.duration_since(*since).as_secs_f64(),
                _ => 0.0,
            };
            format!("#{number} {since:.2} {}", shown(line))
        }
        Event::Cached { .. } => {
            with_label(format!("#{number} {}", paint.text(Colour::Cached, "CACHED")))
        }
        Event::Done { time, .. } => ended(Colour::Good, "DONE", time),
        Event::Failed { time, .. } => ended(Colour::Bad, "ERROR", time),
        Event::Cancelled(time) => ended(Colour::Warning, "CANCELED", time),
    })
}
