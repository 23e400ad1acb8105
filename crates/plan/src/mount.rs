//! RUN `--mount`: files that one command sees, and no other step.

mod options;

use xbuild_dockerfile::{Run, Span};
use xbuild_model::file_op::{FileOp, PICKED};
use xbuild_model::run::{Mount, MountKind, MountSource, Sharing};

use crate::arguments::CACHE_NAMESPACE;
use crate::builder::Label;
use crate::config;
use crate::error::{MountError, PlanError};
use crate::graph::{Op, Origin, VertexId};
use crate::origins::{Origins, everything};
use crate::state::State;
use crate::{paths, refused_mounts};
use options::{Kind, Options, PERMISSIONS};

/// The default target of an agent's socket, without its number: BuildKit's, because scripts name
/// it.
const AGENTS: &str = "/run/buildkit/ssh_agent.";
/// The default folder of secrets.
const SECRETS: &str = "/run/secrets/";

/// The mounts of a RUN.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    pub(crate) list: Vec<Mount>,
    /// The vertices that [`MountSource::input`] counts, each once.
    pub(crate) sources: Vec<VertexId>,
    /// The value of `SSH_AUTH_SOCK`.
    pub(crate) agent: Option<String>,
}

/// Returns the mounts of a RUN of the stage `own`, and adds the vertices that they need.
///
/// **Errors**: `Expand`, `Mount`, `LaterStage`, `OwnStage`, `Reference`.
pub(crate) fn mounts(
    origins: &mut Origins<'_>,
    state: &State,
    run: &Run,
    own: usize,
    place: config::Place<'_>,
) -> Result<Mounts, PlanError> {
    let span = place.span;
    let mut reader = Reader { origins, own, span, mounts: Mounts::default() };
    let mut agents = 0;
    for written in &run.mounts {
        let options = Options::read(written, &place.expander(state))?;
        let kind = reader.kind(&options, place.given.get(CACHE_NAMESPACE).copied())?;
        let mounts = &mut reader.mounts;
        let target = match (&options.target, &kind) {
            (Some(target), _) => target.clone(),
            (None, MountKind::Secret { env: Some(_), .. }) => {
                mounts.list.push(Mount { target: String::new(), kind });
                continue;
            }
            (None, MountKind::Secret { id, .. }) => format!("{SECRETS}{}", paths::base(id)),
            (None, MountKind::Ssh { .. }) => format!("{AGENTS}{agents}"),
            (None, _) => String::new(),
        };
        let joined = paths::join(state.working_dir(), &target);
        if let Some(place) = refused_mounts::place(&joined) {
            return Err(PlanError::new(MountError::Target { written: target, place }, span));
        }
        if options.kind == Kind::Ssh {
            agents += 1;
            mounts.agent.get_or_insert_with(|| joined.clone());
        }
        mounts.list.push(Mount { target: joined, kind });
    }
    Ok(reader.mounts)
}

/// A secret or an agent that a RUN asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A secret: its id, and whether the RUN fails without it.
    Secret(String, bool),
    /// An agent, likewise.
    Agent(String, bool),
}

/// Returns the secrets and agents that a RUN asks for.
///
/// **Errors**: `Expand`, `Mount`.
pub(crate) fn asked(
    state: &State,
    run: &Run,
    place: config::Place<'_>,
) -> Result<Vec<Asked>, PlanError> {
    let mut list = Vec::new();
    for written in &run.mounts {
        let options = Options::read(written, &place.expander(state))?;
        match options.kind {
            Kind::Secret => {
                if let MountKind::Secret { id, required, .. } = secret(&options) {
                    list.push(Asked::Secret(id, required));
                }
            }
            Kind::Ssh => {
                if let MountKind::Ssh { id, required, .. } = ssh(&options) {
                    list.push(Asked::Agent(id, required));
                }
            }
            Kind::Bind | Kind::Cache | Kind::Tmpfs => {}
        }
    }
    Ok(list)
}

/// Reads the mounts of one RUN.
struct Reader<'r, 'a> {
    origins: &'r mut Origins<'a>,
    /// The stage of the RUN.
    own: usize,
    span: &'r Span,
    mounts: Mounts,
}

