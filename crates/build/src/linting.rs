//! The rules of the linter, applied with the ignore file and the build arguments.

use std::collections::BTreeSet;

use xbuild_dockerfile::{Checks, Diagnostics, Dockerfile, ParseErrors};
use xbuild_plan::{Images, PlanOptions};

use crate::dockerfile_file::IgnoreFile;
use crate::error::{ContextError, PlanningError, RequestError};

/// The build argument that overrides `# check=`.
const CHECK: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// Returns which rules are on.
pub(crate) fn checks(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
) -> Result<Checks, RequestError> {
    match options.build_args.iter().rfind(|(name, _)| name == CHECK) {
        None => Ok(Checks::of(dockerfile)),
        Some((_, value)) => Checks::parse(value).map_err(|error| RequestError::Checks {
            name: CHECK,
            value: value.clone(),
            error,
        }),
    }
}

/// Applies the rules that need only the text to the lines above the first error.
pub(crate) fn above(errors: &ParseErrors, options: &PlanOptions) -> Diagnostics {
    // The errors of the file are reported, not that of the checks.
    let checks = checks(errors.above(), options).unwrap_or_default();
    xbuild_dockerfile::lint(errors.above(), &checks)
}

/// Applies all rules. `ignore` is the ignore file.
pub(crate) fn all(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    images: &Images,
    checks: &Checks,
    ignore: Option<&IgnoreFile>,
) -> Result<Diagnostics, ContextError> {
    let rules = ignore.map(IgnoreFile::rules).transpose()?;
    let rules = rules.unwrap_or_default();
    let ignored = |path: &str| rules.excludes(path.as_bytes());
    let of_text = xbuild_dockerfile::lint(dockerfile, checks);
    let of_plan = xbuild_plan::lint(dockerfile, options, images, checks, &ignored);
    Ok(of_text.into_iter().chain(of_plan).collect())
}

/// Fails a build that breaks rules if `# check=error=true` says so.
pub(crate) fn fail(checks: &Checks, findings: &Diagnostics) -> Result<(), PlanningError> {
    if !checks.fails_build() || findings.is_empty() {
        return Ok(());
    }
    let rules: BTreeSet<&str> = findings.iter().map(|finding| finding.rule.name()).collect();
    Err(PlanningError::Lint { rules: rules.into_iter().collect::<Vec<_>>().join(", ") })
}
