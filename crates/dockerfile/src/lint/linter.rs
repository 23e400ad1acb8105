//! Collecting warnings.

use super::checks::Checks;
use super::diagnostic::{Diagnostic, Diagnostics};
use super::rule::Rule;
use crate::instruction::Dockerfile;
use crate::span::Span;

/// Collects the warnings about one file from the rules that are on.
#[derive(Debug)]
pub struct Linter<'a> {
    dockerfile: &'a Dockerfile,
    checks: &'a Checks,
    found: Vec<Diagnostic>,
}

impl<'a> Linter<'a> {
    /// Returns a collector for `dockerfile`.
    pub fn new(dockerfile: &'a Dockerfile, checks: &'a Checks) -> Self {
        Self { dockerfile, checks, found: Vec::new() }
    }

    /// Adds a warning about an instruction, unless its rule is off in general or by a `# check=`
    /// above the instruction.
    pub fn warn(&mut self, rule: Rule, span: &Span, message: impl Into<String>) {
        self.warn_because(rule, span, span, message);
    }

    /// Adds a warning about the lines of `span` that the instruction of `cause` gave rise to. The
    /// `# check=` above that instruction counts.
    pub fn warn_because(
        &mut self,
        rule: Rule,
        span: &Span,
        cause: &Span,
        message: impl Into<String>,
    ) {
        let above = self.dockerfile.comment_above(*cause.lines.start());
        let local = above.and_then(|comment| comment.check.as_deref());
        // As in BuildKit, a `# check=` that cannot be read here is an ordinary comment.
        let local = local.and_then(|text| Checks::parse(text).ok()).unwrap_or_default();
        if self.checks.is_on(rule, &local) {
            self.found.push(Diagnostic { rule, message: message.into(), span: span.clone() });
        }
    }

    /// Returns the warnings.
    pub fn finish(self) -> Diagnostics {
        self.found.into_iter().collect()
    }
}
