//! Arguments and variables that are too long for the kernel.
//!
//! A heredoc may be longer than an argument can be. A script for a shell is then put into a file that
//! exists only while the command runs, and the shell reads it with `.`: `$0`, the parameters, the
//! numbers of lines and standard input stay as they are with `-c`.

use xbuild_model::run::{RunRequest, Script};

use crate::error::RunError;

/// The most bytes of an argument, or of a variable with its name: the kernel's `MAX_ARG_STRLEN` for
/// pages of 4 KiB, less the byte that ends it. One number for all machines, so that a Dockerfile
/// that builds on one builds on the others.
const LIMIT: usize = (128 << 10) - 1;

/// The file of the script. No heredoc of the request has this name.
const PATH: &str = "/dev/pipes/.command";

/// The shells that know `-c` and `.`.
const SHELLS: &[&str] = &["ash", "bash", "dash", "ksh", "mksh", "sh", "yash", "zsh"];

/// The programs that start a shell which their first argument names.
const STARTERS: &[&str] = &["busybox", "env"];

/// Makes the arguments fit.
///
/// **Errors** — [`RunError::TooLong`] for an argument that is no script for a shell, or a variable.
pub(super) fn fit(request: &mut RunRequest) -> Result<(), RunError> {
    if let Some(script) = script(&request.argv)
        && request.argv[script].len() > LIMIT
    {
        let command = format!(". {PATH}");
        let contents = std::mem::replace(&mut request.argv[script], command);
        request.scripts.push(Script { path: PATH.to_owned(), contents, mode: 0o644 });
    }
    let long = |what: String, bytes: usize| match bytes > LIMIT {
        true => Err(RunError::TooLong { what, bytes, limit: LIMIT }),
        false => Ok(()),
    };
    for (number, argument) in request.argv.iter().enumerate() {
        long(format!("argument {number} of {}", request.argv[0]), argument.len())?;
    }
    for (name, value) in &request.env {
        long(format!("the variable {name}"), name.len() + 1 + value.len())?;
    }
    Ok(())
}

/// Returns the place of the script among the arguments of a shell.
fn script(argv: &[String]) -> Option<usize> {
    let is_one = |place: usize, names: &[&str]| {
        let name = argv.get(place).and_then(|path| path.rsplit('/').next());
        name.is_some_and(|name| names.contains(&name))
    };
    let shell = usize::from(is_one(0, STARTERS));
    let is_flags = |argument: &String| {
        let flags = argument.strip_prefix('-').unwrap_or_default();
        flags.contains('c') && flags.bytes().all(|flag| flag.is_ascii_alphabetic())
    };
    let flags = argv.iter().skip(shell + 1).position(is_flags)?;
    let script = shell + 1 + flags + 1;
    (is_one(shell, SHELLS) && script < argv.len()).then_some(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn finds_the_scripts_of_shells() {
        for (argv, expected) in [
            ("/bin/sh -c X", Some(2)),
            ("bash -o pipefail -ec X", Some(4)),
            ("/bin/bash --rcfile f -c X a b", Some(4)),
            ("busybox sh -c X", Some(3)),
            ("/usr/bin/env bash -c X", Some(3)),
            ("sh -c", None),
            ("sh X", None),
            ("python3 -c X", None),
            ("busybox -c X", None),
            ("busybox", None),
        ] {
            assert_eq!(script(&words(argv)), expected, "{argv}");
        }
    }
}
