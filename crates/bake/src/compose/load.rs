//! Compose files to one model: interpolated, merged, with what they include and extend.

use std::sync::Arc;

use super::interpolate::{self, Lookup};
use super::merge::{canonical, merge};
use super::yaml::{self, Mark, Node, Yaml};
use crate::error::BakeError;
use crate::functions::clean;
use crate::local::is_local;
use crate::place::Place;

/// How many files may lead from one to the next.
const DEEPEST: usize = 16;

/// Returns the text of a file; the error says why it cannot be read.
pub(crate) type Files<'a> = dyn Fn(&str) -> Result<Option<String>, String> + 'a;

/// The means to read files.
#[derive(Clone, Copy)]
pub(crate) struct Loader<'a> {
    pub(crate) lookup: &'a Lookup<'a>,
    pub(crate) files: &'a Files<'a>,
}

impl Loader<'_> {
    /// Reads a file with all that it includes; services are in the form in which they are merged, with
    /// what they extend.
    pub(crate) fn file(&self, name: &str, text: &str, depth: usize) -> Result<Node, BakeError> {
        let file: Arc<str> = Arc::from(name);
        let mut model = yaml::read(&file, text)?;
        if let Yaml::Null = model.value {
            model.value = Yaml::Map(Vec::new());
        }
        if !matches!(model.value, Yaml::Map(_)) {
            return Err(model.fail("a compose file is a mapping with services"));
        }
        if depth > DEEPEST {
            return Err(model.fail("files include or extend each other too often"));
        }
        interpolate::interpolate(&mut model, self.lookup)?;
        for service in services_mut(&mut model) {
            canonical(&mut service.1);
        }
        let names: Vec<String> = services(&model).iter().map(|(name, _)| name.clone()).collect();
        for name in names {
            let service = self.extended(&model, &name, depth, &mut Vec::new())?;
            if let Some((_, known)) = services_mut(&mut model).iter_mut().find(|(n, _)| *n == name)
            {
                *known = service;
            }
        }
        self.included(model, depth)
    }

    /// Reads a file that another one names.
    fn other(&self, name: &str, place: &Place, depth: usize) -> Result<Node, BakeError> {
        let text = (self.files)(name)
            .map_err(|reason| BakeError::File { name: name.to_owned(), reason })?;
        let missing = || BakeError::invalid(place, format!("there is no file {name}"));
        let model = self.file(name, &text.ok_or_else(missing)?, depth + 1)?;
        Ok(rebased(model, name))
    }

    fn included(&self, model: Node, depth: usize) -> Result<Node, BakeError> {
        let Some(include) = model.get("include").cloned() else { return Ok(model) };
        let Yaml::List(entries) = &include.value else {
            return Err(include.fail("include: a list of files required"));
        };
        let mut all = model.like(Yaml::Map(Vec::new()));
        for entry in entries {
            let path = match &entry.value {
                Yaml::Map(pairs) => {
                    if let Some((name, node)) = pairs.iter().find(|(name, _)| name != "path") {
                        let reason = format!("include: {name} is not implemented, only path is");
                        return Err(node.fail(reason));
                    }
                    entry.get("path").ok_or_else(|| entry.fail("include: path is missing"))?
                }
                _ => entry,
            };
            let paths = match &path.value {
                Yaml::List(paths) => paths.clone(),
                _ => vec![path.clone()],
            };
            for path in paths {
                let name =
                    path.as_text().ok_or_else(|| path.fail("include: a path is a string"))?;
                let name = beside(&path.place.file, &name);
                let included = self.other(&name, &path.place, depth)?;
                all = merge(all, included).unwrap_or(include.clone());
            }
        }
        Ok(merge(all, model).unwrap_or(include))
    }

    /// Returns a service with what it extends.
    fn extended(
        &self,
        model: &Node,
        name: &str,
        depth: usize,
        path: &mut Vec<String>,
    ) -> Result<Node, BakeError> {
        let own = services(model).iter().find(|(known, _)| known == name);
        let (_, own) = own.ok_or_else(|| model.fail(format!("there is no service {name}")))?;
        let Some(extends) = own.get("extends") else { return Ok(own.clone()) };
        if path.iter().any(|above| above == name) {
            return Err(extends.fail(format!("service {name} extends itself")));
        }
        path.push(name.to_owned());
        let other = match extends.as_text() {
            Some(other) => Some(other),
            None => extends.get("service").and_then(Node::as_text),
        };
        let other = other.ok_or_else(|| extends.fail("extends: the service is missing"))?;
        let base = match extends.get("file").and_then(Node::as_text) {
            Some(file) => {
                let file = beside(&extends.place.file, &file);
                let model = self.other(&file, &extends.place, depth)?;
                let found = services(&model).iter().find(|(known, _)| *known == other);
                let missing = || extends.fail(format!("{file} has no service {other}"));
                found.ok_or_else(missing)?.1.clone()
            }
            None => self.extended(model, &other, depth, path)?,
        };
        path.pop();
        let mut own = own.clone();
        if let Yaml::Map(pairs) = &mut own.value {
            pairs.retain(|(name, _)| name != "extends");
        }
        Ok(merge(base, own.clone()).unwrap_or(own))
    }
}

