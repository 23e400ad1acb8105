//! The definitions of the commands that run often, each alone: that of all commands takes longer than
//! many a cached build.

use std::ffi::OsString;

use clap::{Args, Command};

use super::{GlobalArgs, version};
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

/// Returns the definition of the command that a line means, without the others; `None` if it is none that
/// runs often. A line that it refuses is for the whole definition, which has help and hints.
pub(super) fn definition(args: &[OsString]) -> Option<Command> {
    let first =
        args.iter().skip(1).filter_map(|arg| arg.to_str()).find(|arg| !arg.starts_with('-'))?;
    let often = OFTEN.iter().find(|often| often.name == first || often.aliases.contains(&first))?;
    let command = (often.with_arguments)(Command::new(often.name).aliases(often.aliases));
    let whole = GlobalArgs::augment_args(Command::new("xbuild").version(version()));
    Some(whole.subcommand_required(true).subcommand(command))
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::super::{self as arguments, Arguments};
    use super::*;
    use crate::config::{self, Settings};

    #[test]
    fn a_command_alone_is_as_in_the_whole_definition() {
        let mut whole = arguments::definition();
        whole.build();
        for Often { name, .. } in OFTEN {
            let mut alone = definition(&["xbuild".into(), (*name).into()]).unwrap();
            alone.build();
            let facts = |whole: &Command| {
                let command = whole.find_subcommand(name).unwrap();
                let aliases: Vec<_> = command.get_all_aliases().map(str::to_owned).collect();
                let args = command.get_arguments().map(|arg| {
                    let arg = arg.clone().display_order(0);
                    format!("{arg:?}")
                });
                (aliases, args.collect::<Vec<_>>())
            };
            assert_eq!(facts(&alone), facts(&whole), "{name}");
        }
    }

    #[test]
    fn a_line_is_read_as_with_the_whole_definition() {
        for line in [
            "xbuild -D build --push=false --platform linux/arm64 -t a -t b .",
            "xbuild b --provenance --no-cache ctx --progress plain -D",
            "xbuild f app --set *.platform=linux/arm64",
            "xbuild run --network none -e A=b image sh -c -x",
        ] {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let read = |definition| {
                let line = config::read(definition, &args, &Settings::default()).unwrap();
                format!(
                    "{:?} {:?}",
                    line.names,
                    Arguments::from_arg_matches(&line.matches).unwrap()
                )
            };
            assert_eq!(read(definition(&args).unwrap()), read(arguments::definition()), "{line}");
        }
        for line in ["xbuild", "xbuild -D", "xbuild du", "xbuild nosuch build"] {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert!(definition(&args).is_none(), "{line}");
        }
    }
}