impl Reader<'_, '_> {
    /// Returns the kind of a mount, with its source; `namespace` is put before the ids of cache
    /// mounts.
    fn kind(&mut self, options: &Options, namespace: Option<&str>) -> Result<MountKind, PlanError> {
        Ok(match options.kind {
            Kind::Bind => MountKind::Bind {
                source: self.source(options)?,
                writable: options.read_only == Some(false),
            },
            // A tmpfs that cannot be written to is an empty folder.
            Kind::Tmpfs if options.read_only == Some(true) => {
                let scratch = self.origins.scratch(self.origins.target, self.span);
                let (input, path) = (self.mounts.input(scratch), "/".to_owned());
                MountKind::Bind { source: MountSource { input, path }, writable: false }
            }
            Kind::Tmpfs => MountKind::Tmpfs { size: options.size.filter(|size| *size > 0) },
            Kind::Cache => cache(options, self.seed(options)?, namespace),
            Kind::Secret => secret(options),
            Kind::Ssh => ssh(options),
        })
    }

    /// Returns the files that a mount names.
    fn source(&mut self, options: &Options) -> Result<MountSource, PlanError> {
        let path = paths::join("/", options.source.as_deref().unwrap_or_default());
        let origin = self.origins.of_mount(options.from.as_deref(), self.own, self.span)?;
        let (vertex, path) = match origin {
            Origin::Vertex(vertex) => (vertex, path),
            context => self.part_of(context, path),
        };
        Ok(MountSource { input: self.mounts.input(vertex), path })
    }

    /// Returns a vertex with the part of a context that is mounted, and the path of the part in it.
    /// The rest of the context is left out, so that a change there does not repeat the step.
    fn part_of(&mut self, context: Origin, path: String) -> (VertexId, String) {
        let text = match path.as_str() {
            "/" => "mount source".to_owned(),
            path => format!("mount source {path}"),
        };
        let (op, at) = match path == "/" {
            true => (everything(), path),
            false => (FileOp::Pick { path }, PICKED.to_owned()),
        };
        let (target, span) = (self.origins.target, self.span);
        let op = Op::Files {
            parent: self.origins.scratch(target, span),
            op,
            origin: Some(context),
            independent: false,
        };
        let label = Label { text, ..Label::default() };
        (self.origins.builder.add(op, target, span, label), at)
    }

    /// Returns the files that a new cache folder is filled with.
    fn seed(&mut self, options: &Options) -> Result<Option<MountSource>, PlanError> {
        let source = options.source.as_deref().unwrap_or_default();
        let is_whole = paths::join("/", source) == "/";
        if options.from.is_none() {
            return match is_whole {
                true => Ok(None),
                false => {
                    let source_path = source.to_owned();
                    Err(PlanError::new(MountError::EmptySeed { source_path }, self.span))
                }
            };
        }
        let seed = self.source(options)?;
        // As measured: a cache folder with an owner or mode of its own is a new folder, and begins
        // empty.
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

/// Returns a cache mount. Its id is as written, else the cleaned target, without the working
/// directory.
fn cache(options: &Options, seed: Option<MountSource>, namespace: Option<&str>) -> MountKind {
    let default = || paths::clean(options.target.as_deref().unwrap_or_default());
    let mut id = options.id.clone().unwrap_or_else(default);
    if let Some(namespace) = namespace.filter(|namespace| !namespace.is_empty()) {
        id = format!("{namespace}/{id}");
    }
    // A seeded folder has the owner and mode of its seed.
    let is_own = seed.is_none() && options.has_owner_or_mode();
    let own = |value: Option<u32>, default| value.filter(|_| is_own).unwrap_or(default);
    let (mode, uid, gid) = (own(options.mode, 0o755), own(options.uid, 0), own(options.gid, 0));
    if is_own {
        // As measured: a folder whose owner and mode are spelled out is another one, even if they
        // are the defaults.
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
        required: options.required == Some(true),
    }
}

fn ssh(options: &Options) -> MountKind {
    MountKind::Ssh {
        id: options.id.clone().unwrap_or_else(|| "default".to_owned()),
        mode: options.mode.unwrap_or(0o600) & PERMISSIONS,
        uid: options.uid.unwrap_or(0),
        gid: options.gid.unwrap_or(0),
        required: options.required == Some(true),
    }
}
