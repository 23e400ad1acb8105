//! Values of variables that come from the environment or the command line.
//!
//! **Source** — buildx `docs/bake-reference.md` § Overriding variables.

use std::collections::BTreeMap;

use xbuild_wording::quoted;

use crate::convert::{self, Type};
use crate::entries::{bool_like, fields};
use crate::given::Given;
use crate::number;
use crate::value::Value;

/// A text from outside.
pub(crate) struct Outside {
    text: String,
    is_json: bool,
    /// Where it comes from.
    pub(crate) origin: String,
    /// The name of the variable that would have it as JSON.
    json_name: String,
}

/// Finds the text for a variable: that of its name, or the JSON in `NAME_JSON`, which a variable with a
/// type prefers.
pub(crate) fn find(
    name: &str,
    given: &Given<'_>,
    has_type: bool,
    is_defined: impl Fn(&str) -> bool,
) -> Option<Outside> {
    let plain = given.variable(name);
    let json_name = format!("{name}_JSON");
    let prefers_json = (plain.is_none() || has_type) && !is_defined(&json_name);
    let json = prefers_json.then(|| given.variable(&json_name)).flatten();
    let (name, text, is_json) = match (json, plain) {
        (Some(text), _) => (json_name.as_str(), text, true),
        (None, plain) => (name, plain?, false),
    };
    let origin = match given.variables.contains_key(name) {
        true => format!("--var {name}"),
        false => format!("{name} of the environment"),
    };
    Some(Outside { text, is_json, origin, json_name })
}

/// Returns the value of a variable that has a text from outside.
pub(crate) fn value(
    outside: &Outside,
    default: Option<&Value>,
    wanted: Option<&Type>,
) -> Result<Value, String> {
    let text = &outside.text;
    match (wanted, default) {
        (Some(wanted), _) if outside.is_json => {
            let json = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
            let value = Value::from_json(json).ok_or("a number has more digits than are kept")?;
            convert::convert(value, wanted)
        }
        (Some(Type::List(of)), _) => Ok(Value::List(outside.elements(of)?)),
        (Some(Type::Set(of)), _) => Ok(Value::set(outside.elements(of)?)),
        (Some(Type::Tuple(types)), _) => {
            let fields = fields(text)?;
            if fields.len() != types.len() {
                return Err(format!("{} values required, found {}", types.len(), fields.len()));
            }
            let values = fields.iter().zip(types).map(|(field, of)| outside.primitive(field, of));
            values.collect::<Result<_, _>>().map(Value::List)
        }
        (Some(Type::Map(of)), _) => {
            let pairs = fields(text)?.into_iter().map(|field| {
                let pair = field.split_once(':');
                let (name, value) = pair.ok_or_else(|| {
                    format!("expected NAME:VALUE, found {field}", field = quoted(&field))
                })?;
                Ok((name.to_owned(), outside.primitive(value, of)?))
            });
            pairs.collect::<Result<BTreeMap<_, _>, String>>().map(Value::Map)
        }
        (Some(wanted), _) => outside.primitive(text, wanted),
        (None, None | Some(Value::Null | Value::String(_))) => Ok(Value::text(text.as_str())),
        (None, Some(Value::Bool(_))) => outside.primitive(text, &Type::Bool),
        (None, Some(Value::Number(_))) => outside.primitive(text, &Type::Number),
        (None, Some(other)) => {
            let kind = other.kind();
            Err(format!("its default is {kind}: only a variable with a type may be set to another"))
        }
    }
}

impl Outside {
    fn elements(&self, of: &Type) -> Result<Vec<Value>, String> {
        fields(&self.text)?.iter().map(|field| self.primitive(field, of)).collect()
    }

    fn primitive(&self, text: &str, wanted: &Type) -> Result<Value, String> {
        match wanted {
            Type::String | Type::Any => Ok(Value::text(text)),
            Type::Bool => bool_like(text)
                .map(Value::Bool)
                .ok_or_else(|| format!("{text} is no bool", text = quoted(&text))),
            Type::Number => number::parse(text)
                .map(Value::Number)
                .ok_or_else(|| format!("{text} is no number", text = quoted(&text))),
            other => {
                let name = &self.json_name;
                Err(format!("a value of type {other} is given as JSON, in {name}"))
            }
        }
    }
}
