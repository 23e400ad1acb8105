//! Finding and reading the Dockerfile and its ignore file.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::report::Problem;

/// The largest Dockerfile or ignore file that is read, in bytes.
const MAX_SIZE: u64 = 16 << 20;

/// A Dockerfile as it was found.
#[derive(Debug)]
pub(crate) struct DockerfileFile {
    /// As the user knows it.
    pub(crate) name: String,
    /// Its contents.
    pub(crate) text: Vec<u8>,
    /// The contents of the ignore file that goes with it: `NAME.dockerignore` beside it, else
    /// `.dockerignore` in the context.
    pub(crate) ignore: Option<Vec<u8>>,
}

/// Reads the Dockerfile `file`, or the default one of the context, and its ignore file.
pub(crate) fn read(file: Option<&Path>, context: &Path) -> Result<DockerfileFile, Problem> {
    let path = match file {
        Some(path) if path == Path::new("-") => {
            return Err(Problem::command_line(
                "a Dockerfile from standard input (--file -) is not implemented yet",
            ));
        }
        Some(path) => path.to_owned(),
        None => default(context)?,
    };
    let text = read_bounded(&path).map_err(|error| {
        let problem = Problem::file("read the Dockerfile", &path, &error);
        match error.kind() {
            io::ErrorKind::NotFound => problem.with_hint("name another one with --file"),
            _ => problem,
        }
    })?;
    let mut beside = path.clone().into_os_string();
    beside.push(".dockerignore");
    let own = optional(Path::new(&beside))?;
    let ignore = match own {
        Some(text) => Some(text),
        None => ignore_file(context)?,
    };
    let name = match path.strip_prefix(context) {
        Ok(short) if file.is_none() => short.display().to_string(),
        _ => path.display().to_string(),
    };
    Ok(DockerfileFile { name, text, ignore })
}

/// Returns the contents of `.dockerignore` in a context.
pub(crate) fn ignore_file(context: &Path) -> Result<Option<Vec<u8>>, Problem> {
    optional(&context.join(".dockerignore"))
}

fn default(context: &Path) -> Result<PathBuf, Problem> {
    /// In the order of preference; the second is what `docker buildx build` accepts too.
    const NAMES: &[&str] = &["Dockerfile", "dockerfile", "Containerfile"];
    // What cannot be looked for is found: reading it says why not.
    let exists = |path: &PathBuf| path.try_exists().unwrap_or(true);
    let found = NAMES.iter().map(|name| context.join(name)).find(exists);
    found.ok_or_else(|| {
        Problem::input(format!("there is no Dockerfile in {}", context.display()))
            .with_hint("name it with --file")
    })
}

fn optional(path: &Path) -> Result<Option<Vec<u8>>, Problem> {
    match read_bounded(path) {
        Ok(text) => Ok(Some(text)),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(Problem::file("read", path, &error)),
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = Vec::new();
    if file.take(MAX_SIZE + 1).read_to_end(&mut text)? as u64 > MAX_SIZE {
        return Err(io::Error::other(format!("larger than {MAX_SIZE} bytes")));
    }
    Ok(text)
}
