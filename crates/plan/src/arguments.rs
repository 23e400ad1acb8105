//! Build arguments: predefined ones, global ones, and those of the command line.

use std::collections::{HashMap, HashSet};

use xbuild_dockerfile::{ArgDeclaration, Dockerfile, Instruction};
use xbuild_model::Platform;

use crate::error::PlanError;
use crate::options::PlanOptions;
use crate::variables::{Expander, Variables};

/// The build argument that sets the time of everything that a build makes.
pub(crate) const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";
/// Its value that stands for the time of the main context.
const CONTEXT: &str = "context";
/// The build argument that sets the host name of RUN.
pub(crate) const SANDBOX_HOSTNAME: &str = "BUILDKIT_SANDBOX_HOSTNAME";

/// The build argument that separates cache folders from those of other builds.
pub(crate) const CACHE_NAMESPACE: &str = "BUILDKIT_CACHE_MOUNT_NS";

/// Proxy variables. RUN sees them without any ARG, in upper and lower case. They are not part of
/// any key, so that a build behind a proxy finds the results of a build without one.
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// The variables that the builder sets, without their prefixes `BUILD` and `TARGET`.
const PLATFORM_SUFFIXES: [&str; 5] = ["PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT"];

/// The build arguments of the command line, the last of each name.
pub(crate) type Given<'a> = HashMap<&'a str, &'a str>;

pub(crate) fn given(options: &PlanOptions) -> Given<'_> {
    let pairs = options.build_args.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut given: Given<'_> = pairs.collect();
    if let Some(time) = given.get(SOURCE_DATE_EPOCH).and_then(|value| time_of(value, options)) {
        match time {
            Some(time) => given.insert(SOURCE_DATE_EPOCH, time),
            None => given.remove(SOURCE_DATE_EPOCH),
        };
    }
    given
}

/// Returns the time of the place that a value of `SOURCE_DATE_EPOCH` names, which may not be known;
/// `None` if it names none.
fn time_of<'o>(value: &str, options: &'o PlanOptions) -> Option<Option<&'o str>> {
    let time = options.epochs.get(value).map(Option::as_deref);
    time.or_else(|| (value == CONTEXT).then_some(None))
}

/// Returns the name of the place whose time is asked for and not known.
pub(crate) fn unknown_epoch<'a>(
    dockerfile: &'a Dockerfile,
    options: &'a PlanOptions,
) -> Option<&'a str> {
    let last = options.build_args.iter().rfind(|(name, _)| name == SOURCE_DATE_EPOCH);
    let declared = dockerfile.globals.iter().flat_map(|arg| &arg.value.declarations);
    let mut defaults = declared
        .filter(|declaration| declaration.name == SOURCE_DATE_EPOCH)
        .filter_map(|declaration| declaration.default.as_deref());
    let value = last.map(|(_, value)| value.as_str()).or_else(|| defaults.next_back());
    value.filter(|value| time_of(value, options) == Some(None))
}

/// Returns the variables that FROM lines see for one platform: platform variables, then global
/// ARGs.
///
/// A stage sees none of them until it declares the name.
pub(crate) fn globals(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    platform: &Platform,
) -> Result<Variables, PlanError> {
    let given = given(options);
    let mut variables = Variables::default();
    for (prefix, platform) in [("BUILD", &options.build_platform), ("TARGET", platform)] {
        let values = [
            platform.to_string(),
            platform.os().to_owned(),
            String::new(),
            platform.architecture().to_owned(),
            platform.variant().unwrap_or_default().to_owned(),
        ];
        for (suffix, value) in PLATFORM_SUFFIXES.iter().zip(values) {
            variables.set(&format!("{prefix}{suffix}"), &value);
        }
    }
    let last = dockerfile.stages.last().and_then(|stage| stage.from.name.as_deref());
    variables.set("TARGETSTAGE", options.target.as_deref().or(last).unwrap_or("default"));
    let automatic: Vec<String> = variables.iter().map(|(name, _)| name.clone()).collect();
    for name in automatic {
        if let Some(value) = given.get(name.as_str()) {
            variables.set(&name, value);
        }
    }
    for arg in &dockerfile.globals {
        for declaration in &arg.value.declarations {
            let expander =
                Expander { variables: &variables, escape: dockerfile.escape, span: &arg.span };
            let value = own_value(declaration, &given, &expander)?;
            let named = value.as_deref().filter(|_| declaration.name == SOURCE_DATE_EPOCH);
            let value = match named.and_then(|name| time_of(name, options)) {
                Some(time) => time.map(str::to_owned),
                None => value,
            };
            if let Some(value) = value {
                variables.set_checked(&declaration.name, &value, &arg.span)?;
            }
        }
    }
    Ok(variables)
}

/// Returns the value that a declaration has by itself: that of the command line, else its default.
pub(crate) fn own_value(
    declaration: &ArgDeclaration,
    given: &Given<'_>,
    expander: &Expander<'_>,
) -> Result<Option<String>, PlanError> {
    match given.get(declaration.name.as_str()) {
        // The default may be an error such as ${OTHER:?give me}.
        Some(value) => Ok(Some((*value).to_owned())),
        None => expander.option(declaration.default.as_deref()),
    }
}

/// Returns the proxy variables for RUN: those of the command line, in upper and lower case.
pub(crate) fn proxies(options: &PlanOptions) -> Vec<(String, String)> {
    let given = given(options);
    let mut list = Vec::new();
    for name in PROXIES {
        let lower = name.to_ascii_lowercase();
        let value = |first: &str, second: &str| given.get(first).or_else(|| given.get(second));
        if let Some(value) = value(name, &lower) {
            list.push((name.to_owned(), (*value).to_owned()));
        }
        if let Some(value) = value(&lower, name) {
            list.push((lower.clone(), (*value).to_owned()));
        }
    }
    list
}

/// Returns the names of build arguments that nothing uses, in the order of the command line.
/// `triggers` are the names that instructions outside of the file declare.
pub(crate) fn unused<'a>(
    dockerfile: &Dockerfile,
    options: &'a PlanOptions,
    triggers: &HashSet<String>,
) -> Vec<&'a str> {
    let mut declared: HashSet<&str> = triggers.iter().map(String::as_str).collect();
    let globals = dockerfile.globals.iter().map(|arg| &arg.value);
    let stages = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    let in_stages = stages.filter_map(|instruction| match &instruction.value {
        Instruction::Arg(arg) => Some(arg),
        _ => None,
    });
    for arg in globals.chain(in_stages) {
        declared.extend(arg.declarations.iter().map(|declaration| declaration.name.as_str()));
    }
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in &options.build_args {
        let unused = !declared.contains(name.as_str()) && !is_predefined(name);
        if unused && !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

fn is_predefined(name: &str) -> bool {
    let automatic = |prefix| {
        name.strip_prefix(prefix).is_some_and(|suffix| PLATFORM_SUFFIXES.contains(&suffix))
    };
    name == SOURCE_DATE_EPOCH
        || name == "TARGETSTAGE"
        || name.starts_with("BUILDKIT_")
        || PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
        || automatic("BUILD")
        || automatic("TARGET")
}
