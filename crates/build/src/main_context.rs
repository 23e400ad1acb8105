//! The main build context as a folder, whatever it is, and the Dockerfile that goes with it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xbuild_files::{Root, context_tar};
use xbuild_model::FailureKind;
use xbuild_model::remote::{Asker, RemoteSource, without_user};
use xbuild_source::Fetcher;
use xbuild_store::{Store, TempFolder};

use crate::contexts::{ContextPlace, FILE_NAME};
use crate::dockerfile_file::{self, DockerfileFile};
use crate::problem::Problem;

/// What fetches and keeps contexts that are no folders.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// Where they are kept.
    pub store: Arc<Store>,
    /// What fetches them.
    pub fetcher: Arc<Fetcher>,
}

/// The main context.
#[derive(Debug)]
pub struct MainContext {
    /// Its folder.
    pub folder: PathBuf,
    /// The Dockerfile, and the ignore file that is to be heeded.
    pub file: DockerfileFile,
    /// When it was made, in seconds since 1970, if it comes from somewhere that says so: the time
    /// of a commit, or that of a file of a web server.
    pub modified: Option<u64>,
    /// Removed at the end.
    _temp: Option<TempFolder>,
}

/// A context before its Dockerfile is known.
struct Opened {
    folder: PathBuf,
    kind: Kind,
    modified: Option<u64>,
    temp: Option<TempFolder>,
}

/// How the Dockerfile of a context is found.
enum Kind {
    /// As files of the user are.
    Local,
    /// Below the folder only, which somebody else has filled.
    Foreign,
    /// The context is a Dockerfile.
    Dockerfile { name: String, text: Vec<u8> },
}

impl MainContext {
    /// Makes the context a folder and reads the Dockerfile. `elsewhere` is called only for what
    /// is not in a folder of this machine.
    pub fn open(
        place: &ContextPlace,
        file: Option<&Path>,
        elsewhere: &dyn Fn() -> Result<Elsewhere, Problem>,
    ) -> Result<Self, Problem> {
        let from_stdin = file == Some(Path::new("-"));
        if from_stdin && *place == ContextPlace::Stdin {
            return Err(Problem::command_line(
                "standard input cannot be both the build context and the Dockerfile",
            ));
        }
        let Opened { folder, kind, modified, temp } = match place {
            ContextPlace::Folder(path) => {
                Opened { folder: path.clone(), kind: Kind::Local, modified: None, temp: None }
            }
            ContextPlace::Archive(path) => {
                let mut input = File::open(path)
                    .map_err(|error| Problem::file("read the build context", path, &error))?;
                let name = path.display().to_string();
                let head = sniff(&mut input, &name)?;
                if !context_tar::is_archive(&head) {
                    return Err(Problem::input(format!(
                        "the build context {name} is neither a folder nor a tar archive"
                    ))
                    .with_hint("a Dockerfile is named with --file"));
                }
                unpack(head.chain(input), &name, &elsewhere()?)?
            }
            ContextPlace::Stdin => stream(io::stdin(), "standard input", &elsewhere()?)?,
            ContextPlace::Remote(source) => remote(source, &elsewhere()?)?,
        };
        let url = file.and_then(Path::to_str).filter(|text| is_url(text));
        let file = match (kind, file, url) {
            (Kind::Dockerfile { name, text }, None, _) => {
                DockerfileFile { name, text, ignore: None }
            }
            (Kind::Dockerfile { .. }, Some(file), None) if !from_stdin && !file.is_absolute() => {
                return Err(Problem::command_line(format!(
                    "the build context is a Dockerfile: --file {} cannot be in it",
                    file.display()
                )));
            }
            (kind, Some(_), Some(url)) => {
                let text = download(url, &elsewhere()?)?;
                let ignore = own_ignore(&kind, &folder)?;
                DockerfileFile { name: without_user(url), text, ignore }
            }
            (kind, Some(_), None) if from_stdin => {
                let text = dockerfile_file::read_stdin()?;
                let ignore = own_ignore(&kind, &folder)?;
                DockerfileFile { name: "-".to_owned(), text, ignore }
            }
            (Kind::Local, file, _) => dockerfile_file::read(file, &folder)?,
            (_, Some(file), _) if file.is_absolute() => {
                DockerfileFile { ignore: None, ..dockerfile_file::read(Some(file), &folder)? }
            }
            (_, file, _) => dockerfile_file::read_foreign(file, &folder)?,
        };
        Ok(Self { folder, file, modified, _temp: temp })
    }
}

