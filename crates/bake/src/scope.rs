//! The names that an expression sees.

use std::collections::BTreeMap;

use crate::error::BakeError;
use crate::place::Place;
use crate::syntax::Expr;
use crate::value::Value;

/// The names of a whole definition, each worked out when it is asked for.
pub(crate) trait Names {
    /// Returns the value of a variable; `None` if there is none of that name.
    fn variable(&self, name: &str, place: &Place) -> Result<Option<Value>, BakeError>;

    /// Returns an attribute of a target or group, such as `target.app.tags`; `None` if `kind` is no
    /// kind of blocks.
    fn attribute(
        &self,
        kind: &str,
        block: &str,
        attribute: Option<&str>,
        place: &Place,
    ) -> Result<Option<Value>, BakeError>;

    /// Returns a function of the definition.
    fn function(&self, name: &str) -> Option<&Function>;

    /// Returns the names of variables that are like one that is not there.
    fn similar(&self, name: &str) -> Option<String>;

    /// Returns what functions see of the world.
    fn world(&self) -> &World;

    /// Counts work: expressions, and the parts of values that are copied. Returns whether the definition
    /// may go on.
    fn spend(&self, units: usize) -> bool;

    /// Begins an expression that is inside of all those that have begun and not ended, be it by way of
    /// variables and functions. Returns whether it may be evaluated.
    fn begin(&self) -> bool;

    /// Ends the expression that began last.
    fn end(&self);
}

/// A function of a definition.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    /// The names of its parameters.
    pub(crate) params: Vec<String>,
    /// The name of the list of further arguments.
    pub(crate) variadic: Option<String>,
    /// Its result.
    pub(crate) result: Expr,
}

/// What functions see of the world.
#[derive(Debug, Clone)]
pub struct World {
    /// The time, in seconds since 1970.
    pub now: i64,
    /// The home folder of the user.
    pub home: String,
    /// 16 random bytes at each call.
    pub random: fn() -> [u8; 16],
}

/// The names around an expression: those of the definition, and of what the expression is inside of.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) names: &'a dyn Names,
    /// The local names, over those of `outer`.
    pub(crate) locals: Option<&'a BTreeMap<String, Value>>,
    pub(crate) outer: Option<&'a Scope<'a>>,
}

impl<'a> Scope<'a> {
    /// Returns the scope of a definition.
    pub(crate) fn of(names: &'a dyn Names) -> Self {
        Self { names, locals: None, outer: None }
    }

    /// Returns a scope with further names.
    pub(crate) fn with(&'a self, locals: &'a BTreeMap<String, Value>) -> Self {
        Self { names: self.names, locals: Some(locals), outer: Some(self) }
    }

    /// Returns a local name's value.
    pub(crate) fn local(&self, name: &str) -> Option<&'a Value> {
        let own = self.locals.and_then(|locals| locals.get(name));
        own.or_else(|| self.outer.and_then(|outer| outer.local(name)))
    }
}
