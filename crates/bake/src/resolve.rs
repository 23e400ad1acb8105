//! The values of variables and the attributes of targets, each worked out when something needs it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use xbuild_wording::quoted;

use crate::convert::{self, Type};
use crate::definition::{Definition, Variable};
use crate::error::BakeError;
use crate::eval;
use crate::given::Given;
use crate::outside;
use crate::place::Place;
use crate::scope::{Function, Names, Scope, World};
use crate::similar::{similar, suggestion};
use crate::syntax::Block;
use crate::target::{ATTRIBUTES, Target};
use crate::value::Value;

/// The most work that a definition may be: less than a second, and some tens of megabytes.
const MOST_WORK: usize = 5_000_000;

/// How deep expressions, functions and variables may be inside of each other.
const DEEPEST: usize = 300;

/// How many expressions take as much of the stack as a variable or attribute beside its own expression.
const FRAMES: usize = 4;

/// A target of a block: the only one, or one for each combination of its matrix.
#[derive(Debug)]
pub(crate) struct Instance<'a> {
    pub(crate) name: String,
    pub(crate) block: &'a Block,
    /// The values of the matrix.
    pub(crate) locals: BTreeMap<String, Value>,
}

/// A definition at work.
pub(crate) struct Resolver<'a> {
    definition: &'a Definition,
    given: &'a Given<'a>,
    instances: Vec<Instance<'a>>,
    variables: RefCell<BTreeMap<String, Value>>,
    attributes: RefCell<BTreeMap<(usize, String), Value>>,
    /// The work that is left to do.
    budget: Cell<usize>,
    /// How many expressions are under way.
    depth: Cell<usize>,
    /// What is being worked out, to find what needs itself.
    under_way: RefCell<BTreeSet<String>>,
}

impl<'a> Resolver<'a> {
    /// Works out which targets there are.
    pub(crate) fn new(definition: &'a Definition, given: &'a Given<'a>) -> Result<Self, BakeError> {
        let mut resolver = Self {
            definition,
            given,
            instances: Vec::new(),
            variables: RefCell::default(),
            attributes: RefCell::default(),
            budget: Cell::new(MOST_WORK),
            depth: Cell::new(0),
            under_way: RefCell::default(),
        };
        let mut instances = Vec::new();
        for block in &definition.targets {
            instances.extend(resolver.instances_of(block)?);
        }
        resolver.instances = instances;
        Ok(resolver)
    }

    /// Returns the targets, in the order of the files.
    pub(crate) fn instances(&self) -> &[Instance<'a>] {
        &self.instances
    }

