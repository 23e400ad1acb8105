//! Provenance of images: what their steps were made of, read from the graph and from what was
//! fetched.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use xbuild_attest::{
    Config, DigestSet, Facts, Lines, Material, Needed, Purl, SourceFile, Step, image_purl,
};
use xbuild_model::file_op::{CopyRequest, FileOp};
use xbuild_model::remote::{RemoteSource, without_user};
use xbuild_model::run::{Mount, MountKind, Network, RunRequest, Security};
use xbuild_model::{Platform, ResolvedImage};
use xbuild_plan::{Graph, Op, Origin, Output, Vertex, VertexId, is_main_context};
use xbuild_solve::BuiltImage;
use xbuild_source::Pin;
use xbuild_wording::redacted;

use crate::build::Build;
use crate::error::ContextError;
use crate::import::{Place, place};
use crate::main_context::{MainContext, MainFile};
use crate::request::{BuildRequest, ContextPlace, DockerfilePlace, NamedPlace};

/// Returns what each image of a graph was made of, in the order of its outputs; without times, and
/// without the descriptors of layers.
///
/// **Errors** — a source cannot be fetched. All were fetched before, unless nothing looked at one.
pub(crate) fn facts(
    build: &Build,
    main: &MainContext,
    graph: &Graph,
    images: &[BuiltImage],
) -> Result<Vec<Facts>, ContextError> {
    let reader = Reader { build, main, graph };
    let both = graph.outputs.iter().zip(images);
    both.map(|(output, image)| reader.facts(output, image)).collect()
}

/// The kinds of what is fetched, in the order in which BuildKit lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fetched {
    Image,
    Commit,
    File,
}

type Materials = BTreeSet<(Fetched, Material)>;

#[derive(Clone, Copy)]
struct Reader<'a> {
    build: &'a Build,
    main: &'a MainContext,
    graph: &'a Graph,
}

