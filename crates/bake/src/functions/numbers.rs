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
    let base = u8::try_from(base).ok().filter(|base| (2..=62).contains(base));
    let base = base.ok_or("the base is a number from 2 to 62")?;
    let fail = || format!("{text} is no number of base {base}", text = quoted(&text));
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(&text)),
    };
    let mut parsed = 0i64;
    for digit in digits.bytes() {
        let digit = digit_of(digit, base).ok_or_else(fail)?;
        parsed = parsed.saturating_mul(i64::from(base)).saturating_add(i64::from(digit));
    }
    if digits.is_empty() {
        return Err(fail());
    }
    let parsed = sign * parsed;
    let value = number::from_integer(parsed);
    match number::integer(value) == Some(parsed) {
        true => Ok(Value::Number(value)),
        false => Err(format!("{text} has more digits than are kept", text = quoted(&text))),
    }
}

/// Returns the value of a digit: up to base 36 capitals are as small letters, above they come behind them.
fn digit_of(digit: u8, base: u8) -> Option<u8> {
    let value = match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'z' => digit - b'a' + 10,
        b'A'..=b'Z' if base <= 36 => digit - b'A' + 10,
        b'A'..=b'Z' => digit - b'A' + 36,
        _ => return None,
    };
    Some(value).filter(|value| *value < base)
}
