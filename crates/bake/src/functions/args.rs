//! The arguments of a function.

use crate::number;
use crate::scope::World;
use crate::unify::unify;
use crate::value::Value;

/// A function.
pub(super) type Native = fn(&Args<'_>) -> Result<Value, String>;

/// The most bytes of a result whose size is a product.
const LARGEST: usize = 10_000_000;

/// The arguments of a call.
pub(super) struct Args<'a> {
    pub(super) values: &'a [Value],
    pub(super) world: &'a World,
}

impl<'a> Args<'a> {
    /// Fails unless there are that many arguments.
    pub(super) fn count(&self, count: usize) -> Result<(), String> {
        match self.values.len() == count {
            true => Ok(()),
            false => Err(format!("expected {count} arguments, found {}", self.values.len())),
        }
    }

    /// Returns an argument of any type.
    pub(super) fn any(&self, at: usize) -> Result<&'a Value, String> {
        let missing = || format!("argument {} is missing", at + 1);
        self.values.get(at).ok_or_else(missing)
    }

    fn wrong(&self, at: usize, expected: &str) -> String {
        let found = self.values.get(at).map_or("nothing", Value::kind);
        format!("argument {}: expected {expected}, found {found}", at + 1)
    }

    /// Returns an argument that is a string, or converts to one.
    pub(super) fn text(&self, at: usize) -> Result<String, String> {
        self.any(at)?.as_text().ok_or_else(|| self.wrong(at, "a string"))
    }

    /// Returns an argument that is a number, or converts to one.
    pub(super) fn number(&self, at: usize) -> Result<f64, String> {
        self.any(at)?.as_number().ok_or_else(|| self.wrong(at, "a number"))
    }

    /// Returns an argument that is an integer.
    pub(super) fn integer(&self, at: usize) -> Result<i64, String> {
        number::integer(self.number(at)?).ok_or_else(|| self.wrong(at, "an integer"))
    }

    /// Returns an argument that is a number of elements.
    pub(super) fn length(&self, at: usize) -> Result<usize, String> {
        usize::try_from(self.integer(at)?)
            .map_err(|_| self.wrong(at, "a number that is not negative"))
    }

    /// Returns an argument that is a bool.
    pub(super) fn truth(&self, at: usize) -> Result<bool, String> {
        self.any(at)?.as_bool().ok_or_else(|| self.wrong(at, "a bool"))
    }

    /// Returns the elements of an argument that is a list or set.
    pub(super) fn elements(&self, at: usize) -> Result<&'a [Value], String> {
        self.any(at)?.as_elements().ok_or_else(|| self.wrong(at, "a list"))
    }

    /// Returns an argument that is a map or object.
    pub(super) fn map(
        &self,
        at: usize,
    ) -> Result<&'a std::collections::BTreeMap<String, Value>, String> {
        match self.any(at)? {
            Value::Map(values) => Ok(values),
            _ => Err(self.wrong(at, "an object")),
        }
    }

    /// Returns the elements of an argument that is a list or set of values of one type.
    pub(super) fn even(&self, at: usize) -> Result<Vec<Value>, String> {
        let unified = unify(self.elements(at)?.to_vec());
        unified.ok_or_else(|| format!("argument {}: the elements have no type in common", at + 1))
    }

    /// Returns the elements of an argument that is a list of strings.
    pub(super) fn texts(&self, at: usize) -> Result<Vec<String>, String> {
        let texts = self.elements(at)?.iter().map(Value::as_text);
        texts.collect::<Option<_>>().ok_or_else(|| self.wrong(at, "a list of strings"))
    }

    /// Fails if a result would have too many bytes.
    pub(super) fn within(&self, bytes: usize) -> Result<(), String> {
        match bytes <= LARGEST {
            true => Ok(()),
            false => Err("the result is too large".to_owned()),
        }
    }

    /// Returns all arguments as numbers, at least one.
    pub(super) fn numbers(&self) -> Result<Vec<f64>, String> {
        if self.values.is_empty() {
            return Err("expected at least one argument".to_owned());
        }
        (0..self.values.len()).map(|at| self.number(at)).collect()
    }
}
