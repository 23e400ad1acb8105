//! The result of a step, as a cache remembers it.

use serde::{Deserialize, Serialize};

use crate::Chain;

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The layers that the step added, usually one.
    pub added: Chain,
    /// When the step ran, RFC 3339: an image made of cached steps equals the image that was made
    /// when they ran.
    pub created: String,
    /// The step as progress shows it, for people who list the cache.
    pub description: String,
}

/// The most characters of a step's name that are shown.
const LABEL_CHARS: usize = 200;

/// Returns the name of a step for messages: one line of bounded length, whatever the length of its
/// command.
pub fn short_label(label: &str) -> String {
    let line = label.lines().next().unwrap_or_default();
    let mut chars = line.chars();
    let shown: String = chars.by_ref().take(LABEL_CHARS).collect();
    match chars.next().is_some() || label.trim_end().len() > line.len() {
        true => format!("{shown} .."),
        false => shown,
    }
}

#[cfg(test)]
mod label_tests {
    use super::short_label;

    #[test]
    fn a_label_is_one_line_of_bounded_length() {
        assert_eq!(short_label("[2/3] RUN true"), "[2/3] RUN true");
        assert_eq!(short_label("RUN true\n"), "RUN true");
        assert_eq!(short_label("RUN <<EOF\ntrue\nEOF\n"), "RUN <<EOF ..");
        let long = short_label(&format!("RUN {}", "\u{e9}".repeat(200_000)));
        assert_eq!(long.chars().count(), 203);
    }
}
