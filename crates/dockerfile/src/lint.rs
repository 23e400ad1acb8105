//! What is allowed but unwise.
//!
//! The rules, their names and what they look at are BuildKit's. [`lint`] applies those that need
//! nothing but the file; those that need the values of variables, base images or the build
//! context are their owners', who report through a [`Linter`] too, so that one place decides
//! which rules are on.
//!
//! **Source**: Docker's build checks reference; where it is silent, what BuildKit (2026-08) does.

mod checks;
mod rule;
#[cfg(test)]
mod tests;
mod text;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::instruction::Dockerfile;
use crate::span::Span;
pub use checks::Checks;
pub use rule::Rule;

/// Returns what the rules that need only the text have to say about a file.
///
/// ```
/// use xbuild_dockerfile::{Checks, Rule, lint, parse};
///
/// let file = parse("Dockerfile", b"FROM scratch AS Base\n")?;
/// let found = lint(&file, &Checks::default());
/// assert_eq!(found.iter().next().map(|warning| warning.rule), Some(Rule::StageNameCasing));
/// # Ok::<(), xbuild_dockerfile::ParseErrors>(())
/// ```
pub fn lint(dockerfile: &Dockerfile, checks: &Checks) -> Diagnostics {
    let mut linter = Linter::new(dockerfile, checks);
    text::all(dockerfile, &mut linter);
    linter.finish()
}

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

    /// Adds a warning about an instruction, unless its rule is off: in general, or by a
    /// `# check=` above the instruction.
    pub fn warn(&mut self, rule: Rule, span: &Span, message: impl Into<String>) {
        self.warn_because(rule, span, span, message);
    }

    /// Adds a warning about the lines of `span` to which the instruction of `cause` gave rise:
    /// the `# check=` above that one counts.
    pub fn warn_because(
        &mut self,
        rule: Rule,
        span: &Span,
        cause: &Span,
        message: impl Into<String>,
    ) {
        let above = self.dockerfile.comment_above(*cause.lines.start());
        let local = above.and_then(|comment| comment.check.as_deref());
        // As in BuildKit: what cannot be read there is a comment like any other.
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
