//! RUN `--mount`: what is there for one command only.

mod options;

use xbuild_dockerfile::{Mount as Written, Run, Span};
use xbuild_model::file_op::{FileOp, PICKED};
use xbuild_model::run::{Mount, MountKind, MountSource, Sharing};

use crate::arguments::CACHE_NAMESPACE;
use crate::builder::Label;
use crate::config;
use crate::error::{MountError, PlanError};
use crate::graph::{Op, Origin, VertexId};
use crate::paths;
use crate::planner::{Done, Planner, everything};
use crate::state::State;
use options::{Kind, Options, PERMISSIONS};

/// Where the sockets of agents are that do not say: BuildKit's, because scripts name it.
const AGENTS: &str = "/run/buildkit/ssh_agent.";
/// Where secrets are that do not say.
const SECRETS: &str = "/run/secrets/";

/// The mounts of a RUN.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    pub(crate) list: Vec<Mount>,
    /// The vertices that [`MountSource::input`] counts, each once.
    pub(crate) sources: Vec<VertexId>,
    /// What `SSH_AUTH_SOCK` is to be.
    pub(crate) agent: Option<String>,
}

/// Returns what `from=` of a mount names, if it does. It does not expand.
pub(crate) fn mount_from(mount: &Written) -> Option<&str> {
    let from = mount.options.iter().rfind(|option| option.key == "from")?;
    from.value.as_deref().filter(|value| !value.is_empty())
}

impl Planner<'_> {
    /// Returns the mounts of a RUN of the stage `own`, and adds the vertices that they need.
    ///
    /// **Errors**: `Expand`, `Mount`, `LaterStage`, `OwnStage`, `Reference`.
    pub(crate) fn mounts(
        &mut self,
        state: &State,
        run: &Run,
        own: usize,
        place: config::Place<'_>,
        done: &Done,
    ) -> Result<Mounts, PlanError> {
        let mut mounts = Mounts::default();
        let mut agents = 0;
        for written in &run.mounts {
            let options = Options::read(written, &place.expander(state))?;
            let fail = |error: MountError| PlanError::new(error, place.span);
            let kind = match options.kind {
                Kind::Bind => MountKind::Bind {
                    source: self.source(&options, own, place.span, done, &mut mounts)?,
                    writable: options.read_only == Some(false),
                },
                // Memory that nobody can write to is an empty folder.
                Kind::Tmpfs if options.read_only == Some(true) => MountKind::Bind {
                    source: MountSource {
                        input: mounts.input(self.scratch(self.target, place.span)),
                        path: "/".to_owned(),
                    },
                    writable: false,
                },
                Kind::Tmpfs => MountKind::Tmpfs { size: options.size.filter(|size| *size > 0) },
                Kind::Cache => {
                    let seed = self.seed(&options, own, place.span, done, &mut mounts)?;
                    cache(&options, seed, place.given.get(CACHE_NAMESPACE).copied())
                }
                Kind::Secret => secret(&options),
                Kind::Ssh => {
                    agents += 1;
                    ssh(&options)
                }
            };
            let target = match (&options.target, &kind) {
                (Some(target), _) => target.clone(),
                (None, MountKind::Secret { env: Some(_), .. }) => {
                    mounts.list.push(Mount { target: String::new(), kind });
                    continue;
                }
                (None, MountKind::Secret { id, .. }) => format!("{SECRETS}{}", paths::base(id)),
                (None, MountKind::Ssh { .. }) => format!("{AGENTS}{}", agents - 1),
                (None, _) => String::new(),
            };
            let joined = paths::join(state.working_dir(), &target);
            if joined == "/" {
                return Err(fail(MountError::RootTarget { written: target }));
            }
            if options.kind == Kind::Ssh && mounts.agent.is_none() {
                mounts.agent = Some(joined.clone());
            }
            mounts.list.push(Mount { target: joined, kind });
        }
        Ok(mounts)
    }

    /// Returns the files that a mount names.
    fn source(
        &mut self,
        options: &Options,
        own: usize,
        span: &Span,
        done: &Done,
        mounts: &mut Mounts,
    ) -> Result<MountSource, PlanError> {
        let path = paths::join("/", options.source.as_deref().unwrap_or_default());
        let origin = match &options.from {
            None => Origin::Context(String::new()),
            Some(from) => {
                let place = self.names.mount_source(from, own, span)?;
                self.origin_of(place, span, done)
            }
        };
        let (vertex, path) = match origin {
            Origin::Vertex(vertex) => (vertex, path),
            // Only what is mounted is taken from a context, so that a change elsewhere in it
            // does not repeat the step.
            context => {
                let text = match path.as_str() {
                    "/" => "mount source".to_owned(),
                    path => format!("mount source {path}"),
                };
                let (op, at) = match path == "/" {
                    true => (FileOp::Copy(everything()), path),
                    false => (FileOp::Pick { path }, PICKED.to_owned()),
                };
                let op = Op::Files {
                    parent: self.scratch(self.target, span),
                    op,
                    origin: Some(context),
                    independent: false,
                };
                let label = Label { text, ..Label::default() };
                (self.builder.add(op, self.target, span, label), at)
            }
        };
        Ok(MountSource { input: mounts.input(vertex), path })
    }

    /// Returns what a new cache folder is filled with.
    fn seed(
        &mut self,
        options: &Options,
        own: usize,
        span: &Span,
        done: &Done,
        mounts: &mut Mounts,
    ) -> Result<Option<MountSource>, PlanError> {
        let source = options.source.as_deref().unwrap_or_default();
        let is_whole = paths::join("/", source) == "/";
        if options.from.is_none() {
            return match is_whole {
                true => Ok(None),
                false => {
                    let source_path = source.to_owned();
                    Err(PlanError::new(MountError::EmptySeed { source_path }, span))
                }
            };
        }
        let seed = self.source(options, own, span, done, mounts)?;
        // As measured: with an owner or mode of its own the folder is a new one, and empty.
        Ok(Some(seed).filter(|_| !is_whole || !options.has_owner_or_mode()))
    }
}

