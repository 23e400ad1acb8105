//! The rules about instructions below FROM.

use std::collections::{HashMap, HashSet};

use xbuild_dockerfile::{Command, Instruction, Keyword, Linter, Rule, Source, Span, Spanned};
use xbuild_model::remote::{Asker, RemoteSource};
use xbuild_wording::quoted;

use super::bases::with_suggestion;
use super::texts::{self, Text};
use crate::arguments::Given;
use crate::config;
use crate::error::PlanError;
use crate::graph::VertexId;
use crate::plan::Goal;
use crate::reach::{Names, Place, Reached, users};
use crate::state::State;
use crate::variables::Expander;

/// Variables that a scanner reads, not the build.
const SCANNER: &str = "BUILDKIT_SBOM_SCAN_";

/// The facts about a stage after some of its instructions.
#[derive(Clone, Debug)]
struct Scope {
    state: State,
    /// Whether the base image, and with it its variables, is known.
    known: bool,
    /// Whether a WORKDIR of this file came before.
    workdir: bool,
}

/// Applies the rules to the stages of one platform.
pub(super) fn check(
    names: &Names<'_>,
    goal: &Goal,
    given: &Given<'_>,
    ignored: &dyn Fn(&str) -> bool,
    linter: &mut Linter<'_>,
) {
    let mut users = users(&goal.stages);
    let mut done: HashMap<usize, Scope> = HashMap::new();
    for (&index, reached) in &goal.stages {
        let span = &names.dockerfile.stages[index].from.span;
        let mut scope = begin(names, reached, span, &mut done, &mut users, linter);
        for instruction in &reached.instructions {
            let place = config::Place {
                escape: names.dockerfile.escape,
                span: &instruction.span,
                globals: &goal.globals,
                given,
            };
            undefined(&scope, instruction, &place, linter);
            rules(&mut scope, instruction, &place, ignored, linter);
            if apply(&mut scope.state, &instruction.value, place).is_err() {
                // The planner reports the error; from here on, warnings would be guesswork.
                return;
            }
        }
        if users.contains_key(&index) {
            done.insert(index, scope);
        }
    }
}

/// Returns the facts about a stage before its first instruction.
fn begin(
    names: &Names<'_>,
    reached: &Reached,
    span: &Span,
    done: &mut HashMap<usize, Scope>,
    users: &mut HashMap<usize, usize>,
    linter: &mut Linter<'_>,
) -> Scope {
    // Nothing is built, so any vertex will do.
    let vertex = VertexId(0);
    let platform = &reached.platform;
    let empty = |known| Scope { state: State::empty(vertex, platform), known, workdir: false };
    match &reached.base {
        Place::Scratch | Place::Folder(_) => empty(true),
        Place::Stage(below) => {
            let left = users.get_mut(below).map_or(0, |count| {
                *count -= 1;
                *count
            });
            // The last user takes it: a copy for each stage of a long chain would take quadratic
            // space.
            let scope = if left == 0 { done.remove(below) } else { done.get(below).cloned() };
            // A missing stage has an error.
            scope.unwrap_or_else(|| empty(false))
        }
        Place::Image(name) => {
            let Some(image) = names.image(name, platform) else { return empty(false) };
            if !platform.accepted().contains(&image.platform) {
                let got = &image.platform;
                let message = format!("the base image {name} is for {got}, not for {platform}");
                linter.warn(Rule::InvalidBaseImagePlatform, span, message);
            }
            Scope { state: State::of_image(vertex, platform, image), known: true, workdir: false }
        }
    }
}

/// Applies an instruction to the variables that the following instructions see.
fn apply(
    state: &mut State,
    instruction: &Instruction,
    place: config::Place<'_>,
) -> Result<(), PlanError> {
    match instruction {
        Instruction::Arg(arg) => config::arg(state, place, arg)?,
        Instruction::Env(env) => config::env(state, place, env)?,
        Instruction::Shell(shell) => config::shell(state, shell),
        _ => {}
    }
    state.history.clear();
    Ok(())
}

