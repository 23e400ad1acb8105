//! Warnings about instructions that are allowed but unwise.
//!
//! The rules, their names and their subjects are BuildKit's. [`lint`] applies the rules that need
//! nothing but the file. Rules that need the values of variables, base images or the build context
//! are in `plan`. They report through a [`Linter`], too, so that one place decides which rules are
//! on.
//!
//! **Source**: Docker's build checks reference; where it is silent, BuildKit (2026-08) as measured.

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

/// Returns the warnings of the rules that need only the text of a file.
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
