//! The timeline of a build: one page of HTML that needs nothing else, no script either.
//!
//! Each platform is a lane. Each step has a row with a bar: hatched while its files were prepared, full
//! while it worked. Pulls and pushes are a lane of their own. A table below says the same in numbers.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use xbuild_model::DiffId;

use super::journal::{Count, Journal, Step, StepState};
use super::words::seconds;
use crate::commands::du::size;

/// The style of the page.
const STYLE: &str = include_str!("timeline.css");

/// The number of lines on the scale of times.
const MARKS: u32 = 5;

/// The part of the scale that the shortest bar takes, in percent.
const SHORTEST: f64 = 0.3;

/// Returns the page of a build that ended at `end`; `bytes` returns the size of a layer's blob.
pub(super) fn page(
    journal: &Journal,
    end: Instant,
    bytes: &dyn Fn(&DiffId) -> Option<u64>,
) -> String {
    let scale = Scale { began: journal.began, whole: end.duration_since(journal.began) };
    let steps: Vec<&Step> = journal.steps().filter(|step| step.started.is_some()).collect();
    let mut lanes = String::new();
    for platform in platforms(&steps) {
        lane(&mut lanes, platform);
        for step in steps.iter().filter(|step| step.platform == platform) {
            lanes += &row(step, &scale, bytes);
        }
        lanes += "</section>\n";
    }
    if !journal.transfers.spells.is_empty() {
        lane(&mut lanes, "pulls and pushes");
        for spell in &journal.transfers.spells {
            let bar = scale.bar("moved", spell.began, spell.ended, "");
            let text = format!("{}, {}", size(spell.bytes), seconds(spell.ended - spell.began));
            lanes += &labelled(&spell.name, &text, &bar);
        }
        lanes += "</section>\n";
    }
    let head = head(journal, &scale);
    let marks = scale.marks();
    let table = table(&steps, &scale, bytes);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{head}</title>\n<style>\n{STYLE}</style></head>\n\
         <body>\n<h1>{head}</h1>\n<p class=\"legend\"><span class=\"key prepared\"></span> files are prepared \
         <span class=\"key done\"></span> a step works <span class=\"key cached\"></span> from the cache \
         <span class=\"key failed\"></span> failed or ended <span class=\"key moved\"></span> bytes are moved</p>\n\
         <div class=\"scale\"><span></span><span class=\"marks\">{marks}</span></div>\n{lanes}{table}</body></html>\n"
    )
}

fn head(journal: &Journal, scale: &Scale) -> String {
    let Count { all, cached, .. } = journal.count();
    format!("xbuild: {}, {cached} of {all} steps cached", seconds(scale.whole))
}

/// Returns the platforms of steps, each once, in the order of the steps.
fn platforms<'a>(steps: &[&'a Step]) -> Vec<&'a str> {
    let mut platforms: Vec<&str> = Vec::new();
    for step in steps {
        if !platforms.contains(&step.platform.as_str()) {
            platforms.push(&step.platform);
        }
    }
    platforms
}

fn lane(out: &mut String, name: &str) {
    let name = escaped(name);
    let _ = writeln!(out, "<section class=\"lane\" aria-label=\"{name}\"><h2>{name}</h2>");
}

/// The times of a build as places from left to right.
struct Scale {
    began: Instant,
    whole: Duration,
}

impl Scale {
    /// Returns the place of a time, in percent.
    fn place(&self, at: Instant) -> f64 {
        let whole = self.whole.as_secs_f64().max(0.001);
        (at.duration_since(self.began).as_secs_f64() / whole * 100.0).clamp(0.0, 100.0)
    }

    fn bar(&self, class: &str, from: Instant, to: Instant, title: &str) -> String {
        let left = self.place(from).min(100.0 - SHORTEST);
        let width = (self.place(to) - left).max(SHORTEST);
        let title = escaped(title);
        format!(
            "<i class=\"{class}\" style=\"left:{left:.2}%;width:{width:.2}%\" title=\"{title}\"></i>"
        )
    }

    fn marks(&self) -> String {
        let mark = |number: u32| {
            let left = f64::from(number) / f64::from(MARKS) * 100.0;
            let time = seconds(self.whole * number / MARKS);
            format!("<span style=\"left:{left:.2}%\">{time}</span>")
        };
        (0..MARKS).map(mark).collect()
    }
}

