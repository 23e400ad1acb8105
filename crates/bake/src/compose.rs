//! Compose files: services with a `build` are targets.

mod dotenv;
mod interpolate;
mod load;
mod merge;
mod service;
mod yaml;

use std::collections::BTreeMap;

use crate::config::{Config, File, Group};
use crate::error::BakeError;
use crate::given::Given;
use crate::place::Place;
use crate::target::Target;
use load::Loader;
use xbuild_wording::quoted;
use yaml::{Node, Yaml};

/// The services of compose files.
#[derive(Debug, Clone, Default)]
pub struct Project {
    /// The name that the files give the project.
    pub name: Option<String>,
    /// The services, by name.
    pub services: Vec<Service>,
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
    /// The services that it starts after.
    pub depends_on: Vec<String>,
}

/// Returns whether a file is a compose file: by its name, else by its text.
pub(crate) fn is_compose(name: &str, text: &str) -> bool {
    let name = name.to_lowercase();
    if name.ends_with(".yml") || name.ends_with(".yaml") {
        return true;
    }
    if name.ends_with(".json") || name.ends_with(".hcl") {
        return false;
    }
    let model = yaml::read(&std::sync::Arc::from(name.as_str()), text);
    model.is_ok_and(|model| model.get("services").is_some())
}

impl Project {
    /// Reads compose files, later ones over earlier ones.
    pub fn read(files: &[&File], given: &Given<'_>) -> Result<Self, BakeError> {
        let dotenv = dotenv(given)?;
        let lookup = |name: &str| {
            let known = given.variable(name).or_else(|| dotenv.get(name).cloned());
            // The name of the project, if nothing else gives one, as in buildx.
            known.or_else(|| (name == "COMPOSE_PROJECT_NAME").then(|| "bake".to_owned()))
        };
        let loader = Loader { lookup: &lookup, files: given.files };
        let models = files.iter().map(|file| loader.file(&file.name, &file.text, 0));
        let Some(model) = load::all(models.collect::<Result<_, _>>()?) else {
            return Ok(Self::default());
        };
        let mut project = Self {
            name: model.get("name").and_then(Node::as_text).filter(|name| !name.is_empty()),
            services: Vec::new(),
        };
        for (name, node) in load::services(&model) {
            project.services.push(service(name, node, &model, &loader)?);
        }
        project.services.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(project)
    }
}

/// Reads the file `.env`, if there is one.
fn dotenv(given: &Given<'_>) -> Result<BTreeMap<String, String>, BakeError> {
    let name = ".env";
    let fail = |reason| BakeError::File { name: name.to_owned(), reason };
    match (given.files)(name).map_err(fail)? {
        Some(text) => dotenv::parse(&text, &|name| given.variable(name)).map_err(fail),
        None => Ok(BTreeMap::new()),
    }
}

fn service(
    name: &str,
    node: &Node,
    model: &Node,
    loader: &Loader<'_>,
) -> Result<Service, BakeError> {
    if !matches!(node.value, Yaml::Map(_) | Yaml::Null) {
        return Err(node.fail(format!("service {name}: a mapping required")));
    }
    let names = |key: &str| match node.get(key).map(|node| &node.value) {
        Some(Yaml::List(nodes)) => nodes.iter().filter_map(Node::as_text).collect(),
        Some(Yaml::Map(pairs)) => pairs.iter().map(|(name, _)| name.clone()).collect(),
        _ => Vec::new(),
    };
    let target = match node.get("build") {
        Some(build) if !matches!(build.value, Yaml::Null) => {
            let environment = environment(node, loader)?;
            let lookup =
                |name: &str| environment.get(name).cloned().or_else(|| (loader.lookup)(name));
            Some(service::target(build, model.get("secrets"), &lookup)?)
        }
        _ => None,
    };
    if target.is_none() && node.get("image").is_none() && node.get("provider").is_none() {
        return Err(node.fail(format!("service {name} has neither an image nor a build")));
    }
    Ok(Service {
        name: name.to_owned(),
        target,
        image: node.get("image").and_then(Node::as_text).filter(|image| !image.is_empty()),
        profiles: names("profiles"),
        depends_on: names("depends_on"),
    })
}

/// Returns the environment of a service: that of its files, and its own over it.
fn environment(node: &Node, loader: &Loader<'_>) -> Result<BTreeMap<String, String>, BakeError> {
    let mut variables = BTreeMap::new();
    let entries = match node.get("env_file") {
        Some(Node { value: Yaml::List(nodes), .. }) => nodes.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    };
    for entry in entries {
        let (path, is_required) = match &entry.value {
            Yaml::Map(_) => {
                let required = entry.get("required").and_then(Node::as_text);
                (entry.get("path").and_then(Node::as_text), required.as_deref() != Some("false"))
            }
            _ => (entry.as_text(), true),
        };
        let path = path.ok_or_else(|| entry.fail("env_file: a path required"))?;
        let fail = |reason| BakeError::File { name: path.clone(), reason };
        match (loader.files)(&path).map_err(fail)? {
            Some(text) => variables.extend(dotenv::parse(&text, loader.lookup).map_err(fail)?),
            None if is_required => {
                return Err(entry.fail(format!("env_file: there is no file {path}")));
            }
            None => {}
        }
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

/// Makes targets of the services of compose files, and a group `default` of all of them. Profiles make
/// no difference.
pub(crate) fn targets(files: &[&File], given: &Given<'_>) -> Result<Config, BakeError> {
    let project = Project::read(files, given)?;
    let mut config = Config::default();
    let mut group = Group::default();
    let is_empty = project.services.is_empty();
    for service in project.services {
        let Some(mut target) = service.target else { continue };
        let name = service.name.replace('.', "_");
        check_name(&name, files)?;
        if target.tags.as_ref().is_none_or(Vec::is_empty) {
            target.tags = service.image.map(|image| vec![image]);
        }
        group.targets.push(name.clone());
        config.targets.push((name, target));
    }
    if !is_empty {
        config.groups.push(("default".to_owned(), group));
    }
    Ok(config)
}

fn check_name(name: &str, files: &[&File]) -> Result<(), BakeError> {
    if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        return Ok(());
    }
    let file = files.first().map_or("", |file| file.name.as_str());
    let place = Place::new(&std::sync::Arc::from(file), 1);
    Err(BakeError::invalid(
        &place,
        format!("the service {name} has no name that a target can have", name = quoted(&name)),
    ))
}
