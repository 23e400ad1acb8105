//! Functions of lists and objects.

use std::collections::BTreeMap;

use super::args::{Args, Native};
use crate::number;
use crate::operators;
use crate::unify::unify;
use crate::value::Value;

/// The longest list that a function makes.
const LONGEST: usize = 100_000;

pub(super) const TABLE: &[(&str, Native)] = &[
    ("chunklist", chunks),
    ("coalesce", |args| {
        let all = unify(args.values.to_vec()).ok_or("the arguments have no type in common")?;
        let present = all.into_iter().find(|value| *value != Value::Null);
        present.ok_or_else(|| "all arguments are null".to_owned())
    }),
    ("coalescelist", |args| {
        for at in 0..args.values.len() {
            if *args.any(at)? != Value::Null && !args.elements(at)?.is_empty() {
                return Ok(args.any(at)?.clone());
            }
        }
        Err("all lists are empty".to_owned())
    }),
    ("compact", |args| {
        args.count(1)?;
        let given = args.elements(0)?.iter().filter(|value| **value != Value::Null);
        let texts: Option<Vec<String>> = given.map(Value::as_text).collect();
        let texts = texts.ok_or("expected a list of strings")?;
        Ok(Value::texts(texts.into_iter().filter(|text| !text.is_empty())))
    }),
    ("concat", |args| {
        let mut all = Vec::new();
        for at in 0..args.values.len() {
            all.extend_from_slice(args.elements(at)?);
        }
        Ok(Value::List(all))
    }),
    ("contains", |args| {
        args.count(2)?;
        Ok(Value::Bool(args.elements(0)?.iter().any(|value| value.equals(&args.values[1]))))
    }),
    ("distinct", |args| {
        args.count(1)?;
        let mut kept: Vec<Value> = Vec::new();
        for value in args.even(0)? {
            if !kept.contains(&value) {
                kept.push(value);
            }
        }
        Ok(Value::List(kept))
    }),
    ("element", element),
    ("flatten", |args| {
        args.count(1)?;
        let mut all = Vec::new();
        flatten(args.elements(0)?, &mut all);
        Ok(Value::List(all))
    }),
    ("hasindex", |args| {
        args.count(2)?;
        Ok(Value::Bool(operators::index(args.any(0)?, args.any(1)?).is_ok()))
    }),
    ("index", |args| {
        args.count(2)?;
        operators::index(args.any(0)?, args.any(1)?)
    }),
    ("indexof", |args| {
        args.count(2)?;
        let place = args.elements(0)?.iter().position(|value| value.equals(&args.values[1]));
        let place = place.ok_or("the list does not have the value")?;
        Ok(Value::Number(number::from_length(place)))
    }),
    ("keys", |args| {
        args.count(1)?;
        Ok(Value::texts(args.map(0)?.keys().cloned()))
    }),
    ("length", |args| {
        args.count(1)?;
        let length = match args.any(0)? {
            Value::Map(values) => values.len(),
            _ => args.elements(0)?.len(),
        };
        Ok(Value::Number(number::from_length(length)))
    }),
    ("lookup", |args| {
        args.count(3)?;
        let found = args.map(0)?.get(&args.text(1)?);
        Ok(found.unwrap_or(args.any(2)?).clone())
    }),
    ("merge", |args| {
        let mut all = BTreeMap::new();
        for at in 0..args.values.len() {
            if *args.any(at)? != Value::Null {
                all.extend(args.map(at)?.clone());
            }
        }
        Ok(Value::Map(all))
    }),
    ("range", range),
    ("reverselist", |args| {
        args.count(1)?;
        Ok(Value::List(args.elements(0)?.iter().rev().cloned().collect()))
    }),
    ("slice", |args| {
        let elements = args.elements(0)?;
        let end = if args.values.len() == 2 { elements.len() } else { args.length(2)? };
        let start = args.length(1)?;
        let part = elements.get(start..end);
        let part = part.ok_or_else(|| format!("{start}..{end} of a list of {}", elements.len()))?;
        Ok(Value::List(part.to_vec()))
    }),
    ("values", |args| {
        args.count(1)?;
        Ok(Value::List(args.map(0)?.values().cloned().collect()))
    }),
    ("zipmap", |args| {
        args.count(2)?;
        let (keys, values) = (args.texts(0)?, args.elements(1)?);
        if keys.len() != values.len() {
            return Err(format!("{} keys for {} values", keys.len(), values.len()));
        }
        Ok(Value::Map(keys.into_iter().zip(values.iter().cloned()).collect()))
    }),
];

fn chunks(args: &Args<'_>) -> Result<Value, String> {
    args.count(2)?;
    let (elements, size) = (args.even(0)?, args.length(1)?);
    Ok(match size {
        0 => Value::List(vec![Value::List(elements)]),
        size => Value::List(elements.chunks(size).map(|part| Value::List(part.to_vec())).collect()),
    })
}

/// Returns an element; indexes past the end begin anew.
fn element(args: &Args<'_>) -> Result<Value, String> {
    args.count(2)?;
    let (elements, place) = (args.elements(0)?, args.integer(1)?);
    let place = usize::try_from(place).map_err(|_| format!("the index {place} is negative"))?;
    let place = place.checked_rem(elements.len()).ok_or("the list is empty")?;
    Ok(elements[place].clone())
}

fn flatten(from: &[Value], all: &mut Vec<Value>) {
    for value in from {
        match value.as_elements() {
            Some(inner) => flatten(inner, all),
            None => all.push(value.clone()),
        }
    }
}

fn range(args: &Args<'_>) -> Result<Value, String> {
    let numbers = args.numbers()?;
    let (start, end, step) = match numbers[..] {
        [end] => (0.0, end, None),
        [start, end] => (start, end, None),
        [start, end, step] => (start, end, Some(step)),
        _ => return Err("expected one to three arguments".to_owned()),
    };
    let step = step.unwrap_or(if end < start { -1.0 } else { 1.0 });
    if step == 0.0 || (step > 0.0) != (end >= start) && end != start {
        return Err("the step does not lead to the end".to_owned());
    }
    let mut list = Vec::new();
    let mut next = start;
    while if step > 0.0 { next < end } else { next > end } {
        if list.len() == LONGEST {
            return Err(format!("the list has more than {LONGEST} numbers"));
        }
        list.push(Value::Number(next));
        next += step;
    }
    Ok(Value::List(list))
}
