//! The syntax tree: a file, its stages and their instructions.
//!
//! All text is as written, before expansion, unless a field says otherwise; quotes and escapes are
//! still in it ([`crate::expand`] removes them). The exec form is decoded: its strings are final.
//! `original` is the instruction on one line, with continuations joined and without heredoc bodies,
//! as progress and history show it.

mod command;
mod run;

use std::sync::Arc;

use crate::keyword::Keyword;
use crate::span::{Span, Spanned};
pub use command::{Command, Heredoc};
pub use run::{Device, Mount, MountOption, Network, Run, RunBody, Security};

/// A parsed Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The display name of the file.
    pub file: Arc<str>,
    /// The parser directives at its top, in order.
    pub directives: Vec<Spanned<Directive>>,
    /// The escape character: a backslash or a backtick.
    pub escape: char,
    /// The ARG instructions before the first FROM.
    pub globals: Vec<Spanned<Arg>>,
    /// The stages in order; at least one.
    pub stages: Vec<Stage>,
    /// The empty lines within continued instructions, the first of each.
    pub empty_lines: Vec<Span>,
    /// The comments above instructions, in order.
    pub comments: Vec<Comment>,
}

impl Dockerfile {
    /// Returns the comments above the instruction that begins on `line`.
    pub fn comment_above(&self, line: u32) -> Option<&Comment> {
        let place = self.comments.binary_search_by_key(&line, |comment| comment.line);
        place.ok().map(|place| &self.comments[place])
    }
}

/// The comments above an instruction, without `#` and blanks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comment {
    /// The first line of the instruction.
    pub line: u32,
    /// The value of `# check=`, for this instruction alone.
    pub check: Option<String>,
    /// The comment on the very line above.
    pub description: Option<String>,
    /// All comments since the instruction before, or since a comment without text.
    pub texts: Vec<String>,
}

impl Comment {
    /// Returns what the comments say about a name: the rest of the first one that begins with it.
    ///
    /// **Source**: BuildKit (2026-08), `--call outline`.
    pub fn about(&self, name: &str) -> Option<&str> {
        self.texts.iter().find_map(|text| text.strip_prefix(name)?.strip_prefix(' '))
    }
}

/// A parser directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Directive {
    /// `# syntax=`: the frontend; always one that this parser stands in for.
    Syntax(String),
    /// `# escape=`.
    Escape(char),
    /// `# check=`, as written.
    Check(String),
}

/// A FROM and the instructions below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The FROM that the stage begins with.
    pub from: From,
    /// The instructions in order; may be empty.
    pub instructions: Vec<Spanned<Instruction>>,
}

/// A FROM instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// The image, stage or `scratch`.
    pub image: String,
    /// The value of `--platform`, if it is not empty.
    pub platform: Option<String>,
    /// The name after AS, in lower case (stage names ignore case); it never expands.
    pub name: Option<String>,
    /// The instruction on one line.
    pub original: String,
    /// The lines of the FROM itself.
    pub span: Span,
}

/// An instruction of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the instruction of its name")]
pub enum Instruction {
    Run(Run),
    Copy(Copy),
    Add(Add),
    Arg(Arg),
    Env(Env),
    Workdir(Workdir),
    User(User),
    Cmd(Cmd),
    Entrypoint(Entrypoint),
    Label(Label),
    Expose(Expose),
    Volume(Volume),
    Shell(Shell),
    StopSignal(StopSignal),
    Healthcheck(Healthcheck),
    Maintainer(Maintainer),
    Onbuild(Onbuild),
}

impl Instruction {
    /// Returns the keyword of the instruction.
    pub fn keyword(&self) -> Keyword {
        match self {
            Instruction::Run(_) => Keyword::Run,
            Instruction::Copy(_) => Keyword::Copy,
            Instruction::Add(_) => Keyword::Add,
            Instruction::Arg(_) => Keyword::Arg,
            Instruction::Env(_) => Keyword::Env,
            Instruction::Workdir(_) => Keyword::Workdir,
            Instruction::User(_) => Keyword::User,
            Instruction::Cmd(_) => Keyword::Cmd,
            Instruction::Entrypoint(_) => Keyword::Entrypoint,
            Instruction::Label(_) => Keyword::Label,
            Instruction::Expose(_) => Keyword::Expose,
            Instruction::Volume(_) => Keyword::Volume,
            Instruction::Shell(_) => Keyword::Shell,
            Instruction::StopSignal(_) => Keyword::StopSignal,
            Instruction::Healthcheck(_) => Keyword::Healthcheck,
            Instruction::Maintainer(_) => Keyword::Maintainer,
            Instruction::Onbuild(_) => Keyword::Onbuild,
        }
    }

    /// Returns the instruction on one line, as written.
    pub fn original(&self) -> &str {
        match self {
            Instruction::Run(it) => &it.original,
            Instruction::Copy(it) => &it.original,
            Instruction::Add(it) => &it.original,
            Instruction::Arg(it) => &it.original,
            Instruction::Env(it) => &it.original,
            Instruction::Workdir(it) => &it.original,
            Instruction::User(it) => &it.original,
            Instruction::Cmd(it) => &it.original,
            Instruction::Entrypoint(it) => &it.original,
            Instruction::Label(it) => &it.original,
            Instruction::Expose(it) => &it.original,
            Instruction::Volume(it) => &it.original,
            Instruction::Shell(it) => &it.original,
            Instruction::StopSignal(it) => &it.original,
            Instruction::Healthcheck(it) => &it.original,
            Instruction::Maintainer(it) => &it.original,
            Instruction::Onbuild(it) => &it.original,
        }
    }
}

