//! The variables that files see, and those that they miss.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::place::Place;

/// Returns the value of a variable.
pub(crate) type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The variables that are used but not set, each with the first place of its use.
#[derive(Debug, Default)]
pub(crate) struct Unset(RefCell<BTreeMap<String, Place>>);

impl Unset {
    /// Notes a variable.
    pub(crate) fn note(&self, name: &str, place: &Place) {
        self.0.borrow_mut().entry(name.to_owned()).or_insert_with(|| place.clone());
    }

    /// Returns a warning for each variable.
    pub(crate) fn warnings(self) -> Vec<String> {
        let each = self.0.into_inner().into_iter();
        each.map(|(name, place)| {
            format!("{place}: variable {name} is not set, so it is empty; ${{{name}:-}} says so")
        })
        .collect()
    }
}
