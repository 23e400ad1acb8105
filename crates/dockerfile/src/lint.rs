//! What is allowed but unwise.
//!
//! The rules, their names and what they look at are BuildKit's. [`lint`] applies those that need
//! nothing but the file; those that need the values of variables, base images or the build
//! context are their owners', who report through a [`Linter`] too, so that one place decides
//! which rules are on.
//!
//! **Source**: Docker's build checks reference; where it is silent, what BuildKit (2026-08) does.

mod checks;
mod diagnostic;
mod linter;
mod rule;
#[cfg(test)]
mod tests;
mod text;

use crate::instruction::Dockerfile;
pub use checks::Checks;
pub use diagnostic::{Diagnostic, Diagnostics};
pub use linter::Linter;
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