/// A source of COPY or ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A path, glob, or (ADD) URL.
    Path(String),
    /// A document in the Dockerfile.
    Heredoc(Heredoc),
}

/// A COPY instruction. Options with an empty value count as absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// `--from`; it never expands.
    pub from: Option<String>,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude`, in order; patterns do not expand.
    pub exclude: Vec<String>,
    /// The sources, in order; at least one.
    pub sources: Vec<Source>,
    /// Where to.
    pub destination: String,
    /// The instruction on one line.
    pub original: String,
}

/// An ADD instruction. Options with an empty value count as absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Add {
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--exclude`, in order; patterns do not expand.
    pub exclude: Vec<String>,
    /// `--checksum`.
    pub checksum: Option<String>,
    /// `--keep-git-dir`.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`.
    pub unpack: Option<bool>,
    /// The sources, in order; at least one.
    pub sources: Vec<Source>,
    /// Where to.
    pub destination: String,
    /// The instruction on one line.
    pub original: String,
}

/// An ARG instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    /// The declarations in order, at least one; each sees those to its left.
    pub declarations: Vec<ArgDeclaration>,
    /// The instruction on one line.
    pub original: String,
}

/// One name declared by ARG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgDeclaration {
    /// The name; it never expands.
    pub name: String,
    /// The text after the equals sign, if there is one.
    pub default: Option<String>,
}

/// A name and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The name, not empty; it expands, too.
    pub key: String,
    /// The value.
    pub value: String,
}

/// An ENV instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Env {
    /// The variables in order, at least one; all of them see the values before the instruction.
    pub pairs: Vec<Pair>,
    /// Whether it is the form without an equals sign.
    pub legacy: bool,
    /// The instruction on one line.
    pub original: String,
}

/// A LABEL instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The labels in order, at least one; later ones win.
    pub pairs: Vec<Pair>,
    /// Whether it is the form without an equals sign.
    pub legacy: bool,
    /// The instruction on one line.
    pub original: String,
}

/// A WORKDIR instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workdir {
    /// The path, the whole rest of the line.
    pub path: String,
    /// The instruction on one line.
    pub original: String,
}

/// A USER instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// `user[:group]`, the whole rest of the line.
    pub user: String,
    /// The instruction on one line.
    pub original: String,
}

/// A CMD instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cmd {
    /// The default command; an empty exec form removes an inherited one.
    pub command: Command,
    /// The instruction on one line.
    pub original: String,
}

/// An ENTRYPOINT instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrypoint {
    /// The entrypoint; an empty exec form removes an inherited one.
    pub command: Command,
    /// The instruction on one line.
    pub original: String,
}

/// An EXPOSE instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expose {
    /// The words in order, at least one. Each expands to any number of words
    /// ([`crate::expand::expand_words`]), each of which [`crate::parse_ports`] reads.
    pub ports: Vec<String>,
    /// The instruction on one line.
    pub original: String,
}

/// A VOLUME instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The paths in order, at least one; none is blank.
    pub paths: Vec<String>,
    /// The instruction on one line.
    pub original: String,
}

/// A SHELL instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shell {
    /// Program and arguments, at least the program; they never expand.
    pub arguments: Vec<String>,
    /// The instruction on one line.
    pub original: String,
}

/// A STOPSIGNAL instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopSignal {
    /// The signal's name or number, the whole rest of the line.
    pub signal: String,
    /// The instruction on one line.
    pub original: String,
}

/// A HEALTHCHECK instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healthcheck {
    /// The kind of check.
    pub check: HealthcheckKind,
    /// The instruction on one line.
    pub original: String,
}

/// The two kinds of HEALTHCHECK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthcheckKind {
    /// `NONE`: no check, not even an inherited one.
    None,
    /// `CMD`: run a command.
    Probe(Probe),
}

/// A health probe. A zero in the Dockerfile means the default, as an absent value does.
///
/// **Units**: nanoseconds, at least a millisecond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The command, not empty.
    pub command: Command,
    /// `--interval`.
    pub interval: Option<u64>,
    /// `--timeout`.
    pub timeout: Option<u64>,
    /// `--start-period`.
    pub start_period: Option<u64>,
    /// `--start-interval`.
    pub start_interval: Option<u64>,
    /// `--retries`.
    pub retries: Option<u32>,
}

/// A MAINTAINER instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintainer {
    /// The author, the whole rest of the line; it never expands.
    pub author: String,
    /// The instruction on one line.
    pub original: String,
}

/// An ONBUILD instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onbuild {
    /// The trigger as the image config keeps it, including heredoc bodies. [`crate::parse_onbuild`]
    /// reads it back.
    pub trigger: String,
    /// The instruction on one line.
    pub original: String,
}
