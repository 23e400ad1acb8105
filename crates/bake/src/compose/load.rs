//! Compose files to models: interpolated, with what they include and extend.

use std::cell::Cell;
use std::sync::Arc;

use super::include::Include;
use super::interpolate;
use super::merge::{canonical, merge};
use super::model::{all, services, services_mut};
use super::paths::{self, Base};
use super::variables::{self, Files, Lookup, Unset};
use super::yaml::{self, Node, Yaml};
use crate::error::BakeError;
use crate::place::Place;

/// How many files may lead from one to the next.
const DEEPEST: usize = 16;

/// The most bytes that all files together have, each counted as often as it is read.
const LARGEST: usize = 64 << 20;

/// What reading a file costs beside its bytes.
const COST: usize = 1 << 10;

/// The parts of a model that who includes it sees.
const SEEN: &[&str] = &["services", "secrets"];

/// The means to read files.
#[derive(Clone, Copy)]
pub(crate) struct Loader<'a> {
    pub(crate) lookup: &'a Lookup<'a>,
    pub(crate) files: &'a Files<'a>,
    pub(crate) home: &'a str,
    pub(crate) shared: &'a Shared,
}

/// What all files of a project share.
pub(crate) struct Shared {
    pub(crate) unset: Unset,
    /// How much may still be read.
    left: Cell<usize>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { unset: Unset::default(), left: Cell::new(LARGEST) }
    }
}

/// Where a file is read.
#[derive(Clone, Copy)]
pub(crate) struct Seat<'a> {
    /// The folder that its paths are seen from.
    pub(crate) folder: &'a str,
    /// How many files led to it.
    pub(crate) depth: usize,
}

impl Loader<'_> {
    fn base<'b>(&'b self, folder: &'b str) -> Base<'b> {
        Base { folder, home: self.home }
    }

    /// Returns the models of documents, with what they include and extend.
    pub(crate) fn models(
        &self,
        documents: Vec<Node>,
        seat: Seat<'_>,
    ) -> Result<Vec<Node>, BakeError> {
        let models = documents.into_iter().map(|document| {
            let mut model = self.prepared(document, seat)?;
            let names = services(&model).iter().map(|(name, _)| name.clone());
            for name in names.collect::<Vec<_>>() {
                let service = self.extended(&model, &name, seat, &mut Vec::new())?;
                let mut all = services_mut(&mut model).iter_mut();
                if let Some((_, known)) = all.find(|(known, _)| *known == name) {
                    *known = service;
                }
            }
            self.with_included(model, seat)
        });
        models.collect()
    }

    /// Interpolates a document; its services get the form in which they are merged, and its paths the
    /// place that they have for the current folder.
    fn prepared(&self, mut model: Node, seat: Seat<'_>) -> Result<Node, BakeError> {
        if let Yaml::Null = model.value {
            model.value = Yaml::Map(Vec::new());
        }
        if !matches!(model.value, Yaml::Map(_)) {
            return Err(model.fail("a compose file is a mapping with services"));
        }
        if seat.depth > DEEPEST {
            return Err(model.fail("files include or extend each other too often"));
        }
        interpolate::interpolate(&mut model, self.lookup, &self.shared.unset)?;
        for service in services_mut(&mut model) {
            canonical(&mut service.1);
        }
        self.base(seat.folder).place(&mut model);
        Ok(model)
    }

    /// Returns the text of a file, if it is there.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, BakeError> {
        (self.files)(name).map_err(|reason| BakeError::File { name: name.to_owned(), reason })
    }

    /// Reads a file that another one names.
    fn documents(&self, name: &str, place: &Place) -> Result<Vec<Node>, BakeError> {
        let text = self.read(name)?;
        let missing = || BakeError::invalid(place, format!("there is no file {name}"));
        let text = text.ok_or_else(missing)?;
        let left = self.shared.left.get().checked_sub(text.len() + COST);
        let reason = "the files that include or extend each other are too large together";
        self.shared.left.set(left.ok_or_else(|| BakeError::invalid(place, reason))?);
        yaml::documents(&Arc::from(name), &text)
    }

    /// Returns a model with all that it includes below it.
    fn with_included(&self, model: Node, seat: Seat<'_>) -> Result<Node, BakeError> {
        let Some(include) = model.get("include").cloned() else { return Ok(model) };
        let Yaml::List(entries) = &include.value else {
            return Err(include.fail("include: a list of files required"));
        };
        let mut below = model.like(Yaml::Map(Vec::new()));
        for entry in entries {
            let included = self.included(entry, seat)?;
            below = merge(below, included).unwrap_or(include.clone());
        }
        Ok(merge(below, model).unwrap_or(include))
    }

    /// Reads the files of one entry: a project of its own, with its own folder and variables.
    fn included(&self, entry: &Node, seat: Seat<'_>) -> Result<Node, BakeError> {
        let Include { files, folder, variables } = Include::read(entry, &self.base(seat.folder))?;
        let own = variables::read(&variables, self.files, self.lookup, &self.shared.unset)?;
        let lookup = |name: &str| (self.lookup)(name).or_else(|| own.get(name).cloned());
        let inner = Loader { lookup: &lookup, ..*self };
        let mut documents = Vec::new();
        for file in &files {
            documents.extend(inner.documents(file, &entry.place)?);
        }
        let inside = Seat { folder: &folder, depth: seat.depth + 1 };
        let models = inner.models(documents, inside)?;
        let mut model = all(models).unwrap_or_else(|| entry.like(Yaml::Map(Vec::new())));
        self.base(&folder).default_contexts(&mut model);
        if let Yaml::Map(pairs) = &mut model.value {
            pairs.retain(|(name, _)| SEEN.contains(&name.as_str()));
        }
        Ok(model)
    }

    /// Returns a service with what it extends.
    fn extended(
        &self,
        model: &Node,
        name: &str,
        seat: Seat<'_>,
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
        let below = match extends.get("file").and_then(Node::as_text) {
            Some(file) => {
                let file = self.base(seat.folder).path(&file);
                self.elsewhere(&file, &other, extends, seat.depth + 1)?
            }
            None => self.extended(model, &other, seat, path)?,
        };
        path.pop();
        let mut own = own.clone();
        if let Yaml::Map(pairs) = &mut own.value {
            pairs.retain(|(name, _)| name != "extends");
        }
        Ok(merge(below, own.clone()).unwrap_or(own))
    }

    /// Returns the service of another file that one extends. The other services of that file make no
    /// difference.
    fn elsewhere(
        &self,
        file: &str,
        name: &str,
        extends: &Node,
        depth: usize,
    ) -> Result<Node, BakeError> {
        let seat = Seat { folder: paths::folder(file), depth };
        let documents = self.documents(file, &extends.place)?.into_iter();
        let models = documents.map(|document| self.prepared(document, seat));
        let missing = || extends.fail(format!("{file} has no service {name}"));
        let model = all(models.collect::<Result<_, _>>()?).ok_or_else(missing)?;
        let model = match model.get("include") {
            Some(_) => self.with_included(model, seat)?,
            None => model,
        };
        if services(&model).iter().all(|(known, _)| known != name) {
            return Err(missing());
        }
        self.extended(&model, name, seat, &mut Vec::new())
    }
}
