//! Values that name build contexts and Dockerfiles.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use xbuild_build::request::{ContextPlace, DockerfilePlace, NamedPlace};
use xbuild_model::remote::{Asker, RemoteSource};

use crate::report::Problem;

/// The name of a file that is a context, as in BuildKit.
const FILE_NAME: &str = "context";

/// Reads a value of `--file`.
pub(crate) fn dockerfile(file: Option<&Path>) -> DockerfilePlace {
    let Some(path) = file else { return DockerfilePlace::InContext };
    match path.to_str() {
        Some("-") => DockerfilePlace::Stdin,
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
            DockerfilePlace::Url(url.to_owned())
        }
        _ => DockerfilePlace::File(path.to_owned()),
    }
}

/// Reads the main context. Looks only at whether such a file exists, and its kind.
pub(crate) fn main(path: &Path) -> Result<ContextPlace, Problem> {
    if path == OsStr::new("-") {
        return Ok(ContextPlace::Stdin);
    }
    let fail =
        |reason: String| Problem::input(format!("the build context {} {reason}", path.display()));
    match fs::metadata(path) {
        Ok(meta) if !meta.is_dir() => Ok(ContextPlace::Archive(path.to_owned())),
        Err(error) if is_missing(&error) => match remote(path)? {
            Some(source) => Ok(ContextPlace::Remote(source)),
            None => Err(fail("is not found".to_owned())),
        },
        _ => folder(path).map(ContextPlace::Folder).map_err(fail),
    }
}

/// Reads a named context that is not an image.
pub(crate) fn named(name: &str, text: &str) -> Result<NamedPlace, Problem> {
    let path = Path::new(text);
    let found = if fs::metadata(path).is_ok() { None } else { remote(path)? };
    match found {
        Some(source) => Ok(NamedPlace::Remote(source)),
        None => folder(path)
            .map(NamedPlace::Folder)
            .map_err(|reason| Problem::input(format!("the build context {name}={text} {reason}"))),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_names_a_place() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.tar");
        fs::write(&file, "x").unwrap();
        let is_git = |place: &ContextPlace| matches!(place, ContextPlace::Remote(RemoteSource::Git(git)) if git.user.is_none());
        let main = |text: &str| super::main(Path::new(text));
        assert_eq!(main("-").unwrap(), ContextPlace::Stdin);
        assert_eq!(main(file.to_str().unwrap()).unwrap(), ContextPlace::Archive(file.clone()));
        let folder = ContextPlace::Folder(dir.path().to_owned());
        assert_eq!(main(dir.path().to_str().unwrap()).unwrap(), folder);
        assert!(is_git(&main("https://h.example/r.git#main:sub").unwrap()));
        assert!(is_git(&main("github.com/o/r").unwrap()));
        assert!(matches!(named("x", "git@h.example:r").unwrap(), NamedPlace::Remote(_)));
        match main("https://h.example/x.tar").unwrap() {
            ContextPlace::Remote(RemoteSource::Http(http)) => assert_eq!(http.name, FILE_NAME),
            other => panic!("{other:?}"),
        }
        for bad in ["none", "./github.com/o/r", "ftp://h.example/x", "file:///tmp"] {
            assert!(main(bad).is_err(), "{bad}");
        }
        assert!(named("x", file.to_str().unwrap()).is_err());
    }
}