/// Returns a row: a label, its bars, and a text.
fn labelled(label: &str, text: &str, bars: &str) -> String {
    let (label, text) = (escaped(label), escaped(text));
    format!(
        "<div class=\"row\"><span class=\"label\" title=\"{label}\">{label}</span>\
         <span class=\"bars\">{bars}</span><span class=\"text\">{text}</span></div>\n"
    )
}

fn row(step: &Step, scale: &Scale, bytes: &dyn Fn(&DiffId) -> Option<u64>) -> String {
    let end = step.ended.unwrap_or(scale.began + scale.whole);
    let started = step.started.unwrap_or(end);
    let worked = step.worked.unwrap_or(end);
    let class = class(step.state);
    let mut bars = String::new();
    if step.state == StepState::Cached {
        bars += &scale.bar(class, started, end, "from the cache");
    } else {
        if worked > started {
            bars += &scale.bar("prepared", started, worked, "files are prepared");
        }
        if step.worked.is_some() {
            bars += &scale.bar(class, worked, end, &step.why);
        }
    }
    let parts = [time(step), layer_size(step, bytes), emulation(step)];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    labelled(&step.label, &parts.join(", "), &bars)
}

fn class(state: StepState) -> &'static str {
    match state {
        StepState::Cached => "cached",
        StepState::Failed(_) | StepState::Cancelled(_) => "failed",
        _ => "done",
    }
}

fn time(step: &Step) -> String {
    match step.state {
        StepState::Cached => "cached".to_owned(),
        StepState::Done(time) => seconds(time),
        StepState::Failed(time) => format!("failed after {}", seconds(time)),
        StepState::Cancelled(time) => format!("ended after {}", seconds(time)),
        StepState::Waiting | StepState::Preparing | StepState::Working(_) => String::new(),
    }
}

/// Returns the size of the layers of a step, as blobs.
fn layer_size(step: &Step, bytes: &dyn Fn(&DiffId) -> Option<u64>) -> String {
    let sizes: Vec<u64> = step.layers.iter().filter_map(bytes).collect();
    if sizes.is_empty() { String::new() } else { size(sizes.iter().sum()) }
}

/// Returns how much of a step was emulated: of its programs, if they were counted.
fn emulation(step: &Step) -> String {
    match (step.is_emulated, step.programs) {
        (false, _) => String::new(),
        (true, Some((natively, emulated))) if natively + emulated > 0 => {
            let share = emulated as f64 * 100.0 / (natively + emulated) as f64;
            format!("{share:.0} % emulated")
        }
        (true, _) => "emulated".to_owned(),
    }
}

fn table(steps: &[&Step], scale: &Scale, bytes: &dyn Fn(&DiffId) -> Option<u64>) -> String {
    let mut out = String::from(
        "<table><thead><tr><th>step<th>platform<th>began<th>time<th>layer<th>emulation<th>reason\
         </thead><tbody>\n",
    );
    for step in steps {
        let began = step.started.map_or(Duration::ZERO, |at| at.duration_since(scale.began));
        let why = if step.state == StepState::Cached { "" } else { &step.why };
        let cells = [
            &step.label,
            &step.platform,
            &seconds(began),
            &time(step),
            &layer_size(step, bytes),
            &emulation(step),
            why,
        ];
        out += "<tr>";
        for cell in cells {
            let _ = write!(out, "<td>{}", escaped(cell));
        }
        out += "\n";
    }
    out + "</tbody></table>\n"
}

/// Returns text that means itself in HTML, in attributes too.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_dockerfile_is_no_markup() {
        assert_eq!(escaped("<b a=\"x\">&"), "&lt;b a=&quot;x&quot;&gt;&amp;");
    }

    #[test]
    fn bars_are_within_the_scale() {
        let began = Instant::now();
        let scale = Scale { began, whole: Duration::from_secs(10) };
        let at = |seconds| began + Duration::from_secs(seconds);
        assert!(scale.bar("done", at(5), at(10), "").contains("left:50.00%;width:50.00%"));
        assert!(scale.bar("done", at(10), at(10), "").contains("left:99.70%;width:0.30%"));
        assert_eq!(scale.place(at(20)), 100.0);
    }
}
