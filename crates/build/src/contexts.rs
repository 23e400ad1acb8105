//! Build contexts: what a text on the command line names, and the folders that come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xbuild_files::{Context, IgnoreRules};
use xbuild_model::FailureKind;
use xbuild_model::remote::{Asker, RemoteSource};
use xbuild_model::seam::Sources;
use xbuild_plan::{Graph, Op, Origin};

use crate::dockerfile_file;
use crate::problem::Problem;

/// The name of a file that is a context; BuildKit's.
pub const FILE_NAME: &str = "context";

/// Where a build context is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextPlace {
    /// A folder on this machine; absolute.
    Folder(PathBuf),
    /// A tar archive on this machine.
    Archive(PathBuf),
    /// A tar archive or a Dockerfile from standard input.
    Stdin,
    /// Elsewhere.
    Remote(RemoteSource),
}

impl ContextPlace {
    /// Reads what the main context is. Looks whether there is such a file, nothing else.
    pub fn main(path: &Path) -> Result<Self, Problem> {
        if path == OsStr::new("-") {
            return Ok(Self::Stdin);
        }
        let fail = |reason: String| {
            Problem::input(format!("the build context {} {reason}", path.display()))
        };
        match fs::metadata(path) {
            Ok(meta) if !meta.is_dir() => Ok(Self::Archive(path.to_owned())),
            Err(error) if is_missing(&error) => match remote(path)? {
                Some(source) => Ok(Self::Remote(source)),
                None => Err(fail("is not found".to_owned())),
            },
            _ => folder(path).map(Self::Folder).map_err(fail),
        }
    }

    /// Reads what a named context is, if it is no image.
    pub fn named(name: &str, text: &str) -> Result<Self, Problem> {
        let path = Path::new(text);
        let found = if fs::metadata(path).is_ok() { None } else { remote(path)? };
        match found {
            Some(source) => Ok(Self::Remote(source)),
            None => folder(path).map(Self::Folder).map_err(|reason| {
                Problem::input(format!("the build context {name}={text} {reason}"))
            }),
        }
    }
}

fn remote(path: &Path) -> Result<Option<RemoteSource>, Problem> {
    let Some(text) = path.to_str() else { return Ok(None) };
    let source = RemoteSource::parse(text, Asker::Context);
    let mut source = source.map_err(|error| Problem::command_line(error.to_string()))?;
    if let Some(RemoteSource::Http(http)) = &mut source {
        FILE_NAME.clone_into(&mut http.name);
    }
    Ok(source)
}

fn folder(path: &Path) -> Result<PathBuf, String> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => std::path::absolute(path).map_err(|e| e.to_string()),
        Ok(_) => Err("is not a folder".to_owned()),
        Err(error) if is_missing(&error) => Err("is not found".to_owned()),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Opens the contexts that the steps of a graph copy from: the main one, which is the folder
/// `main`, with the ignore file that goes with the Dockerfile; named folders with their own; and
/// those elsewhere, fetched now, without.
pub fn open(
    graph: &Graph,
    named: &BTreeMap<String, ContextPlace>,
    main: (&Path, Option<&[u8]>),
    sources: &dyn Sources,
) -> Result<BTreeMap<String, Arc<Context>>, Problem> {
    let used: BTreeSet<&str> =
        graph.vertices.iter().filter_map(|vertex| name(&vertex.op)).collect();
    let mut contexts = BTreeMap::new();
    for name in used {
        let context = match named.get(name) {
            _ if name.is_empty() => context(main.0, main.1)?,
            Some(ContextPlace::Folder(path)) => {
                context(path, dockerfile_file::ignore_file(path)?.as_deref())?
            }
            Some(ContextPlace::Remote(source)) => {
                let folder = sources.fetch(source).map_err(|failure| Problem::step(&failure))?;
                context(&folder, None)?
            }
            // The engine says which context it misses.
            Some(ContextPlace::Archive(_) | ContextPlace::Stdin) | None => continue,
        };
        contexts.insert(name.to_owned(), Arc::new(context));
    }
    Ok(contexts)
}

fn name(op: &Op) -> Option<&str> {
    match op {
        Op::Files { origin: Some(Origin::Context(name)), .. } => Some(name),
        _ => None,
    }
}

fn context(path: &Path, ignore: Option<&[u8]>) -> Result<Context, Problem> {
    let user = |error: &(dyn std::error::Error + 'static)| Problem::of(FailureKind::User, error);
    let rules = ignore.map(IgnoreRules::parse).transpose();
    let rules = rules.map_err(|error| user(&error).during("ignore file"))?;
    Context::open(path, rules).map_err(|error| user(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_names_a_place() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.tar");
        fs::write(&file, "x").unwrap();
        let is_git = |place: &ContextPlace| matches!(place, ContextPlace::Remote(RemoteSource::Git(git)) if git.user.is_none());
        let main = |text: &str| ContextPlace::main(Path::new(text));
        assert_eq!(main("-").unwrap(), ContextPlace::Stdin);
        assert_eq!(main(file.to_str().unwrap()).unwrap(), ContextPlace::Archive(file.clone()));
        let folder = ContextPlace::Folder(dir.path().to_owned());
        assert_eq!(main(dir.path().to_str().unwrap()).unwrap(), folder);
        assert!(is_git(&main("https://h.example/r.git#main:sub").unwrap()));
        assert!(is_git(&main("github.com/o/r").unwrap()));
        assert!(is_git(&ContextPlace::named("x", "git@h.example:r").unwrap()));
        match main("https://h.example/x.tar").unwrap() {
            ContextPlace::Remote(RemoteSource::Http(http)) => assert_eq!(http.name, FILE_NAME),
            other => panic!("{other:?}"),
        }
        for bad in ["none", "./github.com/o/r", "ftp://h.example/x", "file:///tmp"] {
            assert!(main(bad).is_err(), "{bad}");
        }
        assert!(ContextPlace::named("x", file.to_str().unwrap()).is_err());
    }
}
