//! Compose files to models: interpolated, with what they include and extend.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::include::Include;
use super::interpolate;
use super::lookup::{Lookup, Unset};
use super::merge::{canonical, merge};
use super::model::{all, by_name, services, services_mut};
use super::paths::{self, Base};
use super::variables::{self, Files};
use super::yaml::{self, Node, Yaml};
use crate::error::BakeError;
use crate::place::Place;

/// How many files may lead from one to the next.
const DEEPEST: usize = 16;

/// The most bytes that all files together have, each counted as often as it is read: 4096 files, or a
/// million nodes of services that extend others.
const LARGEST: usize = 64 << 20;

/// The cost of a file beside its bytes.
const FILE: usize = 16 << 10;

/// The cost of a copy of a node.
const NODE: usize = 64;

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

/// The state that all files of a project share.
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
            let all = by_name(&model);
            let mut known = BTreeMap::new();
            let mut extended = Vec::new();
            for (name, node) in services(&model) {
                extended.push(self.extended(&all, (name, node), seat, &mut known)?);
            }
            for ((_, own), extended) in services_mut(&mut model).iter_mut().zip(extended) {
                *own = extended;
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
        self.spend(text.len() + FILE, place)?;
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

    fn spend(&self, bytes: usize, place: &Place) -> Result<(), BakeError> {
        let left = self.shared.left.get().checked_sub(bytes);
        let reason = "what includes or extends others is too large together";
        self.shared.left.set(left.ok_or_else(|| BakeError::invalid(place, reason))?);
        Ok(())
    }

    /// Returns a service of a file with what it extends. `known` has the services that are worked out.
    fn extended(
        &self,
        services: &BTreeMap<&str, &Node>,
        (name, from): (&str, &Node),
        seat: Seat<'_>,
        known: &mut BTreeMap<String, Node>,
    ) -> Result<Node, BakeError> {
        let mut chain: Vec<(String, &Node)> = Vec::new();
        let mut seen = BTreeSet::new();
        let (mut next, mut from) = (name.to_owned(), from);
        let mut below = loop {
            if let Some(done) = known.get(&next) {
                break Some(done.clone());
            }
            let own = services.get(next.as_str());
            let own = *own.ok_or_else(|| from.fail(format!("there is no service {next}")))?;
            let extends = own.get("extends");
            if !seen.insert(next.clone()) {
                return Err(extends.unwrap_or(own).fail(format!("service {next} extends itself")));
            }
            chain.push((next, own));
            let Some(extends) = extends else { break None };
            let other =
                extends.as_text().or_else(|| extends.get("service").and_then(Node::as_text));
            let other = other.ok_or_else(|| extends.fail("extends: the service is missing"))?;
            if let Some(file) = extends.get("file").and_then(Node::as_text) {
                let file = self.base(seat.folder).path(&file);
                break Some(self.elsewhere(&file, &other, extends, seat.depth + 1)?);
            }
            (next, from) = (other, extends);
        };
        while let Some((name, own)) = chain.pop() {
            let mut own = own.clone();
            if let Yaml::Map(pairs) = &mut own.value {
                pairs.retain(|(name, _)| name != "extends");
            }
            let merged = match below.take() {
                Some(below) => {
                    self.spend(below.count().saturating_mul(NODE), &own.place)?;
                    merge(below, own.clone()).unwrap_or(own)
                }
                None => own,
            };
            known.insert(name, merged.clone());
            below = Some(merged);
        }
        below.ok_or_else(|| from.fail(format!("there is no service {name}")))
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
        let services = by_name(&model);
        if !services.contains_key(name) {
            return Err(missing());
        }
        self.extended(&services, (name, extends), seat, &mut BTreeMap::new())
    }
}
