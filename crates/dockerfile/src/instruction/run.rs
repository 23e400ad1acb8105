//! RUN and the values of its flags.

use std::borrow::Cow;

use super::command::{Command, Heredoc};

/// A RUN instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// `--mount`, in order.
    pub mounts: Vec<Mount>,
    /// `--network`.
    pub network: Option<Network>,
    /// `--security`.
    pub security: Option<Security>,
    /// `--device`, in order.
    pub devices: Vec<Device>,
    /// The command. The shell form has the `<<` words of its heredocs, without their bodies;
    /// [`Run::body`] puts the two together.
    pub command: Command,
    /// The documents that the shell form names, in order.
    pub heredocs: Vec<Heredoc>,
    /// The instruction on one line.
    pub original: String,
}

/// The program that a RUN starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunBody<'a> {
    /// A program with these arguments, without a shell.
    Exec(&'a [String]),
    /// The SHELL, with this text as its last argument; heredocs are in the text.
    Shell(Cow<'a, str>),
    /// The RUN is one heredoc that begins with `#!`: this text becomes an executable file of
    /// this name outside of the root file system, whose path is the last argument of the SHELL.
    Script {
        /// The file's name.
        name: &'a str,
        /// The file's contents.
        text: &'a str,
    },
}

impl Run {
    /// Returns the program to start, with heredocs resolved.
    ///
    /// A RUN of only one heredoc runs the heredoc's body. In other commands the documents follow
    /// the text, for the shell to read.
    pub fn body(&self) -> RunBody<'_> {
        let text = match &self.command {
            Command::Exec(arguments) => return RunBody::Exec(arguments),
            Command::Shell(text) => text,
        };
        match self.heredocs.as_slice() {
            [] => RunBody::Shell(Cow::Borrowed(text)),
            [only] if only.word == *text => {
                if only.body.starts_with("#!") {
                    RunBody::Script { name: &only.name, text: &only.body }
                } else {
                    RunBody::Shell(Cow::Borrowed(&only.body))
                }
            }
            several => {
                let mut whole = text.clone();
                for heredoc in several {
                    whole.push('\n');
                    whole.push_str(&heredoc.body);
                    whole.push_str(&heredoc.name);
                }
                RunBody::Shell(Cow::Owned(whole))
            }
        }
    }
}

/// A `--mount` of RUN, not yet interpreted: values may hold variables, except that of `from`, which
/// never expands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The options in order, at least one.
    pub options: Vec<MountOption>,
}

/// One option of a `--mount`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountOption {
    /// The name, in lower case.
    pub key: String,
    /// The text after the equals sign, if there is one.
    pub value: Option<String>,
}

/// The network of a RUN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The default network of the build.
    Default,
    /// Loopback only.
    None,
    /// The network of the host.
    Host,
}

/// The confinement of a RUN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// The usual sandbox.
    Sandbox,
    /// All capabilities; needs an entitlement.
    Insecure,
}

/// A `--device` of RUN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The name or class of the device.
    pub name: String,
    /// Whether the build fails without it.
    pub required: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instruction;

    #[test]
    fn heredocs_are_scripts_or_follow_the_command() {
        let shell = |text: &'static str| RunBody::Shell(Cow::Borrowed(text));
        for (text, expected) in [
            ("RUN a  b", shell("a  b")),
            ("RUN --network=none <<E\na\nb\nE", shell("a\nb\n")),
            ("RUN <<-E\n\ta\n\tE", shell("a\n")),
            ("RUN <<E\n#!/bin/x\nE", RunBody::Script { name: "E", text: "#!/bin/x\n" }),
            ("RUN <<E cat\n#!x\nE", shell("<<E cat\n#!x\nE")),
            ("RUN cat <<'A B' 3<<C\n1\nA B\n2\nC", shell("cat <<'A B' 3<<C\n1\nA B\n2\nC")),
        ] {
            let file = format!("FROM a\n{text}\nRUN end");
            let tree = crate::parse("Dockerfile", file.as_bytes()).expect(text);
            let Instruction::Run(run) = &tree.stages[0].instructions[0].value else { panic!() };
            assert_eq!(run.body(), expected, "{text}");
            assert_eq!(tree.stages[0].instructions.len(), 2, "{text}");
        }
        let exec = b"FROM a\nRUN [\"a\", \"<<E\"]";
        let tree = crate::parse("Dockerfile", exec).expect("parses");
        let Instruction::Run(run) = &tree.stages[0].instructions[0].value else { panic!() };
        assert_eq!(run.body(), RunBody::Exec(&["a".to_owned(), "<<E".to_owned()]));
    }
}
