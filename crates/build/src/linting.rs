//! The linter, with all that it needs from outside.

use std::collections::BTreeSet;

use xbuild_dockerfile::{Checks, Diagnostics, Dockerfile};
use xbuild_files::IgnoreRules;
use xbuild_model::FailureKind;
use xbuild_plan::{Images, PlanOptions};

use crate::problem::Problem;

/// The build argument that goes before `# check=`.
const CHECK: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// Returns which rules are on.
pub fn checks(dockerfile: &Dockerfile, options: &PlanOptions) -> Result<Checks, Problem> {
    match options.build_args.iter().rfind(|(name, _)| name == CHECK) {
        None => Ok(Checks::of(dockerfile)),
        Some((_, value)) => Checks::parse(value).map_err(|error| {
            Problem::command_line(format!("invalid --build-arg {CHECK}={value}: {error}"))
        }),
    }
}

/// Applies all rules. `ignore` is the text of the ignore file.
pub fn all(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    images: &Images,
    checks: &Checks,
    ignore: Option<&[u8]>,
) -> Result<Diagnostics, Problem> {
    let rules = ignore.map(IgnoreRules::parse).transpose();
    let rules = rules
        .map_err(|error| Problem::of(FailureKind::User, &error).during("ignore file"))?
        .unwrap_or_default();
    let ignored = |path: &str| rules.excludes(path.as_bytes());
    let of_text = xbuild_dockerfile::lint(dockerfile, checks);
    let of_plan = xbuild_plan::lint(dockerfile, options, images, checks, &ignored);
    Ok(of_text.into_iter().chain(of_plan).collect())
}

/// Fails a build that has warnings where `# check=error=true` asks for it.
pub fn fail(checks: &Checks, warnings: &Diagnostics) -> Result<(), Problem> {
    if !checks.fails_build() || warnings.is_empty() {
        return Ok(());
    }
    let rules: BTreeSet<&str> = warnings.iter().map(|warning| warning.rule.name()).collect();
    let rules = rules.into_iter().collect::<Vec<_>>().join(", ");
    Err(Problem::input(format!("lint violation found for rules: {rules}"))
        .with_hint("the file, or the build argument BUILDKIT_DOCKERFILE_CHECK, says error=true"))
}
