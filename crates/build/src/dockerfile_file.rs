//! Finding and reading the Dockerfile and its ignore file.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use xbuild_files::{IgnoreRules, Root};

use crate::error::ContextError;
use crate::error::READ_DOCKERFILE;

/// The largest Dockerfile or ignore file that is read, in bytes.
const MAX_SIZE: u64 = 16 << 20;

/// The names of a Dockerfile, the preferred one first. `docker buildx build` accepts the second,
/// too.
const NAMES: &[&str] = &["Dockerfile", "dockerfile", "Containerfile"];

/// The names of ignore files, and the endings of those that belong to one Dockerfile.
const IGNORE_FILES: [&str; 2] = [".dockerignore", ".containerignore"];

/// A Dockerfile and its ignore file.
#[derive(Debug)]
pub struct DockerfileFile {
    /// The name that the user knows.
    pub name: String,
    /// The path by which a terminal can open it, relative to the working folder if the user's was; the
    /// name if it is no file of this machine.
    pub path: String,
    /// The contents of the Dockerfile.
    pub text: Vec<u8>,
    /// The contents of the ignore file: `NAME.dockerignore` beside the Dockerfile, else
    /// `.dockerignore` in the context; Buildah's `.containerignore` as well.
    pub ignore: Option<IgnoreFile>,
}

/// An ignore file.
#[derive(Debug, Clone)]
pub struct IgnoreFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its contents.
    pub text: Vec<u8>,
}

impl IgnoreFile {
    /// Reads the rules.
    pub(crate) fn rules(&self) -> Result<IgnoreRules, ContextError> {
        let failed = |error| ContextError::IgnoreFile { path: self.path.clone(), error };
        IgnoreRules::parse(&self.text).map_err(failed)
    }

    /// Reads one that need not be there.
    fn read(path: PathBuf) -> Result<Option<Self>, ContextError> {
        Ok(optional(&path)?.map(|text| Self { path, text }))
    }
}

/// Reads the Dockerfile `file`, or the default one of the context, and its ignore file.
pub(crate) fn read(file: Option<&Path>, context: &Path) -> Result<DockerfileFile, ContextError> {
    let path = match file {
        Some(path) => path.to_owned(),
        None => default(context)?,
    };
    let text = read_bounded(&path).map_err(failed(READ_DOCKERFILE, &path))?;
    let ignore = ignore(&path, context)?;
    let name = match path.strip_prefix(context) {
        Ok(short) if file.is_none() => short.display().to_string(),
        _ => path.display().to_string(),
    };
    let shown = path.strip_prefix(".").unwrap_or(&path).display().to_string();
    Ok(DockerfileFile { name, path: shown, text, ignore })
}

/// Reads the Dockerfile `file`, or the default one, of a context that somebody else has filled:
/// symbolic links do not lead out of it. Its ignore file is not used, as in BuildKit.
pub(crate) fn read_foreign(
    file: Option<&Path>,
    context: &Path,
) -> Result<DockerfileFile, ContextError> {
    let open = |name: &OsStr| -> io::Result<fs::File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(Root::open(context)?.open_in_root(name.as_bytes(), flags)?.into())
    };
    let names: Vec<&OsStr> = match file {
        Some(file) => vec![file.as_os_str()],
        None => NAMES.iter().map(OsStr::new).collect(),
    };
    for name in names {
        let shown = Path::new(name);
        let text = match open(name) {
            Err(error) if file.is_none() && error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.and_then(read_file),
        };
        let text = text.map_err(failed("read the Dockerfile of the context", shown))?;
        let name = shown.display().to_string();
        return Ok(DockerfileFile { path: name.clone(), name, text, ignore: None });
    }
    Err(ContextError::NoDockerfileInContext)
}

/// Reads the ignore file of a Dockerfile: the one beside it, else that of the context. Buildah's names
/// come first for a Containerfile, else last.
///
/// **Source** — Dockerfile reference § .dockerignore file; `buildah-build(1)`, § `--ignorefile`.
fn ignore(file: &Path, context: &Path) -> Result<Option<IgnoreFile>, ContextError> {
    let mut endings = IGNORE_FILES;
    if file.file_name().is_some_and(|name| name.as_bytes().starts_with(b"Containerfile")) {
        endings.reverse();
    }
    let beside = endings.iter().map(|ending| {
        let mut path = file.to_owned().into_os_string();
        path.push(ending);
        PathBuf::from(path)
    });
    first(beside.chain(endings.iter().map(|name| context.join(name))))
}

/// Reads the ignore file of a context.
pub(crate) fn ignore_file(context: &Path) -> Result<Option<IgnoreFile>, ContextError> {
    first(IGNORE_FILES.iter().map(|name| context.join(name)))
}

fn first(paths: impl Iterator<Item = PathBuf>) -> Result<Option<IgnoreFile>, ContextError> {
    for path in paths {
        if let Some(found) = IgnoreFile::read(path)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn default(context: &Path) -> Result<PathBuf, ContextError> {
    // A name that cannot be looked up counts as found: the error of reading it says why.
    let exists = |path: &PathBuf| path.try_exists().unwrap_or(true);
    let found = NAMES.iter().map(|name| context.join(name)).find(exists);
    found.ok_or_else(|| ContextError::NoDockerfile { folder: context.to_owned() })
}

fn optional(path: &Path) -> Result<Option<Vec<u8>>, ContextError> {
    match read_bounded(path) {
        Ok(text) => Ok(Some(text)),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Returns a function that says which file operation failed.
pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ContextError {
    let path = path.to_owned();
    move |error| ContextError::File { action, path, error }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    read_file(fs::File::open(path)?)
}

fn read_file(file: fs::File) -> io::Result<Vec<u8>> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    bounded(file)
}

/// Reads all of `input`, up to [`MAX_SIZE`].
pub(crate) fn bounded(input: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if input.take(MAX_SIZE + 1).read_to_end(&mut text)? as u64 > MAX_SIZE {
        return Err(io::Error::other(format!("larger than {MAX_SIZE} bytes")));
    }
    Ok(text)
}
