//! The functions that every definition has.
//!
//! **Source** — buildx `docs/bake-stdlib.md`: their names; go-cty's `function/stdlib`: what they return.

mod args;
mod cidr;
mod collections;
mod dates;
mod encoding;
mod format;
mod hashes;
mod letters;
mod numbers;
mod patterns;
mod sets;
mod strings;
mod versions;

use crate::scope::World;
use crate::value::Value;
use args::Args;
pub(crate) use encoding::html_safe;
pub(crate) use strings::{clean, sanitized};

/// Functions that buildx has and that are refused, with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("bcrypt", "its result differs at each call, so no step that it is part of would be cached"),
    ("bytesslice", "no function here returns bytes"),
    ("rsadecrypt", "keys do not belong in a bake file; pass the value as a secret"),
];

/// Finds a function by name.
fn find(name: &str) -> Option<args::Native> {
    let tables = [
        collections::TABLE,
        cidr::TABLE,
        dates::TABLE,
        encoding::TABLE,
        format::TABLE,
        hashes::TABLE,
        numbers::TABLE,
        patterns::TABLE,
        sets::TABLE,
        strings::TABLE,
        versions::TABLE,
    ];
    let mut all = tables.iter().flat_map(|table| table.iter());
    all.find(|(known, _)| *known == name).map(|(_, function)| *function)
}

/// Returns whether there is a function of that name, be it one that is refused. No definition takes its
/// place.
pub(crate) fn is_one(name: &str) -> bool {
    find(name).is_some() || REFUSED.iter().any(|(known, _)| *known == name)
}

/// Calls a function by name.
pub(crate) fn call(name: &str, values: &[Value], world: &World) -> Result<Value, String> {
    if let Some(function) = find(name) {
        return function(&Args { values, world });
    }
    match REFUSED.iter().find(|(known, _)| *known == name) {
        Some((_, reason)) => Err(format!("the function is not implemented: {reason}")),
        None => Err("there is no function of that name".to_owned()),
    }
}

#[cfg(test)]
mod tests;
