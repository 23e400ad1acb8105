//! Values of expressions.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::json;

use crate::number;

/// The value of an expression. Sets apart, HCL's collections and its structural types are the same
/// here: nothing that a definition says depends on which of the two a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Nothing: the attribute counts as absent.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text.
    String(String),
    /// A list or a tuple.
    List(Vec<Value>),
    /// A set, in the order of its elements, each once.
    Set(Vec<Value>),
    /// A map or an object.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// Returns a text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// Returns a list of texts.
    pub(crate) fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::List(texts.into_iter().map(Self::text).collect())
    }

    /// Returns a set of the values.
    pub(crate) fn set(values: impl IntoIterator<Item = Self>) -> Self {
        let mut values: Vec<Self> = values.into_iter().collect();
        values.sort_by(Self::order);
        values.dedup();
        Self::Set(values)
    }

    /// Names the kind of a value, for errors.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a bool",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Set(_) => "a set",
            Self::Map(_) => "an object",
        }
    }

    /// Returns a string, number or bool as text; `None` for other values.
    pub(crate) fn as_text(&self) -> Option<String> {
        match self {
            Self::String(text) => Some(text.clone()),
            Self::Number(n) => Some(number::text(*n)),
            Self::Bool(value) => Some(value.to_string()),
            _ => None,
        }
    }

    /// Returns a number, or a string that is one.
    pub(crate) fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(n) => Some(*n),
            Self::String(text) => number::parse(text),
            _ => None,
        }
    }

    /// Returns a bool, or a string that is one.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::String(text) => match text.as_str() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the elements of a list or set.
    pub(crate) fn as_elements(&self) -> Option<&[Self]> {
        match self {
            Self::List(values) | Self::Set(values) => Some(values),
            _ => None,
        }
    }

    /// Returns how much a value is to copy: its bytes of text, and its parts.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 1,
            Self::String(text) => 1 + text.len(),
            Self::List(values) | Self::Set(values) => {
                1 + values.iter().map(Self::weight).sum::<usize>()
            }
            Self::Map(values) => {
                1 + values.iter().map(|(name, value)| name.len() + value.weight()).sum::<usize>()
            }
        }
    }

    /// Returns whether two values are equal. A number equals the string that names it in no case.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        self == other
    }

    /// Orders values for sets: numbers by size, strings by their bytes.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        let rank = |value: &Self| match value {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Number(_) => 2,
            Self::String(_) => 3,
            Self::List(_) | Self::Set(_) => 4,
            Self::Map(_) => 5,
        };
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::String(a), Self::String(b)) => a.cmp(b),
            (Self::Map(a), Self::Map(b)) => {
                let pairs = a.iter().zip(b);
                let mut orders =
                    pairs.map(|((ak, av), (bk, bv))| ak.cmp(bk).then_with(|| av.order(bv)));
                orders.find(|order| order.is_ne()).unwrap_or_else(|| a.len().cmp(&b.len()))
            }
            _ => match (self.as_elements(), other.as_elements()) {
                (Some(a), Some(b)) => {
                    let mut orders = a.iter().zip(b).map(|(a, b)| a.order(b));
                    orders.find(|order| order.is_ne()).unwrap_or_else(|| a.len().cmp(&b.len()))
                }
                _ => rank(self).cmp(&rank(other)),
            },
        }
    }

    /// Returns the value as JSON.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => json!(value),
            Self::Number(n) => match number::integer(*n) {
                Some(integer) => json!(integer),
                None => json!(number::text(*n).parse::<f64>().unwrap_or(*n)),
            },
            Self::String(text) => json!(text),
            Self::List(values) | Self::Set(values) => values.iter().map(Self::to_json).collect(),
            Self::Map(values) => {
                let pairs = values.iter().map(|(name, value)| (name.clone(), value.to_json()));
                serde_json::Value::Object(pairs.collect())
            }
        }
    }

    /// Returns the value as the text of JSON, with all digits of large and small numbers.
    pub(crate) fn json_text(&self) -> String {
        match self {
            Self::Number(n) => number::text(*n),
            Self::List(values) | Self::Set(values) => {
                let values: Vec<String> = values.iter().map(Self::json_text).collect();
                format!("[{}]", values.join(","))
            }
            Self::Map(values) => {
                let pairs = values.iter();
                let pairs =
                    pairs.map(|(name, value)| format!("{}:{}", json!(name), value.json_text()));
                format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
            }
            Self::Null | Self::Bool(_) | Self::String(_) => self.to_json().to_string(),
        }
    }

    /// Makes a value of JSON. `None` if it has a number that is not kept exactly.
    pub(crate) fn from_json(json: serde_json::Value) -> Option<Self> {
        Some(match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(n) => Self::Number(number::parse(&n.to_string())?),
            serde_json::Value::String(text) => Self::String(text),
            serde_json::Value::Array(values) => {
                Self::List(values.into_iter().map(Self::from_json).collect::<Option<_>>()?)
            }
            serde_json::Value::Object(pairs) => {
                let pairs = pairs.into_iter().map(|(name, v)| Some((name, Self::from_json(v)?)));
                Self::Map(pairs.collect::<Option<_>>()?)
            }
        })
    }
}