/// Looks for variables that are not set. A variable that an ARG declares may be set on the command
/// line; the default of a declaration sees the declarations to its left, and not itself.
fn undefined(
    scope: &Scope,
    instruction: &Spanned<Instruction>,
    place: &config::Place<'_>,
    linter: &mut Linter<'_>,
) {
    if !scope.known {
        return;
    }
    let state = &scope.state;
    let mut look_at = |text: Text<'_>, left: &HashSet<&str>| {
        // A text that cannot be expanded is an error of the plan.
        for name in text.unset(place.escape, &state.variables).unwrap_or_default() {
            let is_declared = state.arguments.contains(&name)
                || left.contains(name.as_str())
                || name.starts_with(SCANNER);
            if !is_declared {
                linter.warn(Rule::UndefinedVar, place.span, not_set(&name, state, place));
            }
        }
    };
    match &instruction.value {
        Instruction::Arg(arg) => {
            let mut left = HashSet::new();
            for declaration in &arg.declarations {
                if let Some(text) = texts::default(declaration, place.given) {
                    look_at(text, &left);
                }
                left.insert(declaration.name.as_str());
            }
        }
        other => texts::of(other).into_iter().for_each(|text| look_at(text, &HashSet::new())),
    }
}

fn not_set(name: &str, state: &State, place: &config::Place<'_>) -> String {
    let message = format!("the variable ${name} is not set");
    match place.globals.get(name) {
        Some(_) => format!("{message}: ARG {name} declares it here"),
        None => {
            let known = state.variables.iter().map(|(name, _)| name.as_str());
            with_suggestion(message, name, known)
        }
    }
}

fn rules(
    scope: &mut Scope,
    instruction: &Spanned<Instruction>,
    place: &config::Place<'_>,
    ignored: &dyn Fn(&str) -> bool,
    linter: &mut Linter<'_>,
) {
    let span = place.span;
    let expander = place.expander(&scope.state);
    match &instruction.value {
        Instruction::Cmd(cmd) => json(&cmd.command, Keyword::Cmd, &scope.state, span, linter),
        Instruction::Entrypoint(it) => {
            json(&it.command, Keyword::Entrypoint, &scope.state, span, linter);
        }
        Instruction::Workdir(workdir) => {
            let path = expander.word(&workdir.path);
            if let Ok(path) = path.as_deref()
                && !scope.workdir
                && !path.starts_with('/')
            {
                let message = format!(
                    "the relative path {path} depends on the base image",
                    path = quoted(&path)
                );
                linter.warn(Rule::WorkdirRelativePath, span, message);
            }
            scope.workdir = true;
        }
        Instruction::Expose(expose) => {
            let words = expose.ports.iter().flat_map(|port| expander.words(port));
            words.flatten().for_each(|word| port(&word, span, linter));
        }
        Instruction::Copy(copy) if copy.from.is_none() => {
            excluded(Keyword::Copy, &copy.sources, &expander, ignored, linter);
        }
        Instruction::Add(add) => excluded(Keyword::Add, &add.sources, &expander, ignored, linter),
        _ => {}
    }
}

fn json(command: &Command, keyword: Keyword, state: &State, span: &Span, linter: &mut Linter<'_>) {
    // A user who sets the SHELL wants the shell form.
    if matches!(command, Command::Shell(_)) && state.config.config.shell.is_none() {
        let message = format!("{keyword} in shell form: the shell, not the program, gets signals");
        linter.warn(Rule::JSONArgsRecommended, span, message);
    }
}

fn port(word: &str, span: &Span, linter: &mut Linter<'_>) {
    let (mapped, container) = word.rsplit_once(':').unwrap_or(("", word));
    let protocol = container.split_once('/').map_or("", |(_, protocol)| protocol);
    if protocol.contains(|c: char| c.is_ascii_uppercase()) {
        let message =
            format!("the protocol of {word} should be in lower case", word = quoted(&word));
        linter.warn(Rule::ExposeProtoCasing, span, message);
    }
    if !mapped.is_empty() {
        let message = format!(
            "{word}: an address or a port of the host means nothing to EXPOSE",
            word = quoted(&word)
        );
        linter.warn(Rule::ExposeInvalidFormat, span, message);
    }
}

fn excluded(
    keyword: Keyword,
    sources: &[Source],
    expander: &Expander<'_>,
    ignored: &dyn Fn(&str) -> bool,
    linter: &mut Linter<'_>,
) {
    for source in sources {
        let Source::Path(path) = source else { continue };
        let Ok(path) = expander.word(path) else { continue };
        let is_remote =
            keyword == Keyword::Add && RemoteSource::parse(&path, Asker::Add) != Ok(None);
        if !is_remote && ignored(&path) {
            let message = format!(
                "the ignore file excludes {path} from the build context",
                path = quoted(&path)
            );
            linter.warn(Rule::CopyIgnoredFile, expander.span, message);
        }
    }
}
