//! HCL in its JSON form to syntax.
//!
//! **Source** — HCL's `json/spec.md`: blocks are objects of objects, or arrays of them; strings are
//! templates; a property `//` is a comment.

use std::sync::Arc;

use crate::error::BakeError;
use crate::hcl;
use crate::json::Json;
use crate::number;
use crate::place::Place;
use crate::syntax::{Attribute, Block, Body, Expr, Kind};
use crate::value::Value;

/// The blocks of a file that have a label.
const LABELLED: &[&str] = &["function", "group", "target", "variable"];

/// Reads a file in the JSON form of HCL. Places of errors name the file alone, by its first line, save
/// for errors of JSON itself.
pub(crate) fn body(file: &Arc<str>, text: &str) -> Result<Body, BakeError> {
    let json = serde_json::from_str(text).map_err(|error| BakeError::Syntax {
        place: Place::new(file, error.line().max(1)),
        message: format!("not JSON: {error}"),
    })?;
    let reader = Reader { place: Place::new(file, 1) };
    let mut body = Body::default();
    for (name, value) in reader.pairs(json, "the file")? {
        if LABELLED.contains(&name.as_str()) {
            for object in several(value) {
                for (label, content) in reader.pairs(object, &name)? {
                    for content in several(content) {
                        body.blocks.push(reader.block(&name, &label, content)?);
                    }
                }
            }
        } else {
            body.attributes.push(Attribute { name, value: reader.expr(value)? });
        }
    }
    Ok(body)
}

/// Returns the elements of an array, or the value itself.
fn several(json: Json) -> Vec<Json> {
    match json {
        Json::Array(values) => values,
        one => vec![one],
    }
}

struct Reader {
    place: Place,
}

impl Reader {
    fn pairs(&self, json: Json, of: &str) -> Result<Vec<(String, Json)>, BakeError> {
        match json {
            Json::Object(pairs) => Ok(pairs.into_iter().filter(|(name, _)| name != "//").collect()),
            _ => Err(BakeError::invalid(&self.place, format!("{of}: expected an object"))),
        }
    }

    fn block(&self, kind: &str, label: &str, content: Json) -> Result<Block, BakeError> {
        let mut body = Body::default();
        for (name, value) in self.pairs(content, &format!("{kind} {label}"))? {
            if kind == "variable" && name == "validation" {
                for content in several(value) {
                    let mut block = self.block(&name, "", content)?;
                    block.labels.clear();
                    body.blocks.push(block);
                }
            } else {
                body.attributes.push(Attribute { name, value: self.expr(value)? });
            }
        }
        let (kind, labels) = (kind.to_owned(), vec![label.to_owned()]);
        Ok(Block { kind, labels, body, place: self.place.clone() })
    }

    fn expr(&self, json: Json) -> Result<Expr, BakeError> {
        let kind = match json {
            Json::Null => Kind::Literal(Value::Null),
            Json::Bool(value) => Kind::Literal(Value::Bool(value)),
            Json::Number(text) => {
                let read = number::parse(&text).ok_or_else(|| {
                    let reason = format!("the number {text} has more digits than are kept");
                    BakeError::invalid(&self.place, reason)
                })?;
                Kind::Literal(Value::Number(read))
            }
            Json::String(text) => return hcl::template(&text, &self.place),
            Json::Array(values) => {
                let values = values.into_iter().map(|value| self.expr(value));
                Kind::Tuple(values.collect::<Result<_, _>>()?)
            }
            Json::Object(pairs) => {
                let pairs = pairs.into_iter().map(|(name, value)| {
                    Ok((hcl::template(&name, &self.place)?, self.expr(value)?))
                });
                Kind::Object(pairs.collect::<Result<_, BakeError>>()?)
            }
        };
        Ok(Expr { kind, place: self.place.clone() })
    }
}
