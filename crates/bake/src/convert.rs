//! Types, and values as values of a type.
//!
//! **Source** — HCL's `ext/typeexpr`: type constraints.

use std::collections::BTreeMap;
use std::fmt;

use xbuild_wording::quoted;

use crate::error::BakeError;
use crate::syntax::{Expr, Kind};
use crate::value::Value;

/// A type constraint.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Type {
    Any,
    Bool,
    Number,
    String,
    List(Box<Type>),
    Set(Box<Type>),
    Map(Box<Type>),
    Tuple(Vec<Type>),
    /// The attributes, and whether each may be absent.
    Object(BTreeMap<String, (Type, bool)>),
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any type"),
            Self::Bool => f.write_str("bool"),
            Self::Number => f.write_str("number"),
            Self::String => f.write_str("string"),
            Self::List(of) => write!(f, "list of {of}"),
            Self::Set(of) => write!(f, "set of {of}"),
            Self::Map(of) => write!(f, "map of {of}"),
            Self::Tuple(_) => f.write_str("tuple"),
            Self::Object(_) => f.write_str("object"),
        }
    }
}

impl Type {
    /// Reads a type such as `list(string)`.
    pub(crate) fn parse(expr: &Expr) -> Result<Self, BakeError> {
        let fail = |reason: &str| Err(BakeError::invalid(&expr.place, reason));
        match &expr.kind {
            Kind::Variable(name) => match name.as_str() {
                "any" => Ok(Self::Any),
                "bool" => Ok(Self::Bool),
                "number" => Ok(Self::Number),
                "string" => Ok(Self::String),
                "list" | "set" | "map" => {
                    fail("the type needs the type of its elements: list(string)")
                }
                "tuple" => {
                    fail("the type needs the types of its elements: tuple([string, number])")
                }
                "object" => fail("the type needs its attributes: object({name = string})"),
                _ => fail(
                    "no type: expected string, number, bool, any, list(..), set(..), map(..), \
                           tuple([..]) or object({..})",
                ),
            },
            Kind::Call { name, args, .. } => match (name.as_str(), &args[..]) {
                ("list", [of]) => Ok(Self::List(Box::new(Self::parse(of)?))),
                ("set", [of]) => Ok(Self::Set(Box::new(Self::parse(of)?))),
                ("map", [of]) => Ok(Self::Map(Box::new(Self::parse(of)?))),
                ("tuple", [Expr { kind: Kind::Tuple(types), .. }]) => {
                    types.iter().map(Self::parse).collect::<Result<_, _>>().map(Self::Tuple)
                }
                ("object", [Expr { kind: Kind::Object(pairs), .. }]) => {
                    let pairs = pairs.iter().map(|(key, of)| Self::attribute(key, of));
                    pairs.collect::<Result<_, _>>().map(Self::Object)
                }
                _ => fail(
                    "no type: expected list(..), set(..), map(..), tuple([..]) or object({..})",
                ),
            },
            _ => fail("a type is written as it is, without quotes: type = string"),
        }
    }

    fn attribute(key: &Expr, of: &Expr) -> Result<(String, (Self, bool)), BakeError> {
        let Kind::Literal(Value::String(name)) = &key.kind else {
            return Err(BakeError::invalid(&key.place, "an attribute of a type is a name"));
        };
        let (of, is_optional) = match &of.kind {
            Kind::Call { name, args, .. } if name == "optional" && args.len() == 1 => {
                (&args[0], true)
            }
            _ => (of, false),
        };
        Ok((name.clone(), (Self::parse(of)?, is_optional)))
    }
}

/// Makes a value one of a type.
pub(crate) fn convert(value: Value, wanted: &Type) -> Result<Value, String> {
    if value == Value::Null {
        return Ok(value);
    }
    let kind = value.kind();
    let fail = || format!("{wanted} required, found {kind}");
    match wanted {
        Type::Any => Ok(value),
        Type::Bool => value.as_bool().map(Value::Bool).ok_or_else(fail),
        Type::Number => value.as_number().map(Value::Number).ok_or_else(fail),
        Type::String => value.as_text().map(Value::String).ok_or_else(fail),
        Type::List(of) => elements(value, of).ok_or_else(fail)?.map(Value::List),
        Type::Set(of) => elements(value, of).ok_or_else(fail)?.map(Value::set),
        Type::Tuple(types) => {
            let values = value.as_elements().ok_or_else(fail)?;
            if values.len() != types.len() {
                let (expected, found) = (types.len(), values.len());
                return Err(format!("a tuple of {expected} elements required, found {found}"));
            }
            let values = values.iter().zip(types).map(|(value, of)| convert(value.clone(), of));
            values.collect::<Result<_, _>>().map(Value::List)
        }
        Type::Map(of) => match value {
            Value::Map(values) => {
                let values = values.into_iter().map(|(name, value)| {
                    let value = convert(value, of).map_err(|reason| format!("{name}: {reason}"))?;
                    Ok((name, value))
                });
                values.collect::<Result<_, _>>().map(Value::Map)
            }
            _ => Err(fail()),
        },
        Type::Object(attributes) => match value {
            Value::Map(mut values) => {
                let pairs = attributes.iter().map(|(name, (of, is_optional))| {
                    let value = match values.remove(name) {
                        Some(value) => {
                            convert(value, of).map_err(|reason| format!("{name}: {reason}"))?
                        }
                        None if *is_optional => Value::Null,
                        None => {
                            return Err(format!(
                                "attribute {name} is required",
                                name = quoted(&name)
                            ));
                        }
                    };
                    Ok((name.clone(), value))
                });
                pairs.collect::<Result<_, _>>().map(Value::Map)
            }
            _ => Err(fail()),
        },
    }
}

fn elements(value: Value, of: &Type) -> Option<Result<Vec<Value>, String>> {
    match value {
        Value::List(values) | Value::Set(values) => {
            Some(values.into_iter().map(|value| convert(value, of)).collect())
        }
        _ => None,
    }
}
