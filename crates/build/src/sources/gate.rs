//! The gate that every source passes before it is looked up or fetched.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use xbuild_model::Digest;
use xbuild_model::remote::{Asker, GitSource, HttpSource, RemoteSource};

use super::error::SourceError;
use super::lock_file::Lock;
use super::names::{is_pinned, remote_key};
use super::policy::{self, CHECKSUM, Compiled, Policy, Subject};
use crate::error::RequestError;
use crate::import::{Place, place};
use crate::request::SourceRules;

/// Applies the rules of a request: policies first, then the lock.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    policies: Vec<Policy>,
    lock: Option<Lock>,
    /// Whether what the lock lacks is refused.
    is_closed: bool,
    /// The images that were looked up, by their names in a lock.
    images: Mutex<BTreeMap<String, Digest>>,
}

impl Gate {
    /// Returns the gate of a request.
    ///
    /// **Errors** — a policy has a rule that cannot be kept.
    pub(crate) fn new(rules: &SourceRules) -> Result<Self, RequestError> {
        let SourceRules { policies, lock, is_locked } = rules.clone();
        policies.iter().try_for_each(|policy| policy.compile().map(drop))?;
        Ok(Self { policies, lock, is_closed: is_locked, images: Mutex::default() })
    }

    /// Returns the name under which an image is looked up.
    pub(crate) fn image(&self, name: &str) -> Result<String, SourceError> {
        let Some((scheme, reference)) = image_name(name) else { return Ok(name.to_owned()) };
        let subject = self.judge(format!("{scheme}{reference}"), BTreeMap::new())?;
        let name = match subject.converted_by {
            None => name.to_owned(),
            Some(file) => match subject.identifier.strip_prefix("docker-image://") {
                Some(to) if scheme == "docker-image://" => to.to_owned(),
                _ => {
                    let source_name = format!("{scheme}{reference}");
                    let reason = "an image of a registry can be converted to another such image";
                    return Err(SourceError::Converted {
                        file,
                        source_name,
                        to: subject.identifier,
                        reason,
                    });
                }
            },
        };
        match self.locked(image_key(&name).as_deref(), |lock| &lock.images)? {
            Some(digest) => Ok(with_digest(&name, digest)),
            None => Ok(name),
        }
    }

    /// Remembers what the name of an image stood for.
    pub(crate) fn saw(&self, name: &str, root: &Digest) {
        // Its name after conversions is the one that is locked.
        if let Ok(name) = self.image(name)
            && let Some(key) = image_key(without_digest(&name))
        {
            let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
            images.insert(key, root.clone());
        }
    }

    /// Returns the images that were looked up.
    pub(super) fn seen_images(&self) -> BTreeMap<String, Digest> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the file or commit that is fetched.
    pub(crate) fn remote(&self, source: &RemoteSource) -> Result<RemoteSource, SourceError> {
        let mut attributes = BTreeMap::new();
        if let RemoteSource::Http(http) = source
            && let Some(checksum) = &http.checksum
        {
            attributes.insert(CHECKSUM.to_owned(), checksum.to_string());
        }
        let subject = self.judge(identifier(source), attributes)?;
        let mut source = source.clone();
        if let Some(file) = subject.converted_by.clone() {
            source = converted(&source, &subject).map_err(|reason| SourceError::Converted {
                file,
                source_name: identifier(&source),
                to: subject.identifier,
                reason,
            })?;
        }
        if is_pinned(&source) {
            return Ok(source);
        }
        let key = remote_key(&source);
        match &mut source {
            RemoteSource::Http(http) => {
                let digest = self.locked(Some(&key), |lock| &lock.files)?;
                http.checksum = digest.cloned().or(http.checksum.take());
            }
            RemoteSource::Git(git) => {
                if let Some(commit) = self.locked(Some(&key), |lock| &lock.commits)? {
                    git.reference = Some(commit.clone());
                }
            }
        }
        Ok(source)
    }

    /// Allows a folder of this machine, or not.
    pub(crate) fn folder(&self, name: &str) -> Result<(), SourceError> {
        let subject = self.judge(format!("local://{name}"), BTreeMap::new())?;
        match subject.converted_by {
            None => Ok(()),
            Some(file) => Err(SourceError::Converted {
                file,
                source_name: format!("local://{name}"),
                to: subject.identifier,
                reason: "a folder is what it is",
            }),
        }
    }

