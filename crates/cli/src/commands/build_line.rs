//! A command line of `xbuild build` that another subcommand makes.

use clap::{Args as _, FromArgMatches as _};

use super::build_args::{BuildArgs, refuse, with_refused};
use crate::report::Problem;
use crate::switches::with_values;

/// Reads the arguments behind `xbuild build`, with all checks that they have there.
pub(super) fn parse(args: &[String]) -> Result<BuildArgs, Problem> {
    let command = BuildArgs::augment_args(clap::Command::new("build").no_binary_name(true));
    let matches = with_values(with_refused(command))
        .try_get_matches_from(args)
        .map_err(|error| Problem::command_line(one_line(&error.to_string())))?;
    refuse(&matches)?;
    BuildArgs::from_arg_matches(&matches)
        .map_err(|error| Problem::command_line(one_line(&error.to_string())))
}

/// Returns the first line of a message of clap's, which is the whole for a value that is wrong.
fn one_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
