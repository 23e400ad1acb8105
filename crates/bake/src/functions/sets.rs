//! Functions of sets.

use super::args::{Args, Native};
use crate::value::Value;

/// The most elements that a product has.
const LARGEST: usize = 100_000;

pub(super) const TABLE: &[(&str, Native)] = &[
    ("sethaselement", |args| {
        args.count(2)?;
        Ok(Value::Bool(args.elements(0)?.contains(args.any(1)?)))
    }),
    ("setintersection", |args| {
        fold(args, |all, next| all.into_iter().filter(|value| next.contains(value)).collect())
    }),
    ("setproduct", product),
    ("setsubtract", |args| {
        args.count(2)?;
        let without = args.elements(1)?;
        Ok(Value::set(args.elements(0)?.iter().filter(|v| !without.contains(v)).cloned()))
    }),
    ("setsymmetricdifference", |args| {
        fold(args, |all, next| {
            let added = next.iter().filter(|value| !all.contains(value)).cloned();
            let added: Vec<Value> = added.collect();
            all.into_iter().filter(|value| !next.contains(value)).chain(added).collect()
        })
    }),
    ("setunion", |args| {
        fold(args, |all, next| all.into_iter().chain(next.iter().cloned()).collect())
    }),
];

fn fold(args: &Args<'_>, join: fn(Vec<Value>, &[Value]) -> Vec<Value>) -> Result<Value, String> {
    let mut all = args.elements(0)?.to_vec();
    for at in 1..args.values.len() {
        all = join(all, args.elements(at)?);
    }
    Ok(Value::set(all))
}

/// Returns all combinations of the elements. The result is a set only if all arguments are sets.
fn product(args: &Args<'_>) -> Result<Value, String> {
    if args.values.len() < 2 {
        return Err("expected at least two arguments".to_owned());
    }
    let mut all: Vec<Vec<Value>> = vec![Vec::new()];
    for at in 0..args.values.len() {
        let elements = args.elements(at)?;
        if all.len().saturating_mul(elements.len()) > LARGEST {
            return Err(format!("the product has more than {LARGEST} elements"));
        }
        let heaviest = elements.iter().map(Value::weight).max().unwrap_or(0);
        args.within(all.len().saturating_mul(elements.len()).saturating_mul(heaviest))?;
        let longer = all.iter().flat_map(|start| {
            elements.iter().map(|value| start.iter().chain([value]).cloned().collect())
        });
        all = longer.collect();
    }
    let all = all.into_iter().map(Value::List);
    match args.values.iter().all(|value| matches!(value, Value::Set(_))) {
        true => Ok(Value::set(all)),
        false => Ok(Value::List(all.collect())),
    }
}
