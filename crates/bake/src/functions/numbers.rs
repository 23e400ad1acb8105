//! Functions of numbers and truth values.

use xbuild_wording::quoted;

use super::args::{Args, Native};
use crate::number;
use crate::operators::{self, finite};
use crate::syntax::{Binary, Unary};
use crate::value::Value;

pub(super) const TABLE: &[(&str, Native)] = &[
    ("absolute", |args| one(args, f64::abs)),
    ("add", |args| two(args, Binary::Add)),
    ("and", |args| both(args, |a, b| a && b)),
    ("ceil", |args| one(args, f64::ceil)),
    ("divide", |args| two(args, Binary::Divide)),
    ("equal", |args| two(args, Binary::Equal)),
    ("floor", |args| one(args, f64::floor)),
    ("greaterthan", |args| two(args, Binary::Greater)),
    ("greaterthanorequalto", |args| two(args, Binary::GreaterOrEqual)),
    ("int", |args| one(args, f64::trunc)),
    ("lessthan", |args| two(args, Binary::Less)),
    ("lessthanorequalto", |args| two(args, Binary::LessOrEqual)),
    ("log", |args| {
        args.count(2)?;
        finite(args.number(0)?.ln() / args.number(1)?.ln())
    }),
    ("max", |args| Ok(Value::Number(args.numbers()?.into_iter().fold(f64::MIN, f64::max)))),
    ("min", |args| Ok(Value::Number(args.numbers()?.into_iter().fold(f64::MAX, f64::min)))),
    ("modulo", |args| two(args, Binary::Remainder)),
    ("multiply", |args| two(args, Binary::Multiply)),
    ("negate", |args| one(args, |n| -n)),
    ("not", |args| {
        args.count(1)?;
        operators::unary(Unary::Not, args.any(0)?)
    }),
    ("notequal", |args| two(args, Binary::NotEqual)),
    ("or", |args| both(args, |a, b| a || b)),
    ("parseint", parse_integer),
    ("pow", |args| {
        args.count(2)?;
        finite(args.number(0)?.powf(args.number(1)?))
    }),
    ("signum", |args| one(args, |n| if n == 0.0 { 0.0 } else { n.signum() })),
    ("subtract", |args| two(args, Binary::Subtract)),
];

fn one(args: &Args<'_>, function: fn(f64) -> f64) -> Result<Value, String> {
    args.count(1)?;
    finite(function(args.number(0)?))
}

fn two(args: &Args<'_>, operator: Binary) -> Result<Value, String> {
    args.count(2)?;
    operators::binary(operator, args.any(0)?, args.any(1)?)
}

fn both(args: &Args<'_>, function: fn(bool, bool) -> bool) -> Result<Value, String> {
    args.count(2)?;
    Ok(Value::Bool(function(args.truth(0)?, args.truth(1)?)))
}

fn parse_integer(args: &Args<'_>) -> Result<Value, String> {
    args.count(2)?;
    let (text, base) = (args.text(0)?, args.integer(1)?);
    let base = u32::try_from(base).ok().filter(|base| (2..=36).contains(base));
    let base = base.ok_or("the base is a number from 2 to 36")?;
    let parsed = i64::from_str_radix(&text, base)
        .map_err(|_| format!("{text} is no number of base {base}", text = quoted(&text)))?;
    let value = number::from_integer(parsed);
    match number::integer(value) == Some(parsed) {
        true => Ok(Value::Number(value)),
        false => Err(format!("{text} has more digits than are kept", text = quoted(&text))),
    }
}
