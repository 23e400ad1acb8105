//! The main build context, made a folder, and its Dockerfile.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xbuild_files::{Root, context_tar};
use xbuild_model::Platform;
use xbuild_model::remote::{Asker, RemoteSource, without_user};
use xbuild_plan::main_context;
use xbuild_source::Fetcher;
use xbuild_store::{Store, TempFolder};

use crate::build::Build;
use crate::dockerfile_file::{self, DockerfileFile, IgnoreFile, failed};
use crate::error::{ContextError, During, OpenError, RequestError};
use crate::request::{ContextPlace, DockerfilePlace, InputRequest};

/// Standard input, or another stream of bytes.
pub type Input<'a> = dyn Read + Send + 'a;

/// The store and the fetcher, for contexts that are not folders.
#[derive(Debug, Clone)]
pub(crate) struct Elsewhere {
    pub(crate) store: Arc<Store>,
    pub(crate) fetcher: Arc<Fetcher>,
}

/// Makes an [`Elsewhere`] when the first is needed.
pub(crate) type Open<'a> = dyn Fn() -> Result<Elsewhere, OpenError> + 'a;

/// The main context.
#[derive(Debug)]
pub struct MainContext {
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// The Dockerfiles; at least one, each with a platform of its own.
    pub(crate) files: Vec<MainFile>,
    /// The time of the commit or of the web server's file, in seconds since 1970; `None` for other
    /// contexts.
    pub(crate) modified: Option<u64>,
    /// The folder of an unpacked context, removed when this is dropped.
    _temp: Option<TempFolder>,
}

/// A Dockerfile of the build.
#[derive(Debug)]
pub struct MainFile {
    /// The Dockerfile and its ignore file.
    pub(crate) file: DockerfileFile,
    /// The text of the Dockerfile; bytes that are not UTF-8 are replaced.
    pub(crate) source: String,
    /// The platforms that are built from it, in the order of the request.
    pub(crate) platforms: Vec<Platform>,
    /// The name of the main context with its ignore file.
    pub(crate) context: String,
}

impl MainFile {
    /// Returns the name of the Dockerfile that the user knows.
    pub fn name(&self) -> &str {
        &self.file.name
    }

    /// Returns the path by which a terminal can open the Dockerfile; its name if it is no file of this
    /// machine.
    pub fn path(&self) -> &str {
        &self.file.path
    }

    /// Returns the text of the Dockerfile; bytes that are not UTF-8 are replaced.
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// A context before its Dockerfile is known.
pub(crate) struct Opened {
    pub(crate) folder: PathBuf,
    pub(crate) kind: Kind,
    modified: Option<u64>,
    pub(crate) temp: Option<TempFolder>,
}

/// The kind of a context, which decides how its Dockerfile is found.
pub(crate) enum Kind {
    /// A folder of the user: any path will do.
    Local,
    /// A folder that somebody else has filled: no path leads out of it.
    Foreign,
    /// The context is itself a Dockerfile.
    Dockerfile { name: String, text: Vec<u8> },
}

/// Makes the main context of a build a folder and reads its Dockerfile. `stdin` is read only if the
/// request names it.
pub fn read(build: &Build, stdin: &mut Input<'_>) -> Result<MainContext, ContextError> {
    let _span = build.span.enter();
    let (store, fetcher) = (Arc::clone(&build.store), Arc::clone(&build.fetcher));
    let elsewhere = Elsewhere { store, fetcher };
    MainContext::open(&build.request.input, &|| Ok(elsewhere.clone()), stdin)
}

impl MainContext {
    /// Makes the context a folder and reads the Dockerfile. `elsewhere` is called only if one of
    /// the two is not in a folder of this machine.
    pub(crate) fn open(
        request: &InputRequest,
        elsewhere: &Open<'_>,
        stdin: &mut Input<'_>,
    ) -> Result<Self, ContextError> {
        let context = &request.context;
        let places = Places::of(request);
        if places.has_stdin() && *context == ContextPlace::Stdin {
            return Err(RequestError::StdinTwice.into());
        }
        let Opened { folder, kind, modified, temp } = match context {
            ContextPlace::Folder(path) => {
                Opened { folder: path.clone(), kind: Kind::Local, modified: None, temp: None }
            }
            ContextPlace::Archive(path) => archive(path, elsewhere)?,
            ContextPlace::Stdin => stream(&mut *stdin, "standard input", &elsewhere()?)?,
            ContextPlace::Remote(source) => remote(source, &elsewhere()?)?,
        };
        let files = places.read(|place| find(&kind, place, &folder, elsewhere, &mut *stdin))?;
        Ok(Self { folder, files, modified, _temp: temp })
    }

