//! The demands of single steps on the rung, beside their programs.

use xbuild_exec::Rung;
use xbuild_exec::probe::{Capabilities, Gap};
use xbuild_model::run::{Mount, MountKind, Network, RunRequest, Security};
use xbuild_plan::{Graph, Op, Vertex, VertexId};
use xbuild_wording::{Hint, hints};

use crate::build::Build;
use crate::error::Lack;

/// Returns the gaps of the steps among `vertices`, the first step of each kind.
pub(crate) fn unmet(
    graph: &Graph,
    vertices: &[VertexId],
    capabilities: &Capabilities,
    rung: Rung,
    build: &Build,
) -> impl Iterator<Item = Lack> {
    without_own_proc(graph, vertices, capabilities)
        .into_iter()
        .chain(without_own_network(graph, vertices, rung, build))
        .chain(without_network(graph, vertices, rung, build))
        .chain(without_mounts(graph, vertices, rung))
}

/// Returns the first RUN step of which that is true.
fn first<'a>(
    graph: &'a Graph,
    vertices: &[VertexId],
    is_it: impl Fn(&RunRequest) -> bool,
) -> Option<&'a Vertex> {
    let mut all = vertices.iter().map(|id| graph.vertex(*id));
    all.find(|vertex| matches!(&vertex.op, Op::Run { request, .. } if is_it(request)))
}

/// Returns the gap of the first insecure step, which may look into all processes of its `/proc`, if
/// it cannot have one that shows only its own.
fn without_own_proc(
    graph: &Graph,
    vertices: &[VertexId],
    capabilities: &Capabilities,
) -> Option<Lack> {
    let gap = capabilities.findings.own_proc().as_ref().err()?;
    let insecure = first(graph, vertices, |step| step.security == Security::Insecure)?;
    Some(lacking(&format!("{}: needs a /proc of its own", insecure.label), gap))
}

/// Returns the gap of the first step with a network of its own, if it cannot have one.
fn without_own_network(
    graph: &Graph,
    vertices: &[VertexId],
    rung: Rung,
    build: &Build,
) -> Option<Lack> {
    let private = first(graph, vertices, |step| step.network == Network::Private)?;
    let gap = xbuild_exec::own_networks(rung, &build.machine.search_path).err()?;
    Some(lacking(&format!("{}: needs a network of its own", private.label), &gap))
}

/// Returns the gap of the first step that wants no network, if it cannot do without.
fn without_network(
    graph: &Graph,
    vertices: &[VertexId],
    rung: Rung,
    build: &Build,
) -> Option<Lack> {
    let gap = xbuild_exec::no_network(rung).err()?;
    let wants_none = |network: Network| match network {
        Network::Default => build.request.steps.network == Network::None,
        network => network == Network::None,
    };
    let alone = first(graph, vertices, |step| wants_none(step.network))?;
    Some(lacking(&format!("{}: needs a network namespace", alone.label), &gap))
}

/// Returns the gap of the first step with mounts that files which are moved or copied cannot stand in
/// for, where nothing can be mounted.
fn without_mounts(graph: &Graph, vertices: &[VertexId], rung: Rung) -> Option<Lack> {
    if rung.has_mounts() {
        return None;
    }
    let gap = |why: &str, how_to_get: Hint| Gap {
        why: format!("with the isolation {rung} {why}"),
        how_to_get,
    };
    if let Some(step) = first(graph, vertices, |step| has_one_cache_twice(&step.mounts)) {
        let why = "a cache folder can be in one place only, since nothing can be mounted";
        let gap = gap(why, hints::mount_cache_once());
        return Some(lacking(&format!("{}: mounts one cache twice", step.label), &gap));
    }
    let step = first(graph, vertices, |step| {
        step.security == Security::Insecure && step.mounts.iter().any(is_secret_file)
    })?;
    let why = "a secret needs the supervisor, which insecure steps do without";
    let gap = gap(why, hints::secret_as_variable());
    Some(lacking(&format!("{}: needs a secret as a file", step.label), &gap))
}

fn is_secret_file(mount: &Mount) -> bool {
    matches!(mount.kind, MountKind::Secret { .. }) && !mount.target.is_empty()
}

/// Returns whether two of the mounts are the same folder.
fn has_one_cache_twice(mounts: &[Mount]) -> bool {
    let identity = |mount: &Mount| match &mount.kind {
        MountKind::Cache { id, seed, mode, uid, gid, .. } => {
            Some((id.clone(), seed.clone(), *mode, *uid, *gid))
        }
        _ => None,
    };
    let mut seen = Vec::new();
    mounts.iter().filter_map(identity).any(|cache| {
        let is_known = seen.contains(&cache);
        seen.push(cache);
        is_known
    })
}

/// Returns the lack of something that `need` names.
pub(crate) fn lacking(need: &str, gap: &Gap) -> Lack {
    Lack { need: need.to_owned(), gap: gap.clone() }
}
