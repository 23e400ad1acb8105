//! `--call`: methods that look at a Dockerfile instead of building it.

use std::sync::Arc;

use clap::ValueEnum as _;
use xbuild_build::request::InputRequest;
use xbuild_build::{Answer, Events, Input, Machine, MainContext, outline, targets};
use xbuild_wording::{hints, redacted};

use super::check::{self, Format};
use crate::console::Console;
use crate::outline_report;
use crate::report::Problem;
use crate::switches::boolean;
use crate::values::csv;

/// The method of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// A build.
    Build,
    /// A check; whether broken rules are no failure.
    Check(Format, bool),
    /// The arguments, secrets and agents that the target takes; whether as JSON.
    Outline(bool),
    /// The targets; whether as JSON.
    Targets(bool),
    /// The methods; whether as JSON.
    Describe(bool),
}

impl Call {
    /// Reads the value of `--call`.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let fail = |reason: &str| Problem::command_line(format!("invalid --call {text}: {reason}"));
        let (mut method, mut format, mut ignores_status) = (None, None, false);
        for field in csv::split(text) {
            match field.split_once('=') {
                None if method.is_none() => method = Some(field),
                None => return Err(fail("it names two methods")),
                Some(("format", value)) => format = Some(value.to_owned()),
                Some(("ignorestatus", value)) => {
                    ignores_status = boolean(value).map_err(|reason| fail(&reason))?;
                }
                Some((key, _)) => {
                    let problem = fail(&format!("unknown key {key}"));
                    return Err(problem.did_you_mean(key, ["format", "ignorestatus"], ""));
                }
            }
        }
        let is_json = || match format.as_deref() {
            None | Some("text") => Ok(false),
            Some("json") => Ok(true),
            Some(_) => Err(fail("the format is one of text, json")),
        };
        let method = method.unwrap_or_default();
        match method.as_str() {
            "" | "build" => match format {
                None => Ok(Self::Build),
                Some(_) => Err(fail("a build has no format")),
            },
            "check" | "lint" => {
                let format = Format::from_str(format.as_deref().unwrap_or("text"), false);
                let format = format.map_err(|_| fail("the format is one of text, json, sarif"))?;
                Ok(Self::Check(format, ignores_status))
            }
            "outline" => Ok(Self::Outline(is_json()?)),
            "targets" => Ok(Self::Targets(is_json()?)),
            "subrequests.describe" => Ok(Self::Describe(is_json()?)),
            other => {
                let known = ["build", "check", "outline", "targets", "subrequests.describe"];
                let reason = format!("expected {}", known.join(", "));
                Err(fail(&reason).did_you_mean(other, known, ""))
            }
        }
    }
}

/// Carries out a method other than a build.
pub(super) fn run(
    call: Call,
    request: &InputRequest,
    machine: &Machine,
    console: &Arc<Console>,
    stdin: &mut Input<'_>,
) -> Result<(), Problem> {
    let events = Arc::clone(console) as Arc<dyn Events>;
    let text = match call {
        Call::Build => String::new(),
        Call::Check(format, ignores_status) => {
            return check::check(request, machine, (format, ignores_status), console, stdin);
        }
        Call::Outline(is_json) => {
            one_file(request)?;
            let Answer { main, answer } = outline(request, machine, &events, stdin)?;
            let outline = answer.map_err(|error| problem(&error, &main))?;
            match is_json {
                true => json(&outline_report::outline_json(&outline, main.files()[0].source())),
                false => outline_report::outline_text(&outline),
            }
        }
        Call::Targets(is_json) => {
            one_file(request)?;
            let Answer { main, answer } = targets(request, machine, &events, stdin)?;
            let file = answer.map_err(|error| problem(&error, &main))?;
            let targets = xbuild_dockerfile::targets(&file);
            match is_json {
                true => json(&outline_report::targets_json(&targets, main.files()[0].source())),
                false => outline_report::targets_text(&targets),
            }
        }
        Call::Describe(true) => json(&outline_report::methods_json()),
        Call::Describe(false) => outline_report::methods_text(),
    };
    // Values of arguments may be URLs.
    console.result(redacted(&text).as_bytes())
}

fn json(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

fn one_file(request: &InputRequest) -> Result<(), Problem> {
    match request.own_dockerfiles.is_empty() {
        true => Ok(()),
        false => Err(Problem::command_line("--call outline and targets read one Dockerfile")
            .with_hint(hints::one_dockerfile())),
    }
}

fn problem(error: &xbuild_build::error::PlanningError, main: &MainContext) -> Problem {
    Problem::in_files(error, &main.sources()).with_paths(&main.paths())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_methods_as_buildx_does() {
        for (text, call) in [
            ("build", Call::Build),
            ("", Call::Build),
            ("check", Call::Check(Format::Text, false)),
            ("lint,format=sarif", Call::Check(Format::Sarif, false)),
            ("format=json,check,ignorestatus=true", Call::Check(Format::Json, true)),
            ("outline", Call::Outline(false)),
            ("outline,format=json", Call::Outline(true)),
            ("targets,format=text", Call::Targets(false)),
            ("subrequests.describe,format=json", Call::Describe(true)),
        ] {
            assert_eq!(Call::parse(text).unwrap(), call, "{text}");
        }
        for (text, word) in [
            ("outlines", "did you mean outline?"),
            ("outline,format=sarif", "text, json"),
            ("check,targets", "two methods"),
            ("check,formt=json", "did you mean format?"),
            ("check,ignorestatus=maybe", "true or false"),
            ("build,format=json", "no format"),
        ] {
            let problem = Call::parse(text).unwrap_err().render();
            assert!(problem.contains(word), "{text}: {problem}");
        }
    }
}
