//! Files to groups and targets.

use std::collections::BTreeMap;

use crate::compose;
use crate::config::{Config, File, Group, VariableInfo, once};
use crate::definition::{self, Definition};
use crate::error::BakeError;
use crate::given::Given;
use crate::resolve::Resolver;
use crate::scope::Names as _;
use crate::value::Value;

impl Config {
    /// Reads files: compose files first, then those in the forms of HCL, in the order given.
    ///
    /// **Errors** — the first thing that is wrong; nothing is half read.
    pub fn read(files: &[File], given: &Given<'_>) -> Result<Self, BakeError> {
        let mut config = Self::default();
        let (compose, other): (Vec<&File>, Vec<&File>) =
            files.iter().partition(|file| compose::is_compose(&file.name, &file.text));
        if !compose.is_empty() {
            config = compose::targets(&compose, given)?;
        }
        let mut definition = Definition::default();
        for file in other {
            definition::read(&mut definition, &file.name, &file.text)?;
        }
        config.add(&definition, given)?;
        Ok(config)
    }

    fn add(&mut self, definition: &Definition, given: &Given<'_>) -> Result<(), BakeError> {
        let resolver = Resolver::new(definition, given)?;
        for (name, variable) in &definition.variables {
            let value = resolver.variable(name, &variable.place)?.unwrap_or(Value::Null);
            self.variables.push(VariableInfo {
                name: name.clone(),
                description: variable.description.clone(),
                kind: variable.wanted.as_ref().map(ToString::to_string).unwrap_or_default(),
                value: match value {
                    Value::Null => None,
                    value => Some(value.as_text().unwrap_or_else(|| value.to_json().to_string())),
                },
            });
        }
        resolver.validate()?;
        for block in &definition.groups {
            let (description, targets) = resolver.group(block)?;
            let (name, group) = (&block.labels[0], Group { description, targets: once(targets) });
            match self.groups.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => *known = group,
                None => self.groups.push((name.clone(), group)),
            }
        }
        let mut matrices: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (at, instance) in resolver.instances().iter().enumerate() {
            let target = resolver.target(at)?;
            match self.targets.iter_mut().find(|(known, _)| *known == instance.name) {
                Some((_, known)) => known.merge(&target),
                None => self.targets.push((instance.name.clone(), target)),
            }
            let label = instance.block.labels[0].as_str();
            matrices.entry(label).or_default().push(instance.name.clone());
        }
        for (label, names) in matrices {
            let names = once(names);
            if names[..] != [label.to_owned()] {
                let group = Group { description: String::new(), targets: names };
                self.groups.push((label.to_owned(), group));
            }
        }
        for (name, expr) in &definition.attributes {
            resolver.variable(name, &expr.place)?;
        }
        Ok(())
    }
}