    /// Returns the Dockerfiles, at least one.
    pub fn files(&self) -> &[MainFile] {
        &self.files
    }

    /// Returns name and text of each Dockerfile.
    pub fn sources(&self) -> Vec<(&str, &str)> {
        self.files.iter().map(|file| (file.name(), file.source())).collect()
    }

    /// Returns name and path of each Dockerfile.
    pub fn paths(&self) -> Vec<(&str, &str)> {
        self.files.iter().map(|file| (file.name(), file.path())).collect()
    }

    /// Returns the ignore file that the main context of that name has.
    pub(crate) fn ignore(&self, context: &str) -> Option<&IgnoreFile> {
        let file = self.files.iter().find(|file| file.context == context);
        file.and_then(|file| file.file.ignore.as_ref())
    }
}

/// The places of the Dockerfiles of a build, each with its platforms.
struct Places<'a> {
    /// The place for platforms whose own file is missing.
    shared: &'a DockerfilePlace,
    /// Each place with its platforms, and whether it may be missing.
    list: Vec<(&'a DockerfilePlace, Vec<Platform>, bool)>,
}

impl<'a> Places<'a> {
    fn of(request: &'a InputRequest) -> Self {
        let shared = &request.dockerfile;
        let mut list: Vec<(&DockerfilePlace, Vec<Platform>, bool)> = Vec::new();
        for platform in &request.platforms {
            let own = request.own_dockerfiles.iter().find(|own| own.platform == *platform);
            let (place, may_miss) =
                own.map_or((shared, false), |own| (&own.place, own.is_optional));
            match list.iter_mut().find(|known| (known.0, known.2) == (place, may_miss)) {
                Some(known) => known.1.push(platform.clone()),
                None => list.push((place, vec![platform.clone()], may_miss)),
            }
        }
        Self { shared, list }
    }

    fn has_stdin(&self) -> bool {
        self.list.iter().any(|(place, ..)| **place == DockerfilePlace::Stdin)
    }