    fn judge(
        &self,
        identifier: String,
        attributes: BTreeMap<String, String>,
    ) -> Result<Subject, SourceError> {
        let compiled = self.policies.iter().filter_map(|policy| policy.compile().ok());
        let compiled: Vec<Compiled<'_>> = compiled.collect();
        let mut subject = Subject { identifier, attributes, converted_by: None };
        policy::apply(&compiled, &mut subject)?;
        Ok(subject)
    }

    /// Returns the version that a lock has for a source; `None` without a lock, or for a source that
    /// says its version itself.
    fn locked<T>(
        &self,
        key: Option<&str>,
        of: fn(&Lock) -> &BTreeMap<String, T>,
    ) -> Result<Option<&T>, SourceError> {
        let (Some(key), Some(lock)) = (key, &self.lock) else { return Ok(None) };
        match of(lock).get(key) {
            None if self.is_closed => Err(SourceError::NotLocked { source_name: key.to_owned() }),
            found => Ok(found),
        }
    }
}

/// Returns the scheme and the full name of an image, as policies name it; `None` for a text that names
/// none.
fn image_name(name: &str) -> Option<(&'static str, String)> {
    match place(name).ok()? {
        Place::Name(name) | Place::Registry(name) => Some(("docker-image://", name.to_string())),
        Place::Layout(..) => {
            Some(("oci-layout://", name.strip_prefix("oci-layout://")?.to_owned()))
        }
    }
}

/// Returns the name of an image in a lock; `None` if it has a digest.
fn image_key(name: &str) -> Option<String> {
    match place(name).ok()? {
        Place::Name(name) | Place::Registry(name) if name.digest().is_some() => None,
        Place::Name(name) | Place::Registry(name) => Some(name.to_string()),
        Place::Layout(_, Some(tag)) if tag.starts_with("sha256:") => None,
        Place::Layout(..) => Some(name.to_owned()),
    }
}

fn with_digest(name: &str, digest: &Digest) -> String {
    format!("{name}@{digest}")
}

fn without_digest(name: &str) -> &str {
    name.split_once("@sha256:").map_or(name, |(name, _)| name)
}

/// Returns a source as policies name it.
///
/// **Source** — BuildKit: a repository has the scheme `git` whatever its own is.
fn identifier(source: &RemoteSource) -> String {
    match source {
        RemoteSource::Http(http) => http.url.clone(),
        RemoteSource::Git(_) => {
            let key = remote_key(source);
            let rest = key.split_once("://").map_or(&*key, |(_, rest)| rest);
            format!("git://{rest}")
        }
    }
}

/// Returns a source as policies have converted it.
fn converted(source: &RemoteSource, subject: &Subject) -> Result<RemoteSource, &'static str> {
    let to = &subject.identifier;
    match source {
        RemoteSource::Http(http) => {
            let Ok(Some(RemoteSource::Http(new))) = RemoteSource::parse(to, Asker::Add) else {
                return Err("a file of a web server can be converted to another one");
            };
            let checksum = subject.attributes.get(CHECKSUM).map(|text| text.parse::<Digest>());
            let checksum = checksum.transpose().map_err(|_| "http.checksum is not a digest")?;
            // A password is for the server that it was given for.
            let user = http.user.clone().filter(|_| new.url == http.url);
            let name = http.name.clone();
            Ok(RemoteSource::Http(HttpSource { name, user, checksum, ..new }))
        }
        RemoteSource::Git(git) if *to == identifier(source) => Ok(RemoteSource::Git(git.clone())),
        RemoteSource::Git(git) => {
            let rest = to.strip_prefix("git://");
            let rest = rest.ok_or("a repository can be converted to another one, as git://..")?;
            let scheme = git.remote.split_once("://").map_or("ssh", |(scheme, _)| scheme);
            let text = format!("{scheme}://{rest}");
            let Ok(Some(RemoteSource::Git(new))) = RemoteSource::parse(&text, Asker::Add) else {
                return Err("that is not a repository");
            };
            let (keep_git_dir, submodules) = (git.keep_git_dir, git.submodules);
            Ok(RemoteSource::Git(GitSource { keep_git_dir, submodules, ..new }))
        }
    }
}
