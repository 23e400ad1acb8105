//! Commands and options of other builders that xbuild does not have, refused by name with what to do
//! instead.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use xbuild_wording::{Hint, hints};

use crate::report::{Problem, ProblemKind};

/// A command, and what to do instead.
type Instead = (&'static str, fn() -> Hint);

/// Commands of docker buildx, docker, buildah and skopeo.
const COMMANDS: &[Instead] = &[
    ("add", hints::no_scripts),
    ("attach", hints::no_containers),
    ("bud", hints::instead_of_bud),
    ("builder", hints::instead_of_builder),
    ("buildx", hints::instead_of_buildx),
    ("commit", hints::no_scripts),
    ("compose", hints::instead_of_compose),
    ("container", hints::no_containers),
    ("containers", hints::no_containers),
    ("cp", hints::instead_of_cp),
    ("create", hints::no_builders),
    ("dap", hints::instead_of_debug),
    ("debug", hints::instead_of_debug),
    ("delete", hints::instead_of_delete),
    ("dial-stdio", hints::no_builders),
    ("exec", hints::no_containers),
    ("export", hints::instead_of_export),
    ("from", hints::no_scripts),
    ("history", hints::no_records),
    ("image", hints::instead_of_image),
    ("import", hints::instead_of_import),
    ("info", hints::instead_of_info),
    ("install", hints::instead_of_install),
    ("kill", hints::no_containers),
    ("list-tags", hints::instead_of_lists),
    ("logs", hints::no_records),
    ("ls", hints::no_builders),
    ("mount", hints::instead_of_mount),
    ("policy", hints::instead_of_policy),
    ("ps", hints::no_containers),
    ("rename", hints::no_builders),
    ("rm", hints::no_builders),
    ("search", hints::instead_of_lists),
    ("start", hints::no_containers),
    ("stop", hints::no_builders),
    ("sync", hints::instead_of_sync),
    ("system", hints::instead_of_builder),
    ("umount", hints::instead_of_mount),
    ("uninstall", hints::instead_of_install),
    ("unshare", hints::instead_of_unshare),
    ("use", hints::no_builders),
];

/// Options of `docker run`, as they are and with their letters.
const RUN_OPTIONS: &[(&[&str], &str)] = &[
    (&["-d", "--detach"], "the command runs in front; nothing is kept of it"),
    (
        &["-p", "--publish", "-P", "--publish-all"],
        "the command has the network of this machine: \
        its ports are there, unless --network says otherwise",
    ),
    (&["--name", "--restart", "--cidfile", "-l", "--label"], "nothing is kept of the command"),
    (&["--mount", "--tmpfs", "--volumes-from"], "use -v SOURCE:TARGET"),
    (&["--env-file"], "use -e NAME=VALUE for each"),
    (
        &["--privileged", "--cap-add", "--cap-drop", "--security-opt", "--device", "--userns"],
        "the command has a fixed sandbox",
    ),
    (
        &["-m", "--memory", "--cpus", "--cpu-shares", "--cpuset-cpus", "--pids-limit", "--ulimit"],
        "limit xbuild itself, such as with systemd-run",
    ),
    (
        &["-h", "--hostname", "--add-host", "--dns", "--net", "--ip"],
        "the command has the names of this machine; --network takes none, host or private",
    ),
];

/// Returns the first word of a command line that is no option: a command of xbuild, if there is one.
pub(crate) fn command(args: &[OsString]) -> Option<OsString> {
    let is_option = |arg: &&OsString| arg.as_encoded_bytes().starts_with(b"-");
    args.iter().skip(1).find(|arg| !is_option(arg)).cloned()
}

/// Returns what to do instead, if clap refuses a command, or an option of `run`, that other builders
/// have. `command` is that of [`command`].
pub(crate) fn refused(error: &clap::Error, command: Option<&OsString>) -> Option<Problem> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let command = command?.to_str()?;
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand).filter(|word| *word == command)?;
            let (_, instead) = COMMANDS.iter().find(|(name, _)| *name == word)?;
            Some(Problem::command_line(format!("there is no command {word}")).with_hint(instead()))
        }
        ErrorKind::UnknownArgument if command == "run" => {
            let option = text(ContextKind::InvalidArg)?;
            let (_, reason) = RUN_OPTIONS.iter().find(|(names, _)| names.contains(&option))?;
            let message = format!("{option} is not implemented: {reason}");
            Some(Problem::new(ProblemKind::RunLine, message))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::definition;

    fn refused_as(line: &str) -> Option<Problem> {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let command = command(&args);
        refused(&definition().try_get_matches_from(args).unwrap_err(), command.as_ref())
    }

    #[test]
    fn commands_of_other_builders_are_refused_with_what_to_do() {
        for (line, shown) in [
            ("xbuild create --use", "there is no command create\nhint: there are no builder"),
            ("xbuild buildx build .", "there is no command buildx\nhint: leave the word out"),
            ("xbuild run -d app", "-d is not implemented: the command runs in front"),
            ("xbuild run --name x app", "--name is not implemented: nothing is kept"),
        ] {
            let problem = refused_as(line).unwrap();
            assert!(problem.render().starts_with(&format!("error: {shown}")), "{line}");
        }
        assert_eq!(refused_as("xbuild run -d app").unwrap().exit_code(), 125);
        for line in ["xbuild nonsense", "xbuild index ls", "xbuild build --name x ."] {
            assert!(refused_as(line).is_none(), "{line}");
        }
    }

    #[test]
    fn no_command_of_xbuild_is_refused() {
        let known = definition();
        let names =
            known.get_subcommands().flat_map(|command| command.get_name_and_visible_aliases());
        let lost: Vec<&str> =
            names.filter(|name| COMMANDS.iter().any(|(other, _)| other == name)).collect();
        assert_eq!(lost, [""; 0]);
        let run = known.find_subcommand("run").unwrap();
        let options = run.get_arguments().filter_map(clap::Arg::get_long);
        let lost: Vec<&str> = options
            .filter(|name| RUN_OPTIONS.iter().any(|(o, _)| o.contains(&&*format!("--{name}"))))
            .collect();
        assert_eq!(lost, [""; 0]);
    }
}