    /// Reads each Dockerfile once.
    fn read(
        self,
        mut read: impl FnMut(&DockerfilePlace) -> Result<DockerfileFile, ContextError>,
    ) -> Result<Vec<MainFile>, ContextError> {
        let mut known: Vec<&DockerfilePlace> = Vec::new();
        let mut files: Vec<MainFile> = Vec::new();
        let is_one = self.list.len() == 1;
        for (place, platforms, may_miss) in self.list {
            if let Some(at) = known.iter().position(|known| *known == place) {
                files[at].platforms.extend(platforms);
                continue;
            }
            let mut found = (place, read(place));
            if let (_, Err(error)) = &found
                && may_miss
                && error.is_missing()
            {
                if let Some(at) = known.iter().position(|known| *known == self.shared) {
                    files[at].platforms.extend(platforms);
                    continue;
                }
                found = (self.shared, read(self.shared));
            }
            let (place, file) = found;
            let file = match file {
                Err(error) if !is_one => {
                    let platform = platforms[0].clone();
                    return Err(ContextError::Own { platform, error: Box::new(error) });
                }
                file => file?,
            };
            let context = context_of(&file, &files);
            let source = String::from_utf8_lossy(&file.text).into_owned();
            known.push(place);
            files.push(MainFile { file, source, platforms, context });
        }
        Ok(files)
    }
}

/// Returns the name of the main context with the ignore file of `file`: that of another Dockerfile
/// that has the same one, else a new name.
fn context_of(file: &DockerfileFile, others: &[MainFile]) -> String {
    let rules = |file: &DockerfileFile| file.ignore.as_ref().map(|ignore| ignore.text.clone());
    let same = others.iter().find(|other| rules(&other.file) == rules(file));
    same.map_or_else(
        || {
            let names: BTreeSet<&str> = others.iter().map(|other| other.context.as_str()).collect();
            main_context(names.len())
        },
        |other| other.context.clone(),
    )
}

/// Reads the Dockerfile of a context.
fn find(
    kind: &Kind,
    dockerfile: &DockerfilePlace,
    folder: &Path,
    elsewhere: &Open<'_>,
    stdin: &mut Input<'_>,
) -> Result<DockerfileFile, ContextError> {
    match (kind, dockerfile) {
        (Kind::Dockerfile { name, text }, DockerfilePlace::InContext) => {
            let path = name.clone();
            Ok(DockerfileFile { name: name.clone(), path, text: text.clone(), ignore: None })
        }
        (kind, DockerfilePlace::Url(url)) => {
            let text = download(url, &elsewhere()?)?;
            let ignore = own_ignore(kind, folder)?;
            let name = without_user(url);
            Ok(DockerfileFile { path: name.clone(), name, text, ignore })
        }
        (kind, DockerfilePlace::Stdin) => {
            let name = "standard input".to_owned();
            let text = dockerfile_file::bounded(stdin)
                .map_err(|error| ContextError::Stream { name, error })?;
            let ignore = own_ignore(kind, folder)?;
            Ok(DockerfileFile { name: "-".to_owned(), path: "-".to_owned(), text, ignore })
        }
        (Kind::Local, DockerfilePlace::InContext) => dockerfile_file::read(None, folder),
        (Kind::Local, DockerfilePlace::File(path)) => dockerfile_file::read(Some(path), folder),
        (_, DockerfilePlace::File(path)) if path.is_absolute() => {
            let file = dockerfile_file::read(Some(path), folder)?;
            Ok(DockerfileFile { ignore: None, ..file })
        }
        (Kind::Dockerfile { .. }, DockerfilePlace::File(path)) => {
            Err(RequestError::FileInDockerfile { path: path.clone() }.into())
        }
        (Kind::Foreign, DockerfilePlace::InContext) => dockerfile_file::read_foreign(None, folder),
        (Kind::Foreign, DockerfilePlace::File(path)) => {
            dockerfile_file::read_foreign(Some(path), folder)
        }
    }
}

/// Returns the ignore file for a Dockerfile that is not in the context. As in BuildKit only folders
/// of this machine have one.
fn own_ignore(kind: &Kind, folder: &Path) -> Result<Option<IgnoreFile>, ContextError> {
    match kind {
        Kind::Local => dockerfile_file::ignore_file(folder),
        _ => Ok(None),
    }
}

/// Unpacks an archive of the user.
fn archive(path: &Path, elsewhere: &Open<'_>) -> Result<Opened, ContextError> {
    let mut input = File::open(path).map_err(failed("read the build context", path))?;
    let name = path.display().to_string();
    let head = sniff(&mut input, &name)?;
    if !context_tar::is_archive(&head) {
        return Err(ContextError::NoArchive { name });
    }
    unpack(head.chain(input), &name, &elsewhere()?)
}

/// Makes a folder of a stream: unpacks an archive; a Dockerfile has an empty context.
fn stream(
    input: impl Read + Send,
    name: &str,
    elsewhere: &Elsewhere,
) -> Result<Opened, ContextError> {
    let mut input = input;
    let head = sniff(&mut input, name)?;
    if context_tar::is_archive(&head) {
        return unpack(head.chain(input), name, elsewhere);
    }
    let text = dockerfile_file::bounded(head.chain(input))
        .map_err(|error| ContextError::Stream { name: name.to_owned(), error })?;
    let temp = temp_dir(elsewhere)?;
    let kind = Kind::Dockerfile { name: "-".to_owned(), text };
    Ok(Opened { folder: temp.path().to_owned(), kind, modified: None, temp: Some(temp) })
}

/// Returns the first bytes of a stream.
fn sniff(input: &mut impl Read, name: &str) -> Result<Vec<u8>, ContextError> {
    let name = name.to_owned();
    let mut head = Vec::new();
    match input.by_ref().take(context_tar::SNIFFED as u64).read_to_end(&mut head) {
        Ok(0) => Err(ContextError::Empty { name }),
        Ok(_) => Ok(head),
        Err(error) => Err(ContextError::Stream { name, error }),
    }
}

fn unpack(
    input: impl Read + Send,
    name: &str,
    elsewhere: &Elsewhere,
) -> Result<Opened, ContextError> {
    let temp = temp_dir(elsewhere)?;
    let folder = temp.path().to_owned();
    let root = Root::open(&folder).map_err(failed("open the build context", &folder))?;
    context_tar::unpack(input, &root)
        .map_err(During::new(&format!("the build context {name}")))
        .map_err(ContextError::Unpack)?;
    Ok(Opened { folder, kind: Kind::Foreign, modified: None, temp: Some(temp) })
}

fn temp_dir(elsewhere: &Elsewhere) -> Result<TempFolder, ContextError> {
    elsewhere.store.temp_dir("context").map_err(ContextError::Store)
}

/// Fetches a context.
pub(crate) fn remote(source: &RemoteSource, elsewhere: &Elsewhere) -> Result<Opened, ContextError> {
    let modified = time_of(source, &elsewhere.fetcher)?;
    let fetched = fetch(source, elsewhere)?;
    let RemoteSource::Http(http) = source else {
        return Ok(Opened { folder: fetched, kind: Kind::Foreign, modified, temp: None });
    };
    let path = fetched.join(&http.name);
    let input = File::open(&path).map_err(failed("read the download", &path))?;
    let name = http.url.split('?').next().unwrap_or_default().to_owned();
    let opened = Opened { modified, ..stream(input, &name, elsewhere)? };
    Ok(match opened.kind {
        // As in BuildKit the context has the file, and nothing else.
        Kind::Dockerfile { text, .. } => {
            Opened { folder: fetched, kind: Kind::Dockerfile { name, text }, temp: None, ..opened }
        }
        _ => opened,
    })
}

/// Returns the time of a commit or of a file of a web server, in seconds since 1970, if it has one.
pub(crate) fn time_of(
    source: &RemoteSource,
    fetcher: &Fetcher,
) -> Result<Option<u64>, ContextError> {
    let fetched = fetcher.folder(source).map_err(|error| ContextError::Fetch(error.into()))?;
    match source {
        RemoteSource::Http(http) => modified(&fetched.join(&http.name)),
        RemoteSource::Git(_) => modified(&fetched),
    }
}

/// Returns the time of a fetched file; `None` for 1970, which files of servers without
/// `Last-Modified` have.
fn modified(path: &Path) -> Result<Option<u64>, ContextError> {
    let meta = path.metadata().map_err(failed("read", path))?;
    Ok(u64::try_from(meta.mtime()).ok().filter(|time| *time > 0))
}

fn download(url: &str, elsewhere: &Elsewhere) -> Result<Vec<u8>, ContextError> {
    let source = RemoteSource::parse(url, Asker::Add).map_err(RequestError::DockerfileUrl)?;
    let Some(RemoteSource::Http(http)) = source else {
        return Err(RequestError::DockerfileRepository { url: without_user(url) }.into());
    };
    let name = http.name.clone();
    let path = fetch(&RemoteSource::Http(http), elsewhere)?.join(name);
    File::open(&path).and_then(dockerfile_file::bounded).map_err(|error| ContextError::Stream {
        name: format!("the Dockerfile {}", without_user(url)),
        error,
    })
}

fn fetch(source: &RemoteSource, elsewhere: &Elsewhere) -> Result<PathBuf, ContextError> {
    elsewhere.fetcher.folder(source).map_err(|error| ContextError::Fetch(error.into()))
}