impl Reader<'_> {
    fn facts(&self, output: &Output, image: &BuiltImage) -> Result<Facts, ContextError> {
        let used = self.used(output);
        let files: Vec<&MainFile> = self.main.files.iter().collect();
        let number: BTreeMap<VertexId, usize> =
            used.iter().enumerate().map(|(number, id)| (*id, number)).collect();
        let vertices = || used.iter().map(|id| self.graph.vertex(*id));
        let mut facts = Facts {
            arguments: arguments(&self.build.request),
            builder_platform: Platform::host().to_string(),
            builder: ("xbuild", env!("CARGO_PKG_VERSION")),
            has_network: vertices().any(has_network),
            sources: files.iter().map(|file| self.source(file)).collect(),
            ..Facts::default()
        };
        (facts.secrets, facts.agents) = needed(vertices());
        let mut materials = BTreeSet::new();
        let mut locals = BTreeSet::new();
        self.config(output, &mut facts, &mut materials, &mut locals)?;
        for vertex in vertices() {
            self.materials(vertex, &mut materials, &mut locals)?;
            let inputs = vertex.op.inputs().map(|input| number[&input]).collect();
            let span = &vertex.span;
            let file = files.iter().position(|file| file.name() == &*span.file);
            let lines = Lines { first: *span.lines.start(), last: *span.lines.end() };
            facts.steps.push(Step {
                name: vertex.label.clone(),
                platform: vertex.platform.to_string(),
                inputs,
                operation: operation(&vertex.op),
                place: file.map(|file| (file, lines)),
            });
        }
        let lengths = image.steps.iter();
        let lengths = lengths.filter_map(|(id, length)| Some((*number.get(id)?, *length)));
        facts.lengths = lengths.collect();
        facts.materials = materials.into_iter().map(|(_, material)| material).collect();
        facts.locals = locals.into_iter().collect();
        Ok(facts)
    }

    /// Returns the vertices that an output needs, inputs before their users; its own is the last.
    fn used(&self, output: &Output) -> BTreeSet<VertexId> {
        let mut used = BTreeSet::new();
        let mut ahead = vec![output.vertex];
        while let Some(id) = ahead.pop() {
            if used.insert(id) {
                ahead.extend(self.graph.vertex(id).op.inputs());
            }
        }
        used
    }

    /// Fills in where the Dockerfile and the main context come from.
    fn config(
        &self,
        output: &Output,
        facts: &mut Facts,
        materials: &mut Materials,
        locals: &mut BTreeSet<String>,
    ) -> Result<(), ContextError> {
        let input = &self.build.request.input;
        let file = self.main.files.iter().find(|file| file.platforms.contains(&output.platform));
        let file = file.unwrap_or(&self.main.files[0]);
        facts.config.path = Some(self.file_name(file));
        if let ContextPlace::Remote(source) = &input.context {
            let material = self.material(source)?;
            facts.config = Config {
                uri: Some(address(source)),
                digest: material.1.digest.clone(),
                ..facts.config.clone()
            };
            materials.insert(material);
        }
        let own = input.own_dockerfiles.iter().find(|own| own.platform == output.platform);
        match own.map_or(&input.dockerfile, |own| &own.place) {
            DockerfilePlace::Url(url) => {
                let source = RemoteSource::parse(url, xbuild_model::remote::Asker::Add);
                if let Ok(Some(source)) = source {
                    materials.insert(self.material(&source)?);
                }
            }
            DockerfilePlace::InContext if matches!(input.context, ContextPlace::Remote(_)) => {}
            _ => drop(locals.insert("dockerfile".to_owned())),
        }
        Ok(())
    }

    /// Adds what a step takes from elsewhere.
    fn materials(
        &self,
        vertex: &Vertex,
        materials: &mut Materials,
        locals: &mut BTreeSet<String>,
    ) -> Result<(), ContextError> {
        match &vertex.op {
            Op::Image(image) => drop(materials.insert((Fetched::Image, image_material(image)))),
            Op::Files { op, origin, .. } => {
                if let FileOp::Copy(copy) = op {
                    for remote in &copy.remotes {
                        materials.insert(self.material(&remote.source)?);
                    }
                }
                if let Some(Origin::Context(name)) = origin {
                    self.context(name, materials, locals)?;
                }
            }
            Op::Scratch | Op::Run { .. } => {}
        }
        Ok(())
    }

    fn context(
        &self,
        name: &str,
        materials: &mut Materials,
        locals: &mut BTreeSet<String>,
    ) -> Result<(), ContextError> {
        let input = &self.build.request.input;
        match input.contexts.get(name) {
            _ if is_main_context(name) => {
                if !matches!(input.context, ContextPlace::Remote(_)) {
                    locals.insert("context".to_owned());
                }
            }
            Some(NamedPlace::Remote(source)) => drop(materials.insert(self.material(source)?)),
            _ => drop(locals.insert(name.to_owned())),
        }
        Ok(())
    }

    fn material(&self, source: &RemoteSource) -> Result<(Fetched, Material), ContextError> {
        let pin = self.build.fetcher.pin(source);
        let pin = pin.map_err(|error| ContextError::Fetch(error.into()))?;
        let (kind, uri) = match source {
            RemoteSource::Http(http) => (Fetched::File, http.url.clone()),
            RemoteSource::Git(git) => (Fetched::Commit, without_user(&git.remote)),
        };
        Ok((kind, Material { uri, digest: digest(pin) }))
    }

    /// Returns the name of a Dockerfile: below its context, or else its last part. Folders of this
    /// machine concern nobody.
    fn file_name(&self, file: &MainFile) -> String {
        let path = std::path::Path::new(file.name());
        if file.name().contains("://") || path.is_relative() && !path.starts_with("..") {
            return file.name().to_owned();
        }
        let below = path.strip_prefix(&self.main.folder).ok();
        let last = path.file_name().map(std::path::Path::new);
        below.or(last).unwrap_or(path).display().to_string()
    }

    fn source(&self, file: &MainFile) -> SourceFile {
        let text = redacted(file.source()).into_owned().into_bytes();
        SourceFile { name: self.file_name(file), text }
    }
}

