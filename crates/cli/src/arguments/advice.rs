//! Hints name commands and options that exist. The suite looks at what else names commands.

use std::collections::BTreeSet;

use clap::CommandFactory as _;
use clap::error::ErrorKind;
use xbuild_wording::hints::TABLE;

use super::{Arguments, definition};

/// The options of other programs and of instructions that hints name.
const OF_OTHERS: [&str; 8] = [
    "--add-subgids",
    "--add-subuids",
    "--cap-add",
    "--device",
    "--map-auto",
    "--security",
    "--security-opt",
    "--user",
];

#[test]
fn every_command_in_a_hint_can_be_typed() {
    for (name, text) in rows() {
        for command in commands(text) {
            read(&command).unwrap_or_else(|error| panic!("{name}: {command}: {error}"));
        }
    }
}

#[test]
fn every_option_in_a_hint_exists() {
    let mut command = Arguments::command();
    command.build();
    let known = options(&command);
    for (name, text) in rows() {
        let words = text.split(|c: char| c.is_whitespace() || "`'(),;".contains(c));
        for word in words.filter(|word| word.starts_with("--")) {
            let option = word.split('=').next().unwrap_or_default().trim_end_matches(['.', ':']);
            let exists = known.contains(option) || OF_OTHERS.contains(&option);
            assert!(exists, "{name}: there is no {option}");
        }
    }
}

#[test]
fn a_subcommand_stands_in_backticks() {
    let definition = Arguments::command();
    for (name, text) in rows() {
        let outside: String = text.split('`').step_by(2).collect();
        for rest in outside.split("xbuild ").skip(1) {
            let word = rest.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
            assert!(definition.find_subcommand(word).is_none(), "{name}: xbuild {word}");
        }
    }
}

#[test]
fn a_command_that_cannot_be_typed_is_found() {
    for text in ["xbuild prun", "xbuild prune --max-size 1g", "xbuild emulators get"] {
        let found = commands(&format!("try `{text}`, or not"));
        assert_eq!(found, [text]);
        assert!(read(text).is_err(), "{text}");
    }
    for text in ["`xbuild prune --max-used-space SIZE`", "`xbuild rmi {name}`", "`xbuild tag`"] {
        assert_eq!(read(&commands(text)[0]), Ok(()), "{text}");
    }
    assert!(commands("`docker run`, xbuild and `xbuild`").is_empty());
}

fn rows() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    TABLE.iter().flat_map(|rows| rows.iter())
}

/// Returns the commands of xbuild that stand in backticks, with an example in place of each argument
/// in braces.
fn commands(text: &str) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|text| text.starts_with("xbuild ")).map(example).collect()
}

fn example(command: &str) -> String {
    let mut text = command.to_owned();
    while let Some((start, rest)) = text.split_once('{') {
        let (name, rest) = rest.split_once('}').unwrap_or((rest, ""));
        let value = if name == "platform" { "linux/arm64" } else { "example" };
        text = format!("{start}{value}{rest}");
    }
    text
}

/// Reads a command line; arguments and the value of its last option may be missing.
fn read(command: &str) -> Result<(), String> {
    let result = definition().try_get_matches_from(command.split_whitespace());
    result.map(|_| ()).or_else(|error| match error.kind() {
        ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        | ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion => Ok(()),
        // So is the value of an option; a wrong one is said to be wrong.
        ErrorKind::InvalidValue if error.to_string().contains("none was supplied") => Ok(()),
        _ => Err(error.to_string()),
    })
}

/// Returns the long options of a command and its subcommands, with their two dashes.
fn options(command: &clap::Command) -> BTreeSet<String> {
    let own = command.get_arguments().flat_map(|argument| {
        let aliases = argument.get_all_aliases().unwrap_or_default();
        argument.get_long().into_iter().chain(aliases).map(|name| format!("--{name}"))
    });
    own.chain(command.get_subcommands().flat_map(options)).collect()
}
