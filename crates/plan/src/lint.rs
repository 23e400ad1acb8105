//! The rules of the linter that need more than the text: values of variables, base images or the
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

/// Returns warnings about a file that is built with these options. [`xbuild_dockerfile::lint`] has
/// the rules that need only the text.
///
/// `ignored` tells whether the ignore file excludes a path, as COPY names it, from the main
/// context.
///
/// [`crate::plan()`] reports errors. No image is asked for: rules that need a base image skip the
/// stages whose base image is not among `images`.
///
/// **Shape**: rules about FROM look at all stages, others at those that the target needs
/// ([`PlanOptions::every_stage`]). A warning that holds for several platforms is there once.
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
        // Arguments that cannot be expanded are an error of the plan.
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
