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
    if (plain.is_none() || has_type)
        && !is_defined(&json_name)
        && let Some(text) = given.variable(&json_name)
    {
        return Some(Outside { text, is_json: true });
    }
    plain.map(|text| Outside { text, is_json: false })
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
        (Some(Type::List(of)), _) => Ok(Value::List(elements(text, of)?)),
        (Some(Type::Set(of)), _) => Ok(Value::set(elements(text, of)?)),
        (Some(Type::Tuple(types)), _) => {
            let fields = fields(text)?;
            if fields.len() != types.len() {
                return Err(format!("{} values required, found {}", types.len(), fields.len()));
            }
            let values = fields.iter().zip(types).map(|(field, of)| primitive(field, of));
            values.collect::<Result<_, _>>().map(Value::List)
        }
        (Some(Type::Map(of)), _) => {
            let pairs = fields(text)?.into_iter().map(|field| {
                let pair = field.split_once(':');
                let (name, value) = pair.ok_or_else(|| {
                    format!("expected NAME:VALUE, found {field}", field = quoted(&field))
                })?;
                Ok((name.to_owned(), primitive(value, of)?))
            });
            pairs.collect::<Result<BTreeMap<_, _>, String>>().map(Value::Map)
        }
        (Some(wanted), _) => primitive(text, wanted),
        (None, None | Some(Value::Null | Value::String(_))) => Ok(Value::text(text.as_str())),
        (None, Some(Value::Bool(_))) => primitive(text, &Type::Bool),
        (None, Some(Value::Number(_))) => primitive(text, &Type::Number),
        (None, Some(other)) => {
            let kind = other.kind();
            Err(format!("its default is {kind}: only a variable with a type may be set to another"))
        }
    }
}

fn elements(text: &str, of: &Type) -> Result<Vec<Value>, String> {
    fields(text)?.iter().map(|field| primitive(field, of)).collect()
}

fn primitive(text: &str, wanted: &Type) -> Result<Value, String> {
    match wanted {
        Type::String | Type::Any => Ok(Value::text(text)),
        Type::Bool => bool_like(text)
            .map(Value::Bool)
            .ok_or_else(|| format!("{text} is no bool", text = quoted(&text))),
        Type::Number => number::parse(text)
            .map(Value::Number)
            .ok_or_else(|| format!("{text} is no number", text = quoted(&text))),
        other => {
            Err(format!("a value of type {other} is given as JSON, in the variable NAME_JSON"))
        }
    }
}