    fn instances_of(&self, block: &'a Block) -> Result<Vec<Instance<'a>>, BakeError> {
        let label = &block.labels[0];
        check_name(label, &block.place)?;
        let name = block.body.attribute("name");
        let Some(matrix) = block.body.attribute("matrix") else {
            return match name {
                Some(name) => Err(BakeError::invalid(&name.place, "name is only for a matrix")),
                None => {
                    let locals = BTreeMap::new();
                    Ok(vec![Instance { name: label.clone(), block, locals }])
                }
            };
        };
        let global = Scope::of(self);
        let Value::Map(axes) = eval::value(matrix, &global)? else {
            return Err(BakeError::invalid(&matrix.place, "the matrix is an object of lists"));
        };
        let mut instances: Vec<Instance<'_>> = Vec::new();
        for locals in
            combinations(axes).map_err(|reason| BakeError::invalid(&matrix.place, reason))?
        {
            let own = match name {
                Some(name) => {
                    let value = eval::value(name, &global.with(&locals))?;
                    let fail =
                        || BakeError::invalid(&name.place, "the name of a target is a string");
                    value.as_text().ok_or_else(fail)?
                }
                None => label.clone(),
            };
            check_name(&own, &block.place)?;
            if instances.iter().any(|other| other.name == own) {
                let reason =
                    format!("two targets of the matrix have the name {own}", own = quoted(&own));
                return Err(BakeError::invalid(&block.place, reason));
            }
            instances.push(Instance { name: own, block, locals });
        }
        Ok(instances)
    }

    /// Returns a target with the attributes of its own block alone.
    pub(crate) fn target(&self, at: usize) -> Result<Target, BakeError> {
        let mut target = Target::default();
        let block = self.instances[at].block;
        if let Some(inner) = block.body.blocks.first() {
            let reason = format!(
                "a target has no blocks {}; an attribute is {} = ..",
                quoted(&inner.kind),
                inner.kind
            );
            return Err(BakeError::invalid(&inner.place, reason));
        }
        for attribute in &block.body.attributes {
            let (name, place) = (attribute.name.as_str(), &attribute.value.place);
            if matches!(name, "matrix" | "name") {
                continue;
            }
            if name == "policy" {
                return Err(BakeError::invalid(
                    place,
                    "policy: policies in Rego are not implemented",
                ));
            }
            if !ATTRIBUTES.contains(&name) {
                let near = similar(name, ATTRIBUTES.iter().copied());
                let end = suggestion(near.as_deref());
                let reason = format!("a target has no attribute {name}{end}");
                return Err(BakeError::invalid(place, reason));
            }
            let value = self.raw(at, name, place)?;
            let set = target.set(name, value);
            set.map_err(|reason| BakeError::invalid(place, format!("{name}: {reason}")))?;
        }
        Ok(target)
    }

    /// Returns the value of an attribute of a target's block, before it is given the attribute's type.
    fn raw(&self, at: usize, name: &str, place: &Place) -> Result<Value, BakeError> {
        let key = (at, name.to_owned());
        if let Some(value) = self.attributes.borrow().get(&key) {
            return Ok(value.clone());
        }
        let instance = &self.instances[at];
        let Some(expr) = instance.block.body.attribute(name) else { return Ok(Value::Null) };
        let what = format!("target.{}.{name}", instance.name);
        let value =
            self.once(&what, place, || eval::value(expr, &Scope::of(self).with(&instance.locals)))?;
        self.attributes.borrow_mut().insert(key, value.clone());
        Ok(value)
    }

    /// Returns the targets of a group.
    pub(crate) fn group(&self, block: &Block) -> Result<(String, Vec<String>), BakeError> {
        let mut group = (String::new(), Vec::new());
        for attribute in &block.body.attributes {
            let place = &attribute.value.place;
            let value = eval::value(&attribute.value, &Scope::of(self))?;
            let fail =
                |reason: &str| BakeError::invalid(place, format!("{}: {reason}", attribute.name));
            match attribute.name.as_str() {
                "description" => group.0 = value.as_text().unwrap_or_default(),
                "targets" => {
                    let names = value.as_elements().ok_or_else(|| fail("a list required"))?;
                    let names = names.iter().map(Value::as_text).collect::<Option<_>>();
                    group.1 = names.ok_or_else(|| fail("a list of strings required"))?;
                }
                "matrix" | "name" => return Err(fail("only targets have this, no groups")),
                _ => {
                    return Err(fail(
                        "a group has no such attribute: expected targets or description",
                    ));
                }
            }
        }
        match block.body.attribute("targets") {
            Some(_) => Ok(group),
            None => {
                Err(BakeError::invalid(&block.place, "a group has targets: targets = [\"NAME\"]"))
            }
        }
    }

    /// Works something out, unless that is under way already.
    fn once(
        &self,
        what: &str,
        place: &Place,
        work: impl FnOnce() -> Result<Value, BakeError>,
    ) -> Result<Value, BakeError> {
        if !self.under_way.borrow_mut().insert(what.to_owned()) {
            return Err(BakeError::invalid(place, format!("{what} needs itself")));
        }
        self.depth.set(self.depth.get() + FRAMES);
        let result = work();
        self.depth.set(self.depth.get().saturating_sub(FRAMES));
        self.under_way.borrow_mut().remove(what);
        result
    }

    fn work_out(&self, name: &str, variable: &Variable) -> Result<Value, BakeError> {
        let default = match &variable.default {
            Some(expr) => {
                let value = eval::value(expr, &Scope::of(self))?;
                let wanted = variable.wanted.as_ref().unwrap_or(&Type::Any);
                let fail =
                    |reason| BakeError::invalid(&expr.place, format!("variable {name}: {reason}"));
                Some(convert::convert(value, wanted).map_err(fail)?)
            }
            None => None,
        };
        let is_defined = |name: &str| {
            self.definition.variables.contains_key(name) || self.given.built_in.contains_key(name)
        };
        let outside = outside::find(name, self.given, variable.wanted.is_some(), is_defined);
        match (outside, default) {
            (Some(found), default) => {
                let value = outside::value(&found, default.as_ref(), variable.wanted.as_ref());
                value.map_err(|reason| BakeError::Variable {
                    place: variable.place.clone(),
                    name: name.to_owned(),
                    origin: found.origin,
                    reason,
                })
            }
            (None, Some(default)) => Ok(default),
            (None, None) if variable.wanted.is_some() => Ok(Value::Null),
            (None, None) => Ok(Value::text("")),
        }
    }

    /// Checks the conditions that variables have.
    pub(crate) fn validate(&self) -> Result<(), BakeError> {
        for (name, variable) in &self.definition.variables {
            for validation in &variable.validations {
                let scope = Scope::of(self);
                let place = &validation.condition.place;
                let met = eval::value(&validation.condition, &scope)?;
                let fail = || BakeError::invalid(place, "the condition is neither true nor false");
                if !met.as_bool().ok_or_else(fail)? {
                    let message = eval::value(&validation.message, &scope)?.as_text();
                    return Err(BakeError::Validation {
                        place: place.clone(),
                        name: name.clone(),
                        message: message.unwrap_or_else(|| "the condition is not met".to_owned()),
                    });
                }
            }
        }
        Ok(())
    }
}

impl Names for Resolver<'_> {
    fn variable(&self, name: &str, place: &Place) -> Result<Option<Value>, BakeError> {
        if let Some(value) = self.given.built_in.get(name) {
            return Ok(Some(Value::text(value.as_str())));
        }
        if let Some(value) = self.variables.borrow().get(name) {
            return Ok(Some(value.clone()));
        }
        let what = format!("variable {name}");
        let value =
            match (self.definition.attributes.get(name), self.definition.variables.get(name)) {
                (Some(expr), _) => {
                    self.once(&what, place, || eval::value(expr, &Scope::of(self)))?
                }
                (None, Some(variable)) => {
                    self.once(&what, place, || self.work_out(name, variable))?
                }
                (None, None) => return Ok(None),
            };
        self.variables.borrow_mut().insert(name.to_owned(), value.clone());
        Ok(Some(value))
    }