/// Returns the services of a model.
pub(crate) fn services(model: &Node) -> &[(String, Node)] {
    match model.get("services").map(|node| &node.value) {
        Some(Yaml::Map(pairs)) => pairs,
        _ => &[],
    }
}

fn services_mut(model: &mut Node) -> &mut [(String, Node)] {
    let Yaml::Map(pairs) = &mut model.value else { return &mut [] };
    match pairs.iter_mut().find(|(name, _)| name == "services") {
        Some((_, Node { value: Yaml::Map(services), .. })) => services,
        _ => &mut [],
    }
}

/// Returns a path of a file as seen from where the file is seen from.
fn beside(file: &str, path: &str) -> String {
    match (path.starts_with('/'), file.rfind('/')) {
        (false, Some(end)) => clean(&format!("{}/{path}", &file[..end])),
        _ => clean(path),
    }
}

/// Makes the local paths of a model, which are beside its file, paths as seen from the first file.
fn rebased(mut model: Node, file: &str) -> Node {
    for (_, service) in services_mut(&mut model) {
        let Yaml::Map(pairs) = &mut service.value else { continue };
        let build = pairs.iter_mut().find(|(name, _)| name == "build");
        let Some((_, Node { value: Yaml::Map(build), .. })) = build else { continue };
        for (name, node) in build {
            match (name.as_str(), &mut node.value) {
                ("context", Yaml::String(path)) if is_local(path) => *path = beside(file, path),
                ("additional_contexts", Yaml::Map(contexts)) => {
                    for (_, node) in contexts {
                        if let Yaml::String(path) = &mut node.value
                            && is_local(path)
                        {
                            *path = beside(file, path);
                        }
                    }
                }
                _ => {}
            }
        }
    }
    let Yaml::Map(pairs) = &mut model.value else { return model };
    let secrets = pairs.iter_mut().find(|(name, _)| name == "secrets");
    if let Some((_, Node { value: Yaml::Map(secrets), .. })) = secrets {
        for (_, secret) in secrets {
            let Yaml::Map(pairs) = &mut secret.value else { continue };
            if let Some((_, Node { value: Yaml::String(path), .. })) =
                pairs.iter_mut().find(|(name, _)| name == "file")
            {
                *path = beside(file, path);
            }
        }
    }
    model
}

/// Merges files: later ones over earlier ones.
pub(crate) fn all(files: Vec<Node>) -> Option<Node> {
    files.into_iter().reduce(|earlier, later| {
        let place = later.place.clone();
        let nothing = Node { value: Yaml::Map(Vec::new()), place, mark: Mark::None };
        merge(earlier, later).unwrap_or(nothing)
    })
}
