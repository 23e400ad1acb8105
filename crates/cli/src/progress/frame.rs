//! A terminal's lines: those that stay, of steps that have ended, and the frame below them, with a
//! head, the transfers, and the steps under way with the end of their output.

use std::fmt::Write as _;
use std::time::Instant;

use super::journal::{Count, Journal, Step, StepState};
use super::words::seconds;
use crate::columns::{fit, justify, without_tabs};
use crate::paint::{Colour, Paint};
use crate::screen::{Drawing, Size};

/// The most lines of output of a step.
const LINES: usize = 6;

/// The most repositories with a line.
const REPOSITORIES: usize = 4;

/// Blanks before output.
const INDENT: &str = "    ";

/// Returns the frame of a build at some time.
pub(super) fn frame(journal: &Journal, now: Instant, size: Size, paint: Paint) -> Drawing {
    // Where lines do not wrap, what comes after the last column would be written into it.
    let columns = size.columns.saturating_sub(1);
    let mut lines = vec![paint.text(Colour::Bold, &fit(&head(journal, now), columns))];
    for (name, state) in journal.transfers.under_way(now).iter().take(REPOSITORIES) {
        lines.push(justify(&format!("> {name}"), state, columns));
    }
    let steps = journal.under_way();
    // The cursor needs the last row.
    let room = size.rows.saturating_sub(1 + lines.len());
    let listed = if steps.len() <= room { steps.len() } else { room.saturating_sub(1) };
    let output = (room - listed).checked_div(listed).unwrap_or(0).min(LINES);
    let mut last_words = String::new();
    for (step, since) in &steps[..listed] {
        lines.push(running(step, *since, now, columns));
        for line in output_of(step).into_iter().rev().take(output).rev() {
            let text = format!("{INDENT}{}", without_tabs(line));
            lines.push(paint.text(Colour::Dim, &fit(&text, columns)));
        }
        let time = since.map_or_else(String::new, |since| seconds(now.duration_since(since)));
        let _ = writeln!(
            last_words,
            "{}",
            ending("-", &step.label, &format!("CANCELED {time}"), columns)
        );
    }
    if listed < steps.len() && room > 0 {
        lines.push(fit(&format!("> {} more steps", steps.len() - listed), columns));
    }
    lines.truncate(size.rows.saturating_sub(1));
    Drawing { lines, columns: size.columns, last_words }
}

/// Returns the first line: the time, how many steps have ended, and how many came from the cache.
fn head(journal: &Journal, now: Instant) -> String {
    let time = seconds(now.duration_since(journal.began));
    match journal.count() {
        Count { all: 0, .. } => time,
        Count { all, ended, cached } => format!("{time} · {ended}/{all} · {cached} cached"),
    }
}

fn running(step: &Step, since: Option<Instant>, now: Instant, columns: usize) -> String {
    let time = match since {
        Some(since) => seconds(now.duration_since(since)),
        None => "preparing".to_owned(),
    };
    justify(&format!("> {}", step.label), &time, columns)
}

/// Returns the last lines of a step: of its output, else why it runs.
fn output_of(step: &Step) -> Vec<&str> {
    match step.tail.is_empty() {
        true => vec![&step.why],
        false => step.tail.last(LINES).collect(),
    }
}

/// Returns the line of a step that has ended; `None` while it has not.
pub(super) fn ended(step: &Step, columns: usize, paint: Paint) -> Option<String> {
    let (sign, colour, text) = match step.state {
        StepState::Cached => ("=", Colour::Cached, "CACHED".to_owned()),
        StepState::Done(time) => ("+", Colour::Good, seconds(time)),
        StepState::Failed(time) => ("!", Colour::Bad, format!("ERROR {}", seconds(time))),
        StepState::Cancelled(time) => ("-", Colour::Warning, format!("CANCELED {}", seconds(time))),
        StepState::Waiting | StepState::Preparing | StepState::Working(_) => return None,
    };
    let line = ending(sign, &step.label, &text, columns);
    // The sign takes one byte.
    Some(paint.text(colour, &line[..1]) + &line[1..])
}

/// Returns a sign, a label and a text in one line.
fn ending(sign: &str, label: &str, text: &str, columns: usize) -> String {
    let room = columns.saturating_sub(text.len() + sign.len() + 2);
    fit(&format!("{sign} {} {text}", fit(label, room)), columns.max(1))
}
