//! Compose files: services with a `build` are targets.

mod dotenv;
mod include;
mod interpolate;
mod load;
mod lookup;
mod merge;
mod model;
mod name;
mod paths;
mod project;
mod service;
mod setting;
mod variables;
mod yaml;

use std::collections::BTreeMap;

use crate::config::{Config, File, Group};
use crate::error::BakeError;
use crate::given::Given;
use crate::place::Place;
pub use name::normal as normal_project_name;
pub use project::{Project, Service};
pub use setting::{Manner, ProjectName, Setting};
pub use variables::{VariableFile, add_variables};
use xbuild_wording::quoted;

/// Returns whether a file is a compose file: by its name, else by its text.
pub(crate) fn is_compose(name: &str, text: &str) -> bool {
    let name = name.to_lowercase();
    if name.ends_with(".yml") || name.ends_with(".yaml") {
        return true;
    }
    if name.ends_with(".json") || name.ends_with(".hcl") {
        return false;
    }
    let documents = yaml::documents(&std::sync::Arc::from(name.as_str()), text);
    documents.is_ok_and(|all| all.iter().any(|document| document.get("services").is_some()))
}

/// Makes targets of the services of compose files, and a group `default` of all of them. Profiles make
/// no difference.
pub(crate) fn targets(files: &[&File], given: &Given<'_>) -> Result<Config, BakeError> {
    let dotenv = VariableFile { path: ".env".to_owned(), is_required: false };
    let mut setting = Setting {
        manner: Manner::Bake,
        folder: String::new(),
        variables: BTreeMap::new(),
        // The name of the project, if nothing else gives one, as in buildx.
        name: ProjectName::Default("bake".to_owned()),
    };
    let mut warnings = add_variables(&mut setting.variables, &[dotenv], given)?;
    let project = Project::read(files, given, &setting)?;
    warnings.extend(project.warnings);
    let mut config = Config { warnings, ..Config::default() };
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

#[cfg(test)]
mod tests;