    fn attribute(
        &self,
        kind: &str,
        block: &str,
        attribute: Option<&str>,
        place: &Place,
    ) -> Result<Option<Value>, BakeError> {
        let fail = |reason: String| Err(BakeError::invalid(place, reason));
        match (kind, attribute) {
            ("target" | "group", None) => {
                fail(format!("{kind} is no variable: {kind}.NAME.ATTRIBUTE is one"))
            }
            ("target", Some(name)) => {
                let Some(at) = self.instances.iter().rposition(|other| other.name == block) else {
                    return fail(format!("there is no target {block}"));
                };
                if name == "name" {
                    return Ok(Some(Value::text(block)));
                }
                let value = self.raw(at, name, place)?;
                let mut target = Target::default();
                let is_given = value != Value::Null;
                if let Err(reason) = target.set(name, value.clone()) {
                    return fail(format!("target.{block}.{name}: {reason}"));
                }
                let typed = target.attribute(name);
                // What is empty is not written.
                Ok(Some(if is_given && typed == Value::Null { value } else { typed }))
            }
            ("group", Some("targets")) => {
                let found = self.definition.groups.iter().rfind(|other| other.labels[0] == block);
                match found {
                    Some(found) => Ok(Some(Value::texts(self.group(found)?.1))),
                    None => fail(format!("there is no group {block}")),
                }
            }
            ("group", Some(name)) => fail(format!("a group has no attribute {name}")),
            _ => Ok(None),
        }
    }

    fn function(&self, name: &str) -> Option<&Function> {
        self.definition.functions.get(name)
    }

    fn similar(&self, name: &str) -> Option<String> {
        let known = self.definition.variables.keys().chain(self.definition.attributes.keys());
        similar(name, known.chain(self.given.built_in.keys()).map(String::as_str))
    }

    fn world(&self) -> &World {
        &self.given.world
    }

    fn spend(&self, units: usize) -> bool {
        let left = self.budget.get().checked_sub(units);
        self.budget.set(left.unwrap_or(0));
        left.is_some()
    }

    fn begin(&self) -> bool {
        self.depth.set(self.depth.get() + 1);
        self.depth.get() <= DEEPEST
    }

    fn end(&self) {
        self.depth.set(self.depth.get().saturating_sub(1));
    }
}

/// Fails unless a text can be the name of a target.
fn check_name(name: &str, place: &Place) -> Result<(), BakeError> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match !name.is_empty() && name.chars().all(is_good) {
        true => Ok(()),
        false => {
            let reason = format!(
                "{name} is no name of a target: only letters, digits, _ and - are in it",
                name = quoted(&name)
            );
            Err(BakeError::invalid(place, reason))
        }
    }
}

/// The most targets of a matrix.
const LARGEST: usize = 10_000;

/// Returns all combinations of the values of a matrix.
fn combinations(axes: BTreeMap<String, Value>) -> Result<Vec<BTreeMap<String, Value>>, String> {
    let mut all = vec![BTreeMap::new()];
    for (name, values) in axes {
        let values: Vec<Value> = match values {
            Value::List(values) | Value::Set(values) => values,
            Value::Map(values) => values.into_values().collect(),
            other => return Err(format!("{name}: a list required, found {}", other.kind())),
        };
        if all.len().saturating_mul(values.len()) > LARGEST {
            return Err(format!("the matrix has more than {LARGEST} combinations"));
        }
        let longer = values.iter().flat_map(|value| {
            all.iter().map(|start| {
                let mut longer = start.clone();
                longer.insert(name.clone(), value.clone());
                longer
            })
        });
        all = longer.collect();
    }
    Ok(all)
}
