//! The rules of the linter that need more than the text: values of variables, base images, the
//! build context.

mod bases;
mod stages;
#[cfg(test)]
mod tests;
mod texts;

use xbuild_dockerfile::{Checks, Diagnostics, Dockerfile, Linter};

use crate::arguments;
use crate::options::{Images, PlanOptions};
use crate::plan::reach;
use crate::reach::{Findings, Names};

/// Returns what is allowed but unwise in a file as these options build it. The rules that need
/// only the text are [`xbuild_dockerfile::lint`]'s.
///
/// `ignored` tells whether the ignore file excludes a path, as COPY names it, from the main
/// context.
///
/// What is wrong is left to [`crate::plan()`] to say, and nothing is asked for: what stands on a
/// base image that is not among `images` is not looked at by rules that would have to know it.
///
/// **Shape**: rules about FROM look at all stages, others at those that the target needs
/// ([`PlanOptions::every_stage`]); what holds for several platforms is there once.
///
/// ```
/// use xbuild_dockerfile::{Checks, Rule, parse};
/// use xbuild_plan::{Images, PlanOptions, lint};
///
/// let file = parse("Dockerfile", b"FROM scratch\nARG NAME=x\nWORKDIR /$NAMES\n")?;
/// let options = PlanOptions::new("linux/amd64".parse()?);
/// let found = lint(&file, &options, &Images::default(), &Checks::default(), &|_| false);
/// let warning = found.iter().next().expect("NAMES is not set");
/// assert_eq!(warning.rule, Rule::UndefinedVar);
/// assert_eq!(warning.message, "the variable $NAMES is not set (did you mean $NAME?)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn lint(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    images: &Images,
    checks: &Checks,
    ignored: &dyn Fn(&str) -> bool,
) -> Diagnostics {
    let mut linter = Linter::new(dockerfile, checks);
    let names = Names::new(dockerfile, options, images);
    for platform in options.asked() {
        // Arguments that cannot be had are an error of the plan.
        if let Ok(globals) = arguments::globals(dockerfile, options, platform) {
            bases::check(dockerfile, &globals, &mut linter);
        }
    }
    bases::check_defaults(dockerfile, options, &mut linter);
    let given = arguments::given(options);
    for goal in &reach(&names, options, &mut Findings::default()) {
        stages::check(&names, goal, &given, ignored, &mut linter);
    }
    linter.finish()
}