/// Returns the ignore file for a Dockerfile that is not in the context: of folders of this machine
/// alone, as in the reference.
fn own_ignore(kind: &Kind, folder: &Path) -> Result<Option<Vec<u8>>, Problem> {
    match kind {
        Kind::Local => dockerfile_file::ignore_file(folder),
        _ => Ok(None),
    }
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// Makes a folder of a stream: an archive is unpacked; a Dockerfile has an empty context.
fn stream(input: impl Read + Send, name: &str, elsewhere: &Elsewhere) -> Result<Opened, Problem> {
    let mut input = input;
    let head = sniff(&mut input, name)?;
    if context_tar::is_archive(&head) {
        return unpack(head.chain(input), name, elsewhere);
    }
    let text = dockerfile_file::bounded(head.chain(input))
        .map_err(|error| Problem::input(format!("cannot read {name}: {error}")))?;
    let temp = temp_dir(elsewhere)?;
    let kind = Kind::Dockerfile { name: "-".to_owned(), text };
    Ok(Opened { folder: temp.path().to_owned(), kind, modified: None, temp: Some(temp) })
}

/// Returns the first bytes of a stream.
fn sniff(input: &mut impl Read, name: &str) -> Result<Vec<u8>, Problem> {
    let mut head = Vec::new();
    let read = input.by_ref().take(context_tar::SNIFFED as u64).read_to_end(&mut head);
    match read {
        Ok(0) => Err(Problem::input(format!(
            "{name} is empty: a Dockerfile or a tar archive is expected"
        ))),
        Ok(_) => Ok(head),
        Err(error) => Err(Problem::input(format!("cannot read {name}: {error}"))),
    }
}

fn unpack(input: impl Read + Send, name: &str, elsewhere: &Elsewhere) -> Result<Opened, Problem> {
    let temp = temp_dir(elsewhere)?;
    let folder = temp.path().to_owned();
    let root = Root::open(&folder)
        .map_err(|error| Problem::file("open the build context", &folder, &error))?;
    context_tar::unpack(input, &root).map_err(|error| {
        Problem::of(FailureKind::User, &error).during(&format!("the build context {name}"))
    })?;
    Ok(Opened { folder, kind: Kind::Foreign, modified: None, temp: Some(temp) })
}

fn temp_dir(elsewhere: &Elsewhere) -> Result<TempFolder, Problem> {
    let temp = elsewhere.store.temp_dir("context");
    temp.map_err(|error| Problem::of(FailureKind::Internal, &error))
}

fn remote(source: &RemoteSource, elsewhere: &Elsewhere) -> Result<Opened, Problem> {
    let fetched = fetch(source, elsewhere)?;
    let RemoteSource::Http(http) = source else {
        let modified = modified(&fetched)?;
        return Ok(Opened { folder: fetched, kind: Kind::Foreign, modified, temp: None });
    };
    let path = fetched.join(FILE_NAME);
    let input =
        File::open(&path).map_err(|error| Problem::file("read the download", &path, &error))?;
    let name = http.url.split('?').next().unwrap_or_default().to_owned();
    let opened = Opened { modified: modified(&path)?, ..stream(input, &name, elsewhere)? };
    Ok(match opened.kind {
        // As in the reference the file is all that is in its context.
        Kind::Dockerfile { text, .. } => {
            Opened { folder: fetched, kind: Kind::Dockerfile { name, text }, temp: None, ..opened }
        }
        _ => opened,
    })
}

/// Returns the time of what was fetched; `None` for 1970, which stands for a server that says
/// nothing.
fn modified(path: &Path) -> Result<Option<u64>, Problem> {
    let meta = path.metadata().map_err(|error| Problem::file("read", path, &error))?;
    Ok(u64::try_from(meta.mtime()).ok().filter(|time| *time > 0))
}

fn download(url: &str, elsewhere: &Elsewhere) -> Result<Vec<u8>, Problem> {
    let source = RemoteSource::parse(url, Asker::Add);
    let source = source.map_err(|error| Problem::command_line(error.to_string()))?;
    let Some(RemoteSource::Http(http)) = source else {
        return Err(Problem::command_line(format!(
            "--file {}: a repository is no Dockerfile",
            without_user(url)
        )));
    };
    let name = http.name.clone();
    let path = fetch(&RemoteSource::Http(http), elsewhere)?.join(name);
    let read = File::open(&path).and_then(dockerfile_file::bounded);
    read.map_err(|error| {
        Problem::input(format!("cannot read the Dockerfile {}: {error}", without_user(url)))
    })
}

fn fetch(source: &RemoteSource, elsewhere: &Elsewhere) -> Result<PathBuf, Problem> {
    elsewhere.fetcher.folder(source).map_err(|error| Problem::step(&error.into()))
}
