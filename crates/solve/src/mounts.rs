//! Making the mounts of a RUN ready.

use std::collections::BTreeMap;

use xbuild_model::run::{MountKind, MountSource, ReadyMount, ReadySource, RunRequest};
use xbuild_model::seam::{CacheFolder, CacheRequest, MountFiles};
use xbuild_model::{Chain, FailureKind, StepFailure};

use crate::error::MountFailure;
use crate::options::Stages;

/// The mounts of one step. Dropping them releases the folders that they show.
#[derive(Default)]
pub(crate) struct Ready {
    /// In the order of the request, without secrets and agents that were not given.
    pub(crate) mounts: Vec<ReadyMount>,
    /// Variables with secrets, for the command alone.
    pub(crate) env: Vec<(String, String)>,
    _folders: Vec<Box<dyn CacheFolder>>,
    _files: Vec<Box<dyn MountFiles>>,
}

impl Ready {
    /// Makes the mounts of `request` ready; `sources` are the layers that they count.
    ///
    /// **Errors** — [`MountFailure`], and the errors of the stages.
    pub(crate) fn new(
        stages: &Stages<'_>,
        request: &RunRequest,
        sources: &[Chain],
    ) -> Result<Self, StepFailure> {
        let mut ready = Ready::default();
        let mut caches = BTreeMap::new();
        // Secrets first, so that nobody waits for a cache folder only to learn that a secret is
        // missing.
        let mut secrets = Vec::new();
        for mount in &request.mounts {
            secrets.push(ready.secret(stages, &mount.kind)?);
            // The first mount of a name decides how the folder is shared.
            if let Some(cache) = cache_request(&mount.kind, sources) {
                caches.entry(cache.id.clone()).or_insert(cache);
            }
        }
        // In the order of their names, because two steps that lock the same folders could otherwise
        // wait for each other.
        let mut folders = BTreeMap::new();
        for (id, cache) in caches {
            let folder = stages.snapshots.cache_folder(&cache)?;
            folders.insert(id, folder.path().to_owned());
            ready._folders.push(folder);
        }
        for (mount, secret) in request.mounts.iter().zip(secrets) {
            let mut special = Vec::new();
            let source = match &mount.kind {
                MountKind::Bind { source, writable } => {
                    let files = stages.snapshots.mount_files(chain(source, sources), *writable)?;
                    let found = files.source(&source.path);
                    special = files.special(&source.path);
                    ready._files.push(files);
                    found
                }
                MountKind::Cache { read_only, .. } => {
                    let cache = cache_request(&mount.kind, sources);
                    let path = cache.and_then(|cache| folders.get(&cache.id)).cloned();
                    let path = path.expect("every cache of the request was asked for above");
                    ReadySource::Folder { path, read_only: *read_only }
                }
                MountKind::Tmpfs { size } => ReadySource::Tmpfs { size: *size },
                MountKind::Secret { .. } | MountKind::Ssh { .. } => match secret {
                    Some(source) if !mount.target.is_empty() => source,
                    _ => continue,
                },
            };
            ready.mounts.push(ReadyMount { target: mount.target.clone(), source, special });
        }
        Ok(ready)
    }

    /// Returns the file of a secret or the socket of an agent, if it was given, and sets the
    /// secret's variable.
    fn secret(
        &mut self,
        stages: &Stages<'_>,
        kind: &MountKind,
    ) -> Result<Option<ReadySource>, StepFailure> {
        match kind {
            MountKind::Secret { id, env, mode, uid, gid, required } => {
                let contents = stages.secrets.secret(id)?;
                if contents.is_none() && *required {
                    return Err(MountFailure::NoSecret { id: id.clone() }.into());
                }
                if let Some(name) = env {
                    let bytes = contents.as_ref().map(|secret| &secret.0[..]).unwrap_or_default();
                    let value = str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
                    let value = value.ok_or_else(|| MountFailure::BinarySecret {
                        id: id.clone(),
                        variable: name.clone(),
                    })?;
                    self.env.push((name.clone(), value.to_owned()));
                }
                let (mode, uid, gid) = (*mode, *uid, *gid);
                Ok(contents.map(|contents| ReadySource::Secret { contents, mode, uid, gid }))
            }
            MountKind::Ssh { id, mode, uid, gid, required } => {
                let path = stages.secrets.agent(id)?;
                if path.is_none() && *required {
                    return Err(MountFailure::NoAgent { id: id.clone() }.into());
                }
                let (mode, uid, gid) = (*mode, *uid, *gid);
                Ok(path.map(|path| ReadySource::Socket { path, mode, uid, gid }))
            }
            _ => Ok(None),
        }
    }
}

/// Returns the request with variables that hold secrets, which replace variables of the same names.
pub(crate) fn with_env(request: &RunRequest, env: &[(String, String)]) -> RunRequest {
    let mut request = request.clone();
    for (name, value) in env {
        request.env.retain(|(other, _)| other != name);
        request.unkeyed_env.retain(|(other, _)| other != name);
        request.env.push((name.clone(), value.clone()));
    }
    request
}

/// Returns the request of a cache mount, `None` for other mounts. The name of a seeded folder
/// includes its seed, because another seed is another folder.
fn cache_request<'a>(kind: &'a MountKind, sources: &'a [Chain]) -> Option<CacheRequest<'a>> {
    let MountKind::Cache { id, sharing, seed, mode, uid, gid, read_only: _ } = kind else {
        return None;
    };
    let seed = seed.as_ref().map(|seed| (chain(seed, sources), seed.path.as_str()));
    // A seed without layers is an empty folder, which a new folder is anyway.
    let seed = seed.filter(|(chain, path)| !chain.0.is_empty() || *path != "/");
    let id = match &seed {
        None => id.clone(),
        Some((chain, path)) => {
            let layers = chain.id().map(|id| id.hex()).unwrap_or_default();
            format!("{id} (from {layers}:{path})")
        }
    };
    Some(CacheRequest { id, sharing: *sharing, mode: *mode, uid: *uid, gid: *gid, seed })
}

/// Returns the layers that hold a source.
fn chain<'a>(source: &MountSource, sources: &'a [Chain]) -> &'a Chain {
    sources.get(source.input).expect("the planner counts the inputs that it lists")
}

impl From<MountFailure> for StepFailure {
    fn from(failure: MountFailure) -> Self {
        let hint = failure.hint();
        StepFailure::new(FailureKind::User, failure).with_hint(hint)
    }
}