impl Mounts {
    fn input(&mut self, vertex: VertexId) -> usize {
        let found = self.sources.iter().position(|source| *source == vertex);
        found.unwrap_or_else(|| {
            self.sources.push(vertex);
            self.sources.len() - 1
        })
    }
}

/// Returns a cache mount. Its id is as written or the target's, cleaned; without the working
/// directory.
fn cache(options: &Options, seed: Option<MountSource>, namespace: Option<&str>) -> MountKind {
    let default = || paths::clean(options.target.as_deref().unwrap_or_default());
    let mut id = options.id.clone().unwrap_or_else(default);
    if let Some(namespace) = namespace.filter(|namespace| !namespace.is_empty()) {
        id = format!("{namespace}/{id}");
    }
    // A seeded folder has the owner and mode of what it is filled with.
    let is_own = seed.is_none() && options.has_owner_or_mode();
    let own = |value: Option<u32>, default| value.filter(|_| is_own).unwrap_or(default);
    let (mode, uid, gid) = (own(options.mode, 0o755), own(options.uid, 0), own(options.gid, 0));
    if is_own {
        // As measured: with the defaults spelled out it is another folder than without.
        id = format!("{id} ({mode:04o} {uid}:{gid})");
    }
    MountKind::Cache {
        id,
        sharing: options.sharing.unwrap_or(Sharing::Shared),
        seed,
        mode: mode & PERMISSIONS,
        uid,
        gid,
        read_only: options.read_only == Some(true),
    }
}

fn secret(options: &Options) -> MountKind {
    let target = options.target.as_deref().unwrap_or_default();
    let id = options.source.as_ref().or(options.id.as_ref());
    MountKind::Secret {
        id: id.cloned().unwrap_or_else(|| paths::base(target).to_owned()),
        env: options.env.clone(),
        mode: options.mode.unwrap_or(0o400) & PERMISSIONS,
        uid: options.uid.unwrap_or(0),
        gid: options.gid.unwrap_or(0),
        required: options.required,
    }
}

fn ssh(options: &Options) -> MountKind {
    MountKind::Ssh {
        id: options.id.clone().unwrap_or_else(|| "default".to_owned()),
        mode: options.mode.unwrap_or(0o600) & PERMISSIONS,
        uid: options.uid.unwrap_or(0),
        gid: options.gid.unwrap_or(0),
        required: options.required,
    }
}
