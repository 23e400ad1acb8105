//! Git URLs, with their fragments and queries.

use serde::{Deserialize, Serialize};

use super::error::RemoteError;
use super::url::{self, Parts, UserInfo};

/// A commit of a git repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GitSource {
    /// The address for `git fetch`: a URL (`https`, `http`, `ssh`, `git`) or `USER@HOST:PATH`, without
    /// password, query and fragment. Does not begin with `-`.
    pub remote: String,
    /// The user of a web server.
    #[serde(skip)]
    pub user: Option<UserInfo>,
    /// Branch, tag, full name of a reference, or commit; the remote's default branch if `None`.
    /// A valid name of a reference, which does not begin with `-`.
    pub reference: Option<String>,
    /// A folder of the commit to take instead of all: parts joined by `/`, none of them `..`.
    pub subdir: Option<String>,
    /// The first digits of the commit, lower-case hexadecimal.
    pub checksum: Option<String>,
    /// Whether the repository itself (`.git`) is part of the files.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are fetched as well.
    pub submodules: Option<bool>,
}

impl GitSource {
    /// Adds a checksum.
    ///
    /// **Errors** — [`RemoteError::Checksum`] if it is not one; [`RemoteError::Conflict`] if the URL
    /// has another.
    pub fn with_checksum(mut self, checksum: &str) -> Result<Self, RemoteError> {
        let checksum = self::checksum(checksum)?;
        match &self.checksum {
            Some(own) if *own != checksum => Err(RemoteError::Conflict {
                what: "checksum",
                first: own.clone(),
                second: checksum,
            }),
            _ => {
                self.checksum = Some(checksum);
                Ok(self)
            }
        }
    }

    /// Adds the choice of an option about `.git`.
    ///
    /// **Errors** — [`RemoteError::Conflict`] if the URL has the opposite choice.
    pub fn with_git_dir(mut self, keep: bool) -> Result<Self, RemoteError> {
        match self.keep_git_dir {
            Some(own) if own != keep => Err(RemoteError::Conflict {
                what: "keep-git-dir",
                first: own.to_string(),
                second: keep.to_string(),
            }),
            _ => {
                self.keep_git_dir = Some(keep);
                Ok(self)
            }
        }
    }
}

/// Reads `USER@HOST:PATH`; `None` if the text has another form.
pub(super) fn parse_scp(text: &str) -> Result<Option<GitSource>, RemoteError> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let Some((user, rest)) = text.split_once('@') else { return Ok(None) };
    let Some((host, rest)) = rest.split_once(':') else { return Ok(None) };
    if user.is_empty()
        || host.is_empty()
        || !user.chars().all(is_word)
        || !host.chars().all(is_host)
    {
        return Ok(None);
    }
    let (rest, fragment) = match rest.split_once('#') {
        Some((rest, fragment)) => (rest, Some(fragment)),
        None => (rest, None),
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let remote = format!("{user}@{host}:{path}");
    let fault = |reason| RemoteError::Url { url: remote.escape_debug().to_string(), reason };
    if user.starts_with('-') || host.starts_with('-') || path.starts_with('-') {
        return Err(fault("a part of it begins with -"));
    }
    if path.is_empty() || is_dangerous(path) {
        return Err(fault("the path is malformed"));
    }
    let parts = Parts { scheme: "ssh".to_owned(), user: None, host, path, query, fragment };
    source(remote.clone(), &parts).map(Some)
}

/// Reads a repository's URL.
pub(super) fn parse_url(parts: &Parts<'_>) -> Result<GitSource, RemoteError> {
    if is_dangerous(parts.path) {
        return Err(parts.fault("the path is malformed"));
    }
    let is_web = matches!(parts.scheme.as_str(), "http" | "https");
    let remote = match (&parts.user, parts.scheme.as_str()) {
        (Some(user), "ssh") => {
            let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if user.name.is_empty() || user.name.starts_with('-') || !user.name.chars().all(valid) {
                return Err(parts.fault("the user is malformed"));
            }
            if !user.password.is_empty() {
                return Err(parts.fault("SSH takes no password from a URL"));
            }
            format!("ssh://{}@{}{}", user.name, parts.host, parts.path)
        }
        (Some(_), "git") => return Err(parts.fault("the git protocol knows no users")),
        _ => parts.shown(),
    };
    let user = parts.user.clone().filter(|_| is_web);
    Ok(GitSource { user, ..source(remote, parts)? })
}

/// Returns whether a path has characters that end lines or texts in the protocols of git.
fn is_dangerous(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    path.contains(|c: char| c.is_control())
        || ["%0a", "%0d", "%00"].iter().any(|code| lower.contains(code))
}

