//! The values that options and arguments may have, by the names that help gives them.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use xbuild_build::{Events, Shelf};

use crate::commands::{bake, platforms};
use crate::console::{Console, ProgressMode};
use crate::environment;

/// Bytes of a Dockerfile at most, to look for stages in.
const LARGEST: u64 = 1 << 20;

/// Gives arguments their values. `words` are those of the line.
pub(super) fn with_values(definition: Command, words: &[OsString]) -> Command {
    let words: Arc<[OsString]> = words.into();
    with(definition, &words)
}

fn with(command: Command, words: &Arc<[OsString]>) -> Command {
    let command = command.mut_args(|arg| {
        let names = arg.get_value_names().unwrap_or_default();
        let name = names.first().map(|name| name.as_str().to_owned());
        match name.as_deref().and_then(|name| candidates(name, &arg, words)) {
            Some(candidates) => arg.add(candidates),
            None => arg,
        }
    });
    command.mut_subcommands(|command| with(command, words))
}

/// Returns the values of an argument that has that name in the help.
fn candidates(name: &str, arg: &Arg, words: &Arc<[OsString]>) -> Option<ArgValueCandidates> {
    let words = Arc::clone(words);
    Some(match name {
        "PLATFORM" => ArgValueCandidates::new(|| named(platforms::PLATFORMS.iter().copied())),
        "STAGE" => ArgValueCandidates::new(move || stages(&words)),
        "IMAGE" | "IMAGE|REGISTRY" => ArgValueCandidates::new(move || images(&words)),
        "TARGET" if arg.is_positional() => ArgValueCandidates::new(move || targets(&words)),
        _ => return None,
    })
}

fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<CompletionCandidate> {
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// Returns the values of an option that the line has, as `--LONG VALUE`, `--LONG=VALUE` or with a letter.
fn given(words: &[OsString], long: &str, short: Option<char>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut words = words.iter().filter_map(|word| word.to_str());
    let (long, short) = (format!("--{long}"), short.map(|letter| format!("-{letter}")));
    while let Some(word) = words.next() {
        if word == long || Some(word) == short.as_deref() {
            found.extend(words.next().map(PathBuf::from));
        } else if let Some(value) = word.strip_prefix(&long).and_then(|rest| rest.strip_prefix('='))
        {
            found.push(PathBuf::from(value));
        }
    }
    found
}

/// Returns the stages of the Dockerfile that the line names, else of the one in its context.
fn stages(words: &[OsString]) -> Vec<CompletionCandidate> {
    let file = given(words, "file", Some('f')).pop().map(|path| without_platform(&path));
    let mut contexts = words.iter().skip(2).map(Path::new).filter(|word| word.is_dir());
    let context = contexts.next_back().unwrap_or(Path::new("."));
    let path = file.unwrap_or_else(|| context.join("Dockerfile"));
    let is_small = fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() <= LARGEST);
    let text = if is_small { fs::read(&path).unwrap_or_default() } else { Vec::new() };
    let Ok(file) = xbuild_dockerfile::parse("Dockerfile", &text) else { return Vec::new() };
    let targets = xbuild_dockerfile::targets(&file);
    let stages = targets.iter().filter_map(|target| {
        let help = target.description.map(|text| text.to_owned().into());
        Some(CompletionCandidate::new(target.name?).help(help))
    });
    stages.collect()
}

/// Returns the file of `PLATFORM=FILE`.
fn without_platform(path: &Path) -> PathBuf {
    match path.to_str().and_then(|text| text.split_once('=')) {
        Some((_, file)) => PathBuf::from(file),
        None => path.to_owned(),
    }
}

/// Returns the names of the images of the store, as people type them.
fn images(words: &[OsString]) -> Vec<CompletionCandidate> {
    let root = given(words, "root", None).pop();
    let root = root.or_else(|| environment::variable("XBUILD_ROOT").map(PathBuf::from));
    let Ok(machine) = environment::machine(root.as_deref()) else { return Vec::new() };
    let silent = Arc::new(Console::new(ProgressMode::Quiet)) as Arc<dyn Events>;
    // A store is not made for this.
    let Ok(Some(shelf)) = Shelf::existing_store(&machine, &silent) else { return Vec::new() };
    let names =
        shelf.list().unwrap_or_default().into_iter().map(|image| short(&image.name).to_owned());
    names.map(CompletionCandidate::new).collect()
}

/// Returns a name without the registry and the folder that names have by default.
fn short(name: &str) -> &str {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

/// Returns the targets and groups of the bake files that the line names, else of those that are here.
fn targets(words: &[OsString]) -> Vec<CompletionCandidate> {
    let files = given(words, "file", Some('f'));
    let is_stream = files.iter().any(|file| file.as_os_str() == OsStr::new("-"));
    let names = if is_stream { Vec::new() } else { bake::names(&files) };
    names.into_iter().map(CompletionCandidate::new).collect()
}
