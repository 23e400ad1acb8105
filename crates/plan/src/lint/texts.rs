//! The texts of an instruction that are expanded.

use xbuild_dockerfile::expand::{expand_heredoc, expand_word, expand_words};
use xbuild_dockerfile::{ArgDeclaration, ExpandError, Instruction, Source};

use crate::arguments::Given;
use crate::variables::Variables;

/// A text, and the way in which it is expanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text<'a> {
    /// One value.
    Word(&'a str),
    /// Words.
    Words(&'a str),
    /// The body of a heredoc.
    Body(&'a str),
}

impl Text<'_> {
    /// Returns the unset variables that the text names.
    pub(super) fn unset(
        self,
        escape: char,
        variables: &Variables,
    ) -> Result<Vec<String>, ExpandError> {
        let look_up = |name: &str| variables.get(name).map(str::to_owned);
        Ok(match self {
            Text::Word(text) => expand_word(text, escape, &look_up)?.unset,
            Text::Words(text) => expand_words(text, escape, &look_up)?.unset,
            Text::Body(text) => expand_heredoc(text, &look_up)?.unset,
        })
    }
}

/// Returns the texts of an instruction that are expanded when it is planned; for ARG see
/// [`default`].
pub(super) fn of<'i>(instruction: &'i Instruction) -> Vec<Text<'i>> {
    let words = |texts: Vec<Option<&'i str>>| texts.into_iter().flatten().map(Text::Word);
    match instruction {
        Instruction::Copy(copy) => {
            let options = words(vec![copy.chown.as_deref(), copy.chmod.as_deref()]);
            let sources = copy.sources.iter().filter_map(source);
            options.chain(sources).chain([Text::Word(&copy.destination)]).collect()
        }
        Instruction::Add(add) => {
            let options = [&add.chown, &add.chmod, &add.checksum].map(|it| it.as_deref());
            let sources = add.sources.iter().filter_map(source);
            words(options.to_vec()).chain(sources).chain([Text::Word(&add.destination)]).collect()
        }
        Instruction::Run(run) => {
            let options = run.mounts.iter().flat_map(|mount| &mount.options);
            let options = options.filter(|option| !matches!(option.key.as_str(), "from" | "type"));
            options.filter_map(|option| option.value.as_deref()).map(Text::Word).collect()
        }
        Instruction::Env(env) => pairs(&env.pairs),
        Instruction::Label(label) => pairs(&label.pairs),
        Instruction::Workdir(workdir) => vec![Text::Word(&workdir.path)],
        Instruction::User(user) => vec![Text::Word(&user.user)],
        Instruction::StopSignal(stop) => vec![Text::Word(&stop.signal)],
        Instruction::Expose(expose) => expose.ports.iter().map(|it| Text::Words(it)).collect(),
        Instruction::Volume(volume) => volume.paths.iter().map(|it| Text::Word(it)).collect(),
        Instruction::Arg(_)
        | Instruction::Cmd(_)
        | Instruction::Entrypoint(_)
        | Instruction::Shell(_)
        | Instruction::Healthcheck(_)
        | Instruction::Maintainer(_)
        | Instruction::Onbuild(_) => Vec::new(),
    }
}

/// Returns the default of a declaration. It is not read if the command line sets the argument.
pub(super) fn default<'a>(declaration: &'a ArgDeclaration, given: &Given<'_>) -> Option<Text<'a>> {
    let default = declaration.default.as_deref().map(Text::Word);
    default.filter(|_| !given.contains_key(declaration.name.as_str()))
}

fn source(source: &Source) -> Option<Text<'_>> {
    match source {
        Source::Path(path) => Some(Text::Word(path)),
        Source::Heredoc(heredoc) => heredoc.expand.then_some(Text::Body(&heredoc.body)),
    }
}

fn pairs(pairs: &[xbuild_dockerfile::Pair]) -> Vec<Text<'_>> {
    pairs.iter().flat_map(|pair| [Text::Word(&pair.key), Text::Word(&pair.value)]).collect()
}
