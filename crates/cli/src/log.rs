//! `-D` and `XBUILD_LOG`: spans and events of all crates, as lines on standard error.
//!
//! Without one of the two no subscriber is installed, and spans cost nothing. Lines go through the
//! [`Console`], so they do not tear the bars of a terminal.

use std::io::{self, Write};
use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use xbuild_wording::{hints, quoted};

use crate::console::Console;
use crate::report::{Problem, printable, told};

/// The crates that a filter can name, without their prefix.
const CRATES: &[&str] = &[
    "attest",
    "bake",
    "build",
    "cache",
    "dockerfile",
    "exec",
    "files",
    "image",
    "layer",
    "model",
    "otlp",
    "plan",
    "registry",
    "snapshot",
    "solve",
    "source",
    "store",
    "wording",
];

/// The prefix of our crates. Other crates are never shown: some put headers, and so passwords, into
/// their events.
const PREFIX: &str = "xbuild";

/// Shows spans and events from now on. `filter` is the value of `XBUILD_LOG`; without a filter
/// `debug` turns the level debug on.
pub(crate) fn start(
    filter: Option<&str>,
    debug: bool,
    console: &Arc<Console>,
) -> Result<(), Problem> {
    let filter = match filter {
        Some(text) => targets(text)?,
        None if debug => targets("debug")?,
        None => return Ok(()),
    };
    let lines = fmt::layer()
        .with_writer(Lines(Arc::clone(console)))
        .with_ansi(false)
        .with_span_events(FmtSpan::NEW | FmtSpan::CLOSE);
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    tracing::subscriber::set_global_default(subscriber)
        .expect("nothing else of this program installs a subscriber");
    Ok(())
}

/// Reads a filter: `LEVEL` for all crates, `CRATE[::MODULE][=LEVEL]` for one, joined by commas.
fn targets(text: &str) -> Result<Targets, Problem> {
    let fail = |reason: String| {
        Problem::command_line(format!("invalid XBUILD_LOG {text}: {reason}", text = quoted(&text)))
            .with_hint(hints::form_of_log())
    };
    let mut targets = Targets::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let level = |text: &str| {
            text.parse::<LevelFilter>()
                .map_err(|_| fail(format!("{text} is not a level", text = quoted(&text))))
        };
        let (target, level) = match part.split_once('=') {
            Some((target, text)) => (target, level(text)?),
            None => match level(part) {
                Ok(level) => {
                    targets = targets.with_target(PREFIX, level);
                    continue;
                }
                Err(_) => (part, LevelFilter::TRACE),
            },
        };
        let name = target.strip_prefix("xbuild_").unwrap_or(target);
        let crate_name = name.split("::").next().unwrap_or_default();
        if !CRATES.contains(&crate_name) {
            return Err(fail(format!(
                "{crate_name} is not a crate of xbuild",
                crate_name = quoted(&crate_name)
            )));
        }
        targets = targets.with_target(format!("{PREFIX}_{name}"), level);
    }
    Ok(targets)
}

/// Makes writers of lines.
struct Lines(Arc<Console>);

/// Writes lines without control characters and passwords.
struct Line<'a>(&'a Console);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A whole line comes at once.
        self.0.error_text(&printable(&told(String::from_utf8_lossy(bytes).into_owned())));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn a_filter_is_for_all_crates_or_for_some() {
        let shows = |filter: &str, target: &str, level: Level| {
            targets(filter).unwrap().would_enable(target, &level)
        };
        assert!(shows("debug", "xbuild_registry::push", Level::DEBUG));
        assert!(!shows("debug", "xbuild_registry::push", Level::TRACE));
        assert!(!shows("trace", "hyper::client", Level::ERROR));
        assert!(shows("registry=trace", "xbuild_registry::push", Level::TRACE));
        assert!(!shows("registry=trace", "xbuild_store", Level::ERROR));
        assert!(shows("info, registry::push", "xbuild_registry::push", Level::TRACE));
        assert!(!shows("info,registry::push", "xbuild_registry::auth", Level::DEBUG));
        assert!(!shows("debug,xbuild_store=off", "xbuild_store::blob", Level::ERROR));
        for (filter, word) in
            [("loud", "loud"), ("registry=loud", "loud"), ("registri=info", "registri")]
        {
            let problem = targets(filter).unwrap_err();
            assert!(problem.message().contains(word), "{}", problem.message());
        }
    }

    #[test]
    fn a_filter_can_name_each_crate() {
        let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/crates");
        for entry in std::fs::read_dir(crates).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_listed = CRATES.contains(&name.as_str());
            assert!(is_listed || ["cli", "testkit"].contains(&name.as_str()), "{name}");
        }
    }
}