/// Reads fragment and query, and adds them to the address.
fn source(remote: String, parts: &Parts<'_>) -> Result<GitSource, RemoteError> {
    let mut found = GitSource {
        remote,
        user: None,
        reference: None,
        subdir: None,
        checksum: None,
        keep_git_dir: None,
        submodules: None,
    };
    if let Some(fragment) = parts.fragment {
        if fragment.starts_with('#') {
            return Err(parts.fault("its fragment begins with # once more: use a query"));
        }
        let (name, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
        set(&mut found.reference, "reference", name)?;
        set(&mut found.subdir, "folder", folder)?;
    }
    if let Some(query) = parts.query {
        read_query(&mut found, parts, query)?;
    }
    if found.reference.is_none() {
        found.reference.clone_from(&found.checksum);
    }
    found.reference.as_deref().map_or(Ok(()), check_reference)?;
    found.subdir = match found.subdir {
        Some(folder) => subdir(&folder)?,
        None => None,
    };
    Ok(found)
}

fn read_query(found: &mut GitSource, parts: &Parts<'_>, query: &str) -> Result<(), RemoteError> {
    let fault = |name: &str, reason| RemoteError::Query {
        url: parts.shown(),
        name: name.to_owned(),
        reason,
    };
    let mut seen: Vec<String> = Vec::new();
    let (mut tag, mut branch) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| url::decode(&text.replace('+', " "));
        let (Some(name), Some(value)) = (decode(name), decode(value)) else {
            return Err(fault(name, "is malformed"));
        };
        if seen.contains(&name) {
            return Err(fault(&name, "has several values"));
        }
        let flag = || match value.as_str() {
            "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(fault(&name, "is neither true nor false")),
        };
        if value.is_empty() && !matches!(name.as_str(), "submodules" | "keep-git-dir") {
            return Err(fault(&name, "has no value"));
        }
        match name.as_str() {
            "ref" => set(&mut found.reference, "reference", &value)?,
            "tag" => tag = Some(qualified("refs/tags/", &value)),
            "branch" => branch = Some(qualified("refs/heads/", &value)),
            "subdir" => set(&mut found.subdir, "folder", &value)?,
            "checksum" | "commit" => {
                let checksum = checksum(&value)?;
                set(&mut found.checksum, "checksum", &checksum)?;
            }
            "keep-git-dir" => found.keep_git_dir = Some(flag()?),
            "submodules" => found.submodules = Some(flag()?),
            // Files always have the time of their commit: it is the same everywhere.
            "mtime" if value == "commit" => {}
            "mtime" => return Err(fault(&name, "takes commit only")),
            _ => return Err(fault(&name, "is not known")),
        }
        seen.push(name);
    }
    if let (Some(tag), Some(branch)) = (&tag, &branch) {
        let (first, second) = (tag.clone(), branch.clone());
        return Err(RemoteError::Conflict { what: "reference", first, second });
    }
    tag.or(branch).map_or(Ok(()), |name| set(&mut found.reference, "reference", &name))
}

fn qualified(prefix: &str, name: &str) -> String {
    if name.starts_with(prefix) { name.to_owned() } else { format!("{prefix}{name}") }
}

/// Sets a value that must not have been set to another one. An empty value is ignored.
fn set(place: &mut Option<String>, what: &'static str, value: &str) -> Result<(), RemoteError> {
    match place {
        _ if value.is_empty() => Ok(()),
        Some(first) if first != value => {
            Err(RemoteError::Conflict { what, first: first.clone(), second: value.to_owned() })
        }
        _ => {
            *place = Some(value.to_owned());
            Ok(())
        }
    }
}

/// Checks that a text can name a reference or commit, and is no option of git.
pub(super) fn check_reference(name: &str) -> Result<(), RemoteError> {
    let is_bad = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    let is_bad_part =
        |part: &str| part.is_empty() || part.starts_with(['.', '-']) || part.ends_with(".lock");
    let bad = name.contains(is_bad)
        || name.contains("..")
        || name.contains("@{")
        || name == "@"
        || name.ends_with('.')
        || name.split('/').any(is_bad_part);
    if bad { Err(RemoteError::Reference { name: name.to_owned() }) } else { Ok(()) }
}

/// Returns a checksum in lower case.
pub(super) fn checksum(text: &str) -> Result<String, RemoteError> {
    let valid = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    match valid {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(RemoteError::Checksum { checksum: text.to_owned() }),
    }
}

/// Returns a folder as clean parts; `None` for the whole repository.
fn subdir(text: &str) -> Result<Option<String>, RemoteError> {
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let leaves = |part: &&str| *part == ".." || part.eq_ignore_ascii_case(".git");
    if parts.iter().any(leaves) || text.contains('\0') {
        return Err(RemoteError::Subdir { path: text.to_owned() });
    }
    Ok(Some(parts.join("/")).filter(|path| !path.is_empty()))
}
