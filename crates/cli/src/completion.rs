//! Completions: scripts for shells, which ask this program for the words that may follow.
//!
//! **Source** — `clap_complete`, `env`: a script starts the program with a variable that names the shell,
//! and with the words of the line behind `--`.

mod bash;
mod fish;
mod values;
mod zsh;

use std::ffi::OsString;

use clap::Command;
use clap_complete::env::Shells;

use crate::report::Problem;

/// The variable that asks for completions, with the name of the shell.
pub(crate) const VARIABLE: &str = "XBUILD_COMPLETE";

/// Returns the script for a shell. Those of bash, zsh and fish are our own: they give the program words
/// without quotes, and know what each shell splits and inserts.
pub(crate) fn script(shell: &str) -> Result<Vec<u8>, Problem> {
    let own = match shell {
        "bash" => Some(bash::script(VARIABLE)),
        "fish" => Some(fish::script(VARIABLE)),
        "zsh" => Some(zsh::script(VARIABLE)),
        _ => None,
    };
    if let Some(script) = own {
        return Ok(script.into_bytes());
    }
    let mut script = Vec::new();
    let known = Shells::builtins();
    let completer = known.completer(shell).ok_or_else(|| unknown(shell))?;
    completer
        .write_registration(VARIABLE, "xbuild", "xbuild", "xbuild", &mut script)
        .map_err(|error| Problem::command_line(error.to_string()))?;
    Ok(script)
}

/// Returns the words that may follow in a line, in the form of a shell. `args` are those of this program:
/// the words of the line stand behind `--`.
pub(crate) fn answer(
    shell: &str,
    args: &[OsString],
    definition: Command,
) -> Result<Vec<u8>, Problem> {
    let known = Shells::builtins();
    let completer = known.completer(shell).ok_or_else(|| unknown(shell))?;
    let words: Vec<OsString> =
        args.iter().skip_while(|arg| *arg != "--").skip(1).cloned().collect();
    if words.is_empty() {
        return Ok(Vec::new());
    }
    let mut definition = values::with_values(definition, &words);
    let here = std::env::current_dir().ok();
    let mut answer = Vec::new();
    // There may be nothing to say.
    let _ = completer.write_complete(&mut definition, words, here.as_deref(), &mut answer);
    Ok(answer)
}

fn unknown(shell: &str) -> Problem {
    let known = Shells::builtins();
    let names: Vec<&str> = known.names().collect();
    Problem::command_line(format!("unknown shell {shell}: expected {}", names.join(", ")))
}
