//! Switches of the command line, which Go's `pflag` lets have a value: `--push`, `--push=false`.

use clap::{Arg, ArgAction, Command};

use crate::environment;

/// Reads the value of a switch.
///
/// **Source** — Go, `strconv.ParseBool`.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// Lets each switch of a command have a value, and the last value of an option count, as `pflag` does;
/// variables that are empty are as good as unset. Help and completions are made from the command as it was.
pub(crate) fn with_values(command: Command) -> Command {
    command.args_override_self(true).mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => with_value(arg),
        _ => without_empty_variable(arg),
    })
}

fn without_empty_variable(arg: Arg) -> Arg {
    let name = arg.get_env().and_then(|name| name.to_str());
    let value = name.and_then(environment::raw_variable);
    if value.is_some_and(|value| value.is_empty()) { arg.env(None::<&str>) } else { arg }
}

/// Lets a switch have a value.
fn with_value(arg: Arg) -> Arg {
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .default_value("false")
        .value_parser(boolean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<(bool, bool, String)> {
        let switch = |name: &'static str, short| {
            Arg::new(name).long(name).short(short).action(ArgAction::SetTrue)
        };
        let command = Command::new("c")
            .no_binary_name(true)
            .args([switch("push", 'p'), switch("quiet", 'q')]);
        let command = command.arg(Arg::new("target").long("target").default_value("-"));
        let matches = with_values(command).try_get_matches_from(line.split(' ')).ok()?;
        let target = matches.get_one::<String>("target")?.clone();
        Some((*matches.get_one("push")?, *matches.get_one("quiet")?, target))
    }

    #[test]
    fn a_switch_may_have_a_value_and_the_last_one_counts() {
        for (line, push, quiet, target) in [
            ("--target a", false, false, "a"),
            ("--push", true, false, "-"),
            ("--push=false --quiet=1", false, true, "-"),
            ("--push --push=F --push=T", true, false, "-"),
            ("-pq", true, true, "-"),
            ("-q=false -p", true, false, "-"),
            ("--target a --target b", false, false, "b"),
        ] {
            assert_eq!(read(line), Some((push, quiet, target.to_owned())), "{line}");
        }
        assert_eq!(read("--push=maybe"), None);
        assert_eq!(read("--push true"), None);
    }
}
