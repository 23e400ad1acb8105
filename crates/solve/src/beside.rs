//! Builds that are solved at the same time in one process.
//!
//! They share the places for steps, so that no more steps run at once than in one build. And each step
//! that they have in common is done once: a step is known by its *identity*, which is its definition,
//! the results of its inputs, the build contexts that it takes files from, and the secrets and agents
//! that it is given. Two steps of equal text whose contexts or secrets differ are two steps.

use std::fmt;
use std::num::NonZeroUsize;

use xbuild_model::file_op::CopyOrigin;
use xbuild_model::run::MountKind;
use xbuild_model::{Chain, Digest};
use xbuild_plan::Vertex;

use crate::claims::Claims;
use crate::key;
use crate::places::Places;
use crate::work::{FilesWork, RunWork, Work};

/// What builds that are solved at the same time share.
#[derive(Debug)]
pub struct SharedSteps {
    pub(crate) places: Places,
    pub(crate) claims: Claims,
}

impl SharedSteps {
    /// Returns a value for builds of which `jobs` steps run at once, all together.
    pub fn new(jobs: NonZeroUsize) -> Self {
        Self { places: Places::new(jobs), claims: Claims::default() }
    }
}

/// One of several builds that are solved at the same time.
#[derive(Clone, Copy)]
pub struct Beside<'a> {
    /// What it shares with the others.
    pub steps: &'a SharedSteps,
    /// Its number, which no other has.
    pub build: usize,
    /// Tells its contexts and secrets from those of the others.
    pub identities: &'a dyn Identities,
}

impl fmt::Debug for Beside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside").field("build", &self.build).finish_non_exhaustive()
    }
}

/// Tells contexts, secrets and agents of a build from those of others that have the same names.
pub trait Identities: Sync {
    /// Returns a digest of the place of a build context and of its ignore file. The main one has the
    /// name that [`xbuild_plan::main_context`] gives.
    fn context(&self, name: &str) -> Digest;

    /// Returns a digest of a secret; `None` if it was not given.
    fn secret(&self, id: &str) -> Option<Digest>;

    /// Returns a digest of the keys or the socket of an SSH agent; `None` if it was not given.
    fn agent(&self, id: &str) -> Option<Digest>;
}

impl Beside<'_> {
    /// Returns the identity of a step; `None` if there is nothing to do.
    pub(crate) fn identity(&self, vertex: &Vertex, work: &Work<'_>) -> Option<Digest> {
        let mut text = String::new();
        let mut add = |kind: &str, digest: Option<Digest>| {
            let digest = digest.map_or_else(|| "none".to_owned(), |digest| digest.to_string());
            text.push_str(&format!("{kind} {digest}\n"));
        };
        match work {
            Work::Given(_) => return None,
            Work::Run(RunWork { parent, request, sources, .. }) => {
                add("run", Some(key::of_run(vertex, &parent.chain, sources)));
                for mount in &request.mounts {
                    match &mount.kind {
                        MountKind::Secret { id, .. } => add("secret", self.identities.secret(id)),
                        MountKind::Ssh { id, .. } => add("agent", self.identities.agent(id)),
                        _ => {}
                    }
                }
            }
            Work::Files(work @ FilesWork { origin, .. }) => {
                add("files", Some(vertex.definition.clone()));
                add("below", work.below().id());
                match origin {
                    None => {}
                    Some(CopyOrigin::Context(name)) => {
                        add("context", Some(self.identities.context(name)));
                    }
                    Some(CopyOrigin::Layers(chain)) => add("layers", Chain::id(chain)),
                }
            }
        }
        Some(Digest::of(text.as_bytes()))
    }
}
