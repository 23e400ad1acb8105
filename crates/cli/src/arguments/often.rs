//! The definitions of the commands that run often, each alone: at each start that of all commands takes
//! a tenth of the time of a small cached build.

use std::ffi::OsString;

use clap::{Args, Command};

use crate::commands::{bake, build, run};

/// A command that runs often.
struct Often {
    name: &'static str,
    aliases: &'static [&'static str],
    /// Adds its arguments.
    with_arguments: fn(Command) -> Command,
}

const OFTEN: &[Often] = &[
    Often {
        name: "build",
        aliases: &["b"],
        with_arguments: |command| build::with_refused(build::BuildArgs::augment_args(command)),
    },
    Often { name: "bake", aliases: &["f"], with_arguments: bake::BakeArgs::augment_args },
    Often { name: "run", aliases: &[], with_arguments: run::RunArgs::augment_args },
];

/// Returns the names of these commands.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    OFTEN.iter().map(|often| often.name)
}

/// Adds the command that a line means to `whole`, which has none; `None` if it is none that runs often.
/// A line that this refuses is for the definition of all commands, which has help and hints.
pub(super) fn definition(whole: Command, args: &[OsString]) -> Option<Command> {
    let first =
        args.iter().skip(1).filter_map(|arg| arg.to_str()).find(|arg| !arg.starts_with('-'))?;
    let often = OFTEN.iter().find(|often| often.name == first || often.aliases.contains(&first))?;
    let command = (often.with_arguments)(Command::new(often.name).aliases(often.aliases));
    Some(whole.subcommand_required(true).subcommand(command))
}
