//! The files of `xbuild bake` and `xbuild compose-build`, and what they are given of this machine.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use xbuild_bake::{BakeError, Config, DEFAULT_FILES, File, Given, World};
use xbuild_model::{FailureKind, Platform};
use xbuild_wording::quoted;

use super::bake_remote::Remote;
use crate::environment;
use crate::report::{Problem, ProblemKind};

/// The most bytes of a bake file.
const LARGEST: u64 = 16 << 20;

/// Where bake files are.
pub(super) struct Places<'a> {
    /// Their names; none for the usual ones.
    pub(super) files: &'a [PathBuf],
    /// The values of `--var`.
    pub(super) vars: &'a [String],
    /// The remote definition, if there is one. Names that begin with `cwd://` are not in it.
    pub(super) remote: Option<&'a Remote>,
    /// The value of `BAKE_CMD_CONTEXT`.
    pub(super) command_context: &'a str,
}

/// Reads bake files to groups and targets.
pub(super) fn config(places: &Places<'_>) -> Result<Config, Problem> {
    let is_here = |path: &&PathBuf| path.to_str().is_some_and(|path| path.starts_with("cwd://"));
    let files = match (places.remote, places.files) {
        (None, []) => default_files()?,
        (None, files) => files.iter().map(|path| read(path)).collect::<Result<_, _>>()?,
        (Some(remote), files) => {
            let there = files.iter().filter(|path| !is_here(path)).map(PathBuf::as_path);
            let mut read_there = remote.bake_files(&there.collect::<Vec<_>>())?;
            let here = files.iter().filter(is_here).map(|path| read(path));
            read_there.extend(here.collect::<Result<Vec<_>, _>>()?);
            read_there
        }
    };
    let there = |name: &str| match places.remote {
        Some(remote) => remote.optional(name),
        None => optional(name),
    };
    let read = |given: &Given<'_>| Config::read(&files, given).map_err(problem);
    with_files(places.vars, (&there, places.command_context), read)
}

/// The context of the command: the working folder.
pub(super) const HERE: &str = "cwd://";

/// Calls a function with what definitions are given of this machine.
pub(super) fn with_given<T>(
    vars: &[String],
    work: impl FnOnce(&Given<'_>) -> Result<T, Problem>,
) -> Result<T, Problem> {
    with_files(vars, (&optional, HERE), work)
}

/// Reads a file that need not be there.
type ReadFile<'a> = &'a dyn Fn(&str) -> Result<Option<String>, String>;

fn with_files<T>(
    vars: &[String],
    (files, command_context): (ReadFile<'_>, &str),
    work: impl FnOnce(&Given<'_>) -> Result<T, Problem>,
) -> Result<T, Problem> {
    if environment::variable("BUILDX_BAKE_FILE_RELATIVE_PATHS").is_some_and(|value| value != "0") {
        let message =
            "BUILDX_BAKE_FILE_RELATIVE_PATHS is not implemented: paths are seen from here";
        return Err(Problem::command_line(message));
    }
    let is_off = environment::variable("BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP");
    let is_off = is_off.is_some_and(|value| matches!(value.as_str(), "1" | "true"));
    let environment = |name: &str| if is_off { None } else { environment::text_variable(name) };
    let given = Given {
        variables: variables(vars)?,
        environment: &environment,
        files,
        built_in: [
            ("BAKE_CMD_CONTEXT".to_owned(), command_context.to_owned()),
            ("BAKE_LOCAL_PLATFORM".to_owned(), Platform::host().to_string()),
        ]
        .into(),
        world: World { now: now(), home: environment::home_text(), random },
    };
    work(&given)
}

/// Reads the files that are read if none is named.
fn default_files() -> Result<Vec<File>, Problem> {
    let named = environment::bake_files();
    if !named.is_empty() {
        return named.iter().map(|path| read(path)).collect();
    }
    let mut files = Vec::new();
    for name in DEFAULT_FILES {
        if let Some(text) = optional(name).map_err(Problem::input)? {
            files.push(File { name: (*name).to_owned(), text });
        }
    }
    match files.is_empty() {
        true => {
            let names = DEFAULT_FILES.iter().map(|name| (*name).to_owned()).collect();
            Err(problem(BakeError::NoFiles { names }))
        }
        false => Ok(files),
    }
}

/// Reads a file that was named.
pub(super) fn read(path: &Path) -> Result<File, Problem> {
    if path == Path::new("-") {
        let mut text = String::new();
        let taken = io::stdin().take(LARGEST).read_to_string(&mut text);
        taken.map_err(|error| Problem::file("read", Path::new("standard input"), &error))?;
        return Ok(File { name: "-".to_owned(), text });
    }
    let path = path.to_str().and_then(|text| text.strip_prefix("cwd://")).map_or(path, Path::new);
    let text = bounded(path).map_err(|error| Problem::file("read", path, &error))?;
    Ok(File { name: path.display().to_string(), text })
}

/// Reads a file that need not be there.
fn optional(name: &str) -> Result<Option<String>, String> {
    match bounded(Path::new(name)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {name}: {error}")),
    }
}

fn bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let taken = fs::File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    match u64::try_from(taken) {
        Ok(length) if length <= LARGEST => Ok(text),
        _ => Err(io::Error::other("the file is too large for a bake file")),
    }
}

/// Reads the values of `--var`.
fn variables(values: &[String]) -> Result<BTreeMap<String, String>, Problem> {
    let pairs = values.iter().map(|text| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Problem::command_line(format!(
            "invalid --var {text}: expected NAME=VALUE",
            text = quoted(&text)
        ))),
    });
    pairs.collect()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Returns random bytes; those of the time if the kernel gives none.
fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    let read = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    if read.is_err() {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        bytes = since.as_nanos().to_le_bytes();
    }
    bytes
}

/// Returns an error of bake files as a problem.
pub(super) fn problem(error: BakeError) -> Problem {
    let kind = match &error {
        BakeError::NoTarget { .. } | BakeError::NoMatch { .. } | BakeError::Override { .. } => {
            ProblemKind::CommandLine
        }
        _ => ProblemKind::Failure(FailureKind::User),
    };
    Problem::new(kind, error.to_string())
}