fn digest(pin: Pin) -> DigestSet {
    match pin {
        Pin::File(digest) => [("sha256", digest.hex())].into(),
        Pin::Commit(commit) if commit.len() == 64 => [("sha256", commit)].into(),
        Pin::Commit(commit) => [("sha1", commit)].into(),
    }
}

/// Returns the address of a context, as the user gave it.
fn address(source: &RemoteSource) -> String {
    match source {
        RemoteSource::Http(http) => http.url.clone(),
        RemoteSource::Git(git) => {
            let mut text = without_user(&git.remote);
            if git.reference.is_some() || git.subdir.is_some() {
                text.push('#');
                text.push_str(git.reference.as_deref().unwrap_or_default());
            }
            if let Some(subdir) = &git.subdir {
                text.push(':');
                text.push_str(subdir);
            }
            text
        }
    }
}

/// Returns an image of a registry, by its short name, or one of a layout, by the name of its folder.
fn image_material(image: &ResolvedImage) -> Material {
    let platform = Some(&image.platform);
    let uri = match place(&image.name) {
        Ok(Place::Name(name) | Place::Registry(name)) => image_purl(&name, platform).to_string(),
        Ok(Place::Layout(path, _)) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let purl = Purl::new("oci", &name, &image.root.to_string());
            purl.qualifier("platform", &image.platform.to_string()).to_string()
        }
        Err(_) => image.name.clone(),
    };
    Material { uri, digest: [("sha256", image.root.hex())].into() }
}

/// Returns the request by the names that BuildKit's frontend has for it.
///
/// **Source** — BuildKit, `frontend/dockerui`. Users and passwords of URLs are
/// left out.
fn arguments(request: &BuildRequest) -> BTreeMap<String, String> {
    let mut arguments = BTreeMap::new();
    let mut add = |name: String, value: &str| {
        arguments.insert(name, redacted(&without_user(value)).into_owned());
    };
    for (name, value) in &request.input.build_args {
        add(format!("build-arg:{name}"), value);
    }
    for (name, value) in &request.labels {
        add(format!("label:{name}"), value);
    }
    for (name, place) in &request.input.contexts {
        match place {
            // Where a folder is on this machine concerns nobody.
            NamedPlace::Folder(_) => add(format!("context:{name}"), &format!("local:{name}")),
            NamedPlace::Image(text) if text.starts_with("oci-layout://") => {
                add(format!("context:{name}"), &format!("oci-layout://{name}"));
            }
            NamedPlace::Image(text) => add(format!("context:{name}"), text),
            NamedPlace::Remote(source) => add(format!("context:{name}"), &address(source)),
        }
    }
    if request.steps.network != Network::Default {
        let network = match request.steps.network {
            Network::Default | Network::Host => "host",
            Network::None => "none",
            Network::Private => "sandbox",
        };
        add("force-network-mode".to_owned(), network);
    }
    if let Some(target) = &request.input.target {
        add("target".to_owned(), target);
    }
    let steps = &request.steps;
    if steps.no_cache || !steps.no_cache_stages.is_empty() {
        add("no-cache".to_owned(), &steps.no_cache_stages.join(","));
    }
    let hosts: Vec<String> = steps.extra_hosts.iter().map(|(n, a)| format!("{n}={a}")).collect();
    if !hosts.is_empty() {
        add("add-hosts".to_owned(), &hosts.join(","));
    }
    let limits = steps.ulimits.iter().map(|(n, soft, hard)| format!("{n}={soft}:{hard}"));
    let limits: Vec<String> = limits.collect();
    if !limits.is_empty() {
        add("ulimit".to_owned(), &limits.join(","));
    }
    if let Some(size) = steps.shm_size {
        add("shm-size".to_owned(), &size.to_string());
    }
    arguments
}

