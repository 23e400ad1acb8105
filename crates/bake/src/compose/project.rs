//! Compose files to services.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::load::{Loader, Seat, Shared};
use super::model;
use super::paths::Base;
use super::setting::{Manner, Setting};
use super::variables::{self, VariableFile};
use super::yaml::{self, Node, Yaml};
use super::{name, service};
use crate::config::File;
use crate::error::BakeError;
use crate::given::Given;
use crate::target::Target;

/// The services of compose files.
#[derive(Debug, Clone, Default)]
pub struct Project {
    /// The name of the project; empty if it has none.
    pub name: String,
    /// The services, by name.
    pub services: Vec<Service>,
    /// Warnings about variables that the files use and nobody sets.
    pub warnings: Vec<String>,
}

/// A service.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// How its image is built; `None` if it is only pulled.
    pub target: Option<Target>,
    /// The name of its image.
    pub image: Option<String>,
    /// The profiles that it is part of; none for a service that is always there.
    pub profiles: Vec<String>,
    /// The services that it needs: those that it starts after, and whose network, volumes or the like it
    /// has.
    pub depends_on: Vec<String>,
}

impl Project {
    /// Reads compose files, later ones over earlier ones.
    ///
    /// **Shape** — paths are as seen from the current folder.
    pub fn read(files: &[&File], given: &Given<'_>, setting: &Setting) -> Result<Self, BakeError> {
        let shared = Shared::default();
        let outside =
            |name: &str| given.variable(name).or_else(|| setting.variables.get(name).cloned());
        let mut documents = Vec::new();
        for file in files {
            documents.extend(yaml::documents(&Arc::from(file.name.as_str()), &file.text)?);
        }
        let name = name::name(&documents, setting, &outside, &shared.unset)?;
        let lookup = |variable: &str| match variable {
            "COMPOSE_PROJECT_NAME" => Some(name.clone()),
            _ => outside(variable),
        };
        let home = given.world.home.as_str();
        let loader = Loader { lookup: &lookup, files: given.files, home, shared: &shared };
        let models = loader.models(documents, Seat { folder: &setting.folder, depth: 0 })?;
        let mut services = Vec::new();
        if let Some(mut model) = model::all(models) {
            if !setting.folder.is_empty() {
                Base { folder: &setting.folder, home }.default_contexts(&mut model);
            }
            for (name, node) in model::services(&model) {
                services.push(read_service(name, node, &model, (&loader, setting.manner))?);
            }
        }
        services.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { name, services, warnings: shared.unset.warnings() })
    }
}

fn read_service(
    name: &str,
    node: &Node,
    model: &Node,
    (loader, manner): (&Loader<'_>, Manner),
) -> Result<Service, BakeError> {
    if !matches!(node.value, Yaml::Map(_) | Yaml::Null) {
        return Err(node.fail(format!("service {name}: a mapping required")));
    }
    let mut target = match node.get("build") {
        Some(build) if !matches!(build.value, Yaml::Null) => {
            let environment = environment(node, (loader, manner))?;
            let lookup =
                |name: &str| environment.get(name).cloned().or_else(|| (loader.lookup)(name));
            let secrets = model.get("secrets");
            let around = service::Around { secrets, environment: &lookup, manner };
            Some(service::target(build, &around)?)
        }
        _ => None,
    };
    if target.is_none() && node.get("image").is_none() && node.get("provider").is_none() {
        return Err(node.fail(format!("service {name} has neither an image nor a build")));
    }
    if let (Some(target), Some(platform), Manner::Compose) =
        (&mut target, node.get("platform"), manner)
    {
        set_platform(target, platform)?;
    }
    Ok(Service {
        name: name.to_owned(),
        target,
        image: node.get("image").and_then(Node::as_text).filter(|image| !image.is_empty()),
        profiles: names(node, "profiles"),
        depends_on: needed(node),
    })
}

/// Gives a target the platform that its service runs on, unless it is built for that, too.
fn set_platform(target: &mut Target, platform: &Node) -> Result<(), BakeError> {
    let text = platform.as_text().ok_or_else(|| platform.fail("platform: a string required"))?;
    let built = target.platforms.get_or_insert_default();
    if text.is_empty() || built.contains(&text) {
        return Ok(());
    }
    if !built.is_empty() {
        let built = built.join(", ");
        return Err(platform.fail(format!(
            "the service runs on {text}, but its build is for {built}: add {text} to platforms of build"
        )));
    }
    built.push(text);
    Ok(())
}

/// Returns the names in a list, or those that a mapping has something for.
fn names(node: &Node, key: &str) -> Vec<String> {
    match node.get(key).map(|node| &node.value) {
        Some(Yaml::List(nodes)) => nodes.iter().filter_map(Node::as_text).collect(),
        Some(Yaml::Map(pairs)) => pairs.iter().map(|(name, _)| name.clone()).collect(),
        _ => Vec::new(),
    }
}

/// Returns the services that one needs.
///
/// **Source** — Compose file reference § depends_on, links, volumes_from, network_mode, ipc, pid.
fn needed(node: &Node) -> Vec<String> {
    let first = |text: String| text.split(':').next().unwrap_or_default().to_owned();
    let mut all = names(node, "depends_on");
    all.extend(names(node, "links").into_iter().map(first));
    let volumes = names(node, "volumes_from").into_iter();
    all.extend(volumes.filter(|text| !text.starts_with("container:")).map(first));
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        let mode = node.get(key).and_then(Node::as_text).unwrap_or_default();
        all.extend(mode.strip_prefix("service:").map(str::to_owned));
    }
    all
}

/// Returns the environment of a service: that of its files, and its own over it.
fn environment(
    node: &Node,
    (loader, manner): (&Loader<'_>, Manner),
) -> Result<BTreeMap<String, String>, BakeError> {
    let entries = match node.get("env_file") {
        Some(Node { value: Yaml::List(nodes), .. }) => &nodes[..],
        _ => &[],
    };
    let mut variables = BTreeMap::new();
    for entry in entries {
        let (path, is_required) = match &entry.value {
            Yaml::Map(_) => {
                let required = entry.get("required").and_then(Node::as_text);
                (entry.get("path").and_then(Node::as_text), required.as_deref() != Some("false"))
            }
            _ => (entry.as_text(), true),
        };
        let path = path.ok_or_else(|| entry.fail("env_file: a path required"))?;
        let file = VariableFile { path, is_required: false };
        // A container needs the file, a build does not; buildx asks for it all the same.
        if is_required && manner == Manner::Bake && loader.read(&file.path)?.is_none() {
            return Err(entry.fail(format!("env_file: there is no file {}", file.path)));
        }
        let unset = &loader.shared.unset;
        variables.extend(variables::read(&[file], loader.files, loader.lookup, unset)?);
    }
    if let Some(Node { value: Yaml::Map(pairs), .. }) = node.get("environment") {
        for (name, value) in pairs {
            if let (Some(text), false) = (value.as_text(), matches!(value.value, Yaml::Null)) {
                variables.insert(name.clone(), text);
            }
        }
    }
    Ok(variables)
}
