//! What can be typed, and the way from there to a subcommand.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{build, check, du, inspect, platforms, prune};
use crate::report::{self, Problem};

/// Builds container images for many platforms from one Dockerfile: no daemon, no root, no setup.
#[derive(Debug, Parser)]
#[command(name = "xbuild", version, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit status:
  0  success
  1  the Dockerfile, the build context or another input is wrong
  2  the command line is wrong
  3  a RUN step failed
  4  a registry refused, or could not be reached
  5  this machine cannot do what the build needs
  70 a defect of xbuild, or a broken or full disk";

#[derive(Debug, Subcommand)]
enum Command {
    /// Build an image, or one image index for several platforms
    Build(Box<build::BuildArgs>),
    /// Check a Dockerfile without building it
    Check(Box<check::CheckArgs>),
    /// Show what this machine can build, and how
    Platforms(platforms::PlatformsArgs),
    /// Show an image or image index: manifests, configurations, layers
    Inspect(inspect::InspectArgs),
    /// Show what the store takes up
    Du(du::DuArgs),
    /// Remove cached results from the store
    Prune(prune::PruneArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Where the store is.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// Folder of the store [default: $XDG_DATA_HOME/xbuild or ~/.local/share/xbuild]
    #[arg(long, value_name = "DIR", env = "XBUILD_ROOT", hide_env_values = true)]
    pub(crate) root: Option<PathBuf>,
}

/// Returns the command line of the program as clap knows it.
fn command() -> clap::Command {
    Arguments::command().mut_subcommand("build", build::with_refused)
}

/// Reads the command line, carries it out and returns the exit status.
pub(crate) fn run() -> ExitCode {
    match carry_out(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => report::print(&problem),
    }
}

fn carry_out(args: impl IntoIterator<Item = OsString>) -> Result<(), Problem> {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            let status = error.exit_code();
            // A closed pipe is no failure of ours.
            let _ = error.print();
            std::process::exit(status);
        }
    };
    if let Some(("build", matches)) = matches.subcommand() {
        build::refuse(matches)?;
    }
    let arguments = Arguments::from_arg_matches(&matches)
        .map_err(|error| Problem::command_line(error.to_string()))?;
    match arguments.command {
        Command::Build(args) => build::run(*args),
        Command::Check(args) => check::run(&args),
        Command::Platforms(args) => platforms::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Du(args) => du::run(&args),
        Command::Prune(args) => prune::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "xbuild", &mut script);
            report::to_stdout(&script)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }
}
