//! The options of registries, gathered from several places, and the parts that their files share.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use xbuild_registry::{Mirror, PrefixRule, Secret};

/// The options of a registry in one place. An option that is missing is left to the next place.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) mirrors: Vec<Mirror>,
    pub(super) insecure: Option<bool>,
    pub(super) insecure_credentials: Option<bool>,
    pub(super) roots: Vec<PathBuf>,
    pub(super) pair: Option<(PathBuf, PathBuf)>,
    pub(super) headers: Vec<(String, Secret)>,
    pub(super) chunk: Option<u64>,
}

/// The settings of all places.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// The registries that they say something about, by host and port.
    pub(super) hosts: BTreeMap<String, Said>,
    /// The rules for repositories, each prefix once.
    pub(super) prefixes: Vec<PrefixRule>,
}

impl Gathered {
    pub(super) fn host(&mut self, host: &str) -> &mut Said {
        self.hosts.entry(host.to_ascii_lowercase()).or_default()
    }

    /// Adds what a later place says about a registry.
    pub(super) fn add(&mut self, host: &str, later: Said) {
        let said = self.host(host);
        if said.mirrors.is_empty() {
            said.mirrors = later.mirrors;
        }
        said.insecure = said.insecure.or(later.insecure);
        said.insecure_credentials = said.insecure_credentials.or(later.insecure_credentials);
        said.roots.extend(later.roots);
        said.pair = said.pair.take().or(later.pair);
        if said.headers.is_empty() {
            said.headers = later.headers;
        }
        said.chunk = said.chunk.or(later.chunk);
    }
}

/// Why a file of options has no effect, or a part of it.
pub(super) enum Fault {
    Io(io::Error),
    /// Line, 1-based.
    Malformed(usize),
    /// A part of the file, which is not known or not of the expected form.
    Part(String),
}

/// Reads a TOML file; `None` if it does not exist.
pub(super) fn toml(path: &Path) -> Result<Option<toml::Table>, Fault> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(Fault::Io(error)),
    };
    // The parser's message may quote the text, which may hold passwords.
    text.parse::<toml::Table>().map(Some).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        Fault::Malformed(before.matches('\n').count() + 1)
    })
}

/// Returns the texts of a member that is a text or a list of texts.
pub(super) fn texts(value: &toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::String(text) => Some(vec![text.clone()]),
        toml::Value::Array(list) => list.iter().map(|one| Some(one.as_str()?.to_owned())).collect(),
        _ => None,
    }
}

/// Returns a path that may be relative to the folder of the file that names it.
pub(super) fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("/")).join(path)
}

/// Returns the mirror that a URL or a name is, and whether its scheme is `http`.
pub(super) fn mirror(text: &str) -> (Mirror, bool) {
    let plain = text.strip_prefix("http://");
    let bare = plain.or_else(|| text.strip_prefix("https://")).unwrap_or(text);
    (Mirror::parse(bare), plain.is_some())
}
