//! Functions of sets.

use super::args::{Args, Native};
use crate::unify::unify;
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
        fold(args, |all, next| all.into_iter().filter(|value| !next.contains(value)).collect())
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
    let mut each = Vec::new();
    let mut elements = Vec::new();
    for at in 0..args.values.len() {
        each.push(args.elements(at)?.len());
        elements.extend_from_slice(args.elements(at)?);
    }
    let elements = unify(elements).ok_or("the elements of the sets have no type in common")?;
    let Some((first, others)) = each.split_first() else { return Err("expected a set".to_owned()) };
    let (all, mut rest) = elements.split_at(*first);
    let mut all = all.to_vec();
    for length in others {
        let (next, behind) = rest.split_at(*length);
        all = join(all, next);
        rest = behind;
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
        let elements = args.even(at)?;
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
