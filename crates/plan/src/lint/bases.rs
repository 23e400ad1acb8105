//! The rules about FROM.

use std::cell::RefCell;
use std::collections::BTreeSet;

use xbuild_dockerfile::expand::expand_word;
use xbuild_dockerfile::{Dockerfile, Linter, Rule, Span};
use xbuild_model::{Platform, Reference};

use crate::arguments;
use crate::options::PlanOptions;
use crate::variables::{Variables, similar};

/// The variable with the default of FROM `--platform`.
const TARGET_PLATFORM: &str = "TARGETPLATFORM";

/// A text of FROM, expanded.
#[derive(Debug, Default)]
struct Expanded {
    /// `None` if it cannot be expanded.
    text: Option<String>,
    /// The variables that it names: first those that are set, then those that are not.
    set: Vec<String>,
    unset: Vec<String>,
}

impl Expanded {
    fn new(written: &str, escape: char, variables: &Variables) -> Self {
        let found = RefCell::new(Expanded::default());
        let look_up = |name: &str| {
            let value = variables.get(name).map(str::to_owned);
            let mut found = found.borrow_mut();
            let list = if value.is_some() { &mut found.set } else { &mut found.unset };
            if !list.iter().any(|known| known == name) {
                list.push(name.to_owned());
            }
            value
        };
        let text = expand_word(written, escape, &look_up).ok().map(|expansion| expansion.text);
        Expanded { text, ..found.into_inner() }
    }
}

/// Applies the rules that depend on the platform asked for.
pub(super) fn check(dockerfile: &Dockerfile, globals: &Variables, linter: &mut Linter<'_>) {
    let declarations = dockerfile.globals.iter().flat_map(|arg| &arg.value.declarations);
    let declared: BTreeSet<&str> = declarations.map(|it| it.name.as_str()).collect();
    for stage in &dockerfile.stages {
        let from = &stage.from;
        let image = Expanded::new(&from.image, dockerfile.escape, globals);
        undeclared(&declared, &image, globals, &from.span, linter);
        let Some(written) = &from.platform else { continue };
        let platform = Expanded::new(written, dockerfile.escape, globals);
        undeclared(&declared, &platform, globals, &from.span, linter);
        let Some(text) = &platform.text else { continue };
        let is_target = platform.set == [TARGET_PLATFORM] && platform.unset.is_empty();
        if is_target && globals.get(TARGET_PLATFORM) == Some(text) {
            let message = format!("--platform={written} says what holds anyhow");
            linter.warn(Rule::RedundantTargetPlatform, &from.span, message);
        }
        if platform.set.is_empty() && platform.unset.is_empty() {
            constant(text, from.name.as_deref().unwrap_or_default(), &from.span, linter);
        }
    }
}

fn undeclared(
    declared: &BTreeSet<&str>,
    expanded: &Expanded,
    globals: &Variables,
    span: &Span,
    linter: &mut Linter<'_>,
) {
    for name in expanded.unset.iter().filter(|name| !declared.contains(name.as_str())) {
        let known = globals.iter().map(|(name, _)| name.as_str()).chain(declared.iter().copied());
        let message =
            format!("the variable ${name} is not declared by an ARG above the first FROM");
        linter.warn(Rule::UndefinedArgInFrom, span, with_suggestion(message, name, known));
    }
}

/// A stage that is named after its platform is a usual way to choose stages by platform.
fn constant(text: &str, name: &str, span: &Span, linter: &mut Linter<'_>) {
    let Ok(platform) = text.parse::<Platform>() else { return };
    if !name.contains(platform.os()) && !name.contains(platform.architecture()) {
        let message =
            format!("--platform={text} is a constant: the stage ignores what is built for");
        linter.warn(Rule::FromPlatformFlagConstDisallowed, span, message);
    }
}

/// Looks at the name in FROM as it is without build arguments.
pub(super) fn check_defaults(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    linter: &mut Linter<'_>,
) {
    let plain = PlanOptions { build_args: Vec::new(), ..options.clone() };
    let platform = options.asked().first().unwrap_or(&options.build_platform);
    let Ok(globals) = arguments::globals(dockerfile, &plain, platform) else { return };
    for stage in dockerfile.stages.iter().filter(|stage| stage.from.image.contains('$')) {
        let written = &stage.from.image;
        let expanded = Expanded::new(written, dockerfile.escape, &globals);
        if expanded.text.is_some_and(|name| name.parse::<Reference>().is_err()) {
            let message =
                format!("{written} names no image while its variables have their defaults");
            linter.warn(Rule::InvalidDefaultArgInFrom, &stage.from.span, message);
        }
    }
}

/// Returns a message about an unknown variable, with the name that the user probably meant.
pub(super) fn with_suggestion<'a>(
    message: String,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> String {
    match similar(name, known) {
        Some(other) => format!("{message} (did you mean ${other}?)"),
        None => message,
    }
}