fn has_network(vertex: &Vertex) -> bool {
    matches!(&vertex.op, Op::Run { request, .. } if request.network != Network::None)
}

/// Returns the secrets and agents that steps ask for, each once: optional if no step needs it.
fn needed<'a>(vertices: impl Iterator<Item = &'a Vertex>) -> (Vec<Needed>, Vec<Needed>) {
    let (mut secrets, mut agents) = (BTreeMap::new(), BTreeMap::new());
    for vertex in vertices {
        let Op::Run { request, .. } = &vertex.op else { continue };
        for mount in &request.mounts {
            let (list, id, required) = match &mount.kind {
                MountKind::Secret { id, required, .. } => (&mut secrets, id, required),
                MountKind::Ssh { id, required, .. } => (&mut agents, id, required),
                _ => continue,
            };
            *list.entry(id.clone()).or_insert(false) |= required;
        }
    }
    let list = |needed: BTreeMap<String, bool>| {
        needed.into_iter().map(|(id, required)| Needed { id, optional: !required }).collect()
    };
    (list(secrets), list(agents))
}

/// Returns an operation for a reader. Variables are left out: those of the user are arguments, the
/// others are in the configurations of images and in the Dockerfile.
fn operation(op: &Op) -> Value {
    match op {
        Op::Scratch => json!({ "scratch": {} }),
        Op::Image(image) => {
            let Material { uri, digest } = image_material(image);
            let manifest = image.manifest.digest.to_string();
            json!({ "image": { "uri": uri, "digest": digest, "manifest": manifest } })
        }
        Op::Run { request, .. } => json!({ "run": run(request) }),
        Op::Files { op: FileOp::MakeDir(request), .. } => {
            json!({ "mkdir": { "path": request.path, "user": request.user } })
        }
        Op::Files { op: FileOp::Pick { path }, origin, .. } => {
            json!({ "mount": { "path": path, "from": from(origin.as_ref()) } })
        }
        Op::Files { op: FileOp::Copy(request), origin, .. } => {
            json!({ "copy": copy(request, origin.as_ref()) })
        }
    }
}

fn run(request: &RunRequest) -> Value {
    let mount = |mount: &Mount| match &mount.kind {
        MountKind::Bind { .. } => json!({ "type": "bind", "target": mount.target }),
        MountKind::Cache { id, .. } => {
            json!({ "type": "cache", "target": mount.target, "id": id })
        }
        MountKind::Tmpfs { .. } => json!({ "type": "tmpfs", "target": mount.target }),
        MountKind::Secret { id, env, .. } => {
            json!({ "type": "secret", "target": mount.target, "env": env, "id": id })
        }
        MountKind::Ssh { id, .. } => json!({ "type": "ssh", "target": mount.target, "id": id }),
    };
    json!({
        "args": request.argv.iter().map(|word| redacted(word)).collect::<Vec<_>>(),
        "cwd": request.cwd,
        "user": request.user,
        "network": if request.network == Network::None { "none" } else { "host" },
        "security": if request.security == Security::Insecure { "insecure" } else { "sandbox" },
        "mounts": request.mounts.iter().map(mount).collect::<Vec<_>>(),
    })
}

fn copy(request: &CopyRequest, origin: Option<&Origin>) -> Value {
    let remotes = request.remotes.iter().map(|remote| address(&remote.source));
    json!({
        "from": from(origin),
        "sources": request.sources,
        "remotes": remotes.collect::<Vec<_>>(),
        "inline": request.inline.iter().map(|file| &file.name).collect::<Vec<_>>(),
        "dest": request.dest,
        "chown": request.chown,
        "chmod": request.chmod,
    })
}

/// Returns the context that files are taken from; a stage or an image is an input of the step.
fn from(origin: Option<&Origin>) -> Option<&str> {
    match origin {
        Some(Origin::Context(name)) if is_main_context(name) => Some("context"),
        Some(Origin::Context(name)) => Some(name),
        _ => None,
    }
}
