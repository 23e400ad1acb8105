//! Making a lock.

use xbuild_model::file_op::FileOp;
use xbuild_model::remote::{Asker, RemoteSource};
use xbuild_plan::{Op, Origin};
use xbuild_source::Pin;

use super::lock_file::Lock;
use super::names::{is_pinned, remote_key};
use crate::build::Build;
use crate::error::ContextError;
use crate::planning::Plan;
use crate::request::{ContextPlace, DockerfilePlace, NamedPlace};

/// Returns the versions of all that a plan takes from elsewhere, added to those that the request's lock
/// has. Files and repositories that no step has used yet are fetched.
pub fn lock(build: &Build, plan: &Plan) -> Result<Lock, ContextError> {
    let _span = build.span.enter();
    let mut lock = build.request.sources.lock.clone().unwrap_or_default();
    lock.images.extend(build.gate.seen_images());
    let input = &build.request.input;
    let mut sources: Vec<RemoteSource> = Vec::new();
    if let ContextPlace::Remote(source) = &input.context {
        sources.push(source.clone());
    }
    let places = input.own_dockerfiles.iter().map(|own| &own.place).chain([&input.dockerfile]);
    for place in places {
        if let DockerfilePlace::Url(url) = place
            && let Ok(Some(source)) = RemoteSource::parse(url, Asker::Add)
        {
            sources.push(source);
        }
    }
    for vertex in &plan.graph.vertices {
        let Op::Files { op, origin, .. } = &vertex.op else { continue };
        if let FileOp::Copy(copy) = op {
            sources.extend(copy.remotes.iter().map(|remote| remote.source.clone()));
        }
        if let Some(Origin::Context(name)) = origin
            && let Some(NamedPlace::Remote(source)) = input.contexts.get(name)
        {
            sources.push(source.clone());
        }
    }
    let is_known = |key: &String| lock.files.contains_key(key) || lock.commits.contains_key(key);
    let new = sources.iter().filter(|source| !is_pinned(source) && !is_known(&remote_key(source)));
    for source in new.collect::<Vec<_>>() {
        let pin = build.fetcher.pin(source);
        let pin = pin.map_err(|error| ContextError::Fetch(error.into()))?;
        let key = remote_key(source);
        match pin {
            Pin::File(digest) => drop(lock.files.insert(key, digest)),
            Pin::Commit(commit) => drop(lock.commits.insert(key, commit)),
        }
    }
    Ok(lock)
}
