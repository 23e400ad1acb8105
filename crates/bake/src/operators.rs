//! Operators and indexes.

use xbuild_wording::quoted;

use crate::number;
use crate::syntax::{Binary, Unary};
use crate::value::Value;

/// Applies an operator with one operand.
pub(crate) fn unary(operator: Unary, operand: &Value) -> Result<Value, String> {
    match operator {
        Unary::Negate => Ok(Value::Number(-number_of(operand)?)),
        Unary::Not => match operand.as_bool() {
            Some(value) => Ok(Value::Bool(!value)),
            None => Err(format!("expected a bool, found {}", operand.kind())),
        },
    }
}

/// Applies an operator with two operands, except `&&` and `||`, whose second operand may not be
/// evaluated.
pub(crate) fn binary(operator: Binary, left: &Value, right: &Value) -> Result<Value, String> {
    match operator {
        Binary::Equal => return Ok(Value::Bool(left.equals(right))),
        Binary::NotEqual => return Ok(Value::Bool(!left.equals(right))),
        _ => {}
    }
    let (left, right) = (number_of(left)?, number_of(right)?);
    let result = match operator {
        Binary::Less => return Ok(Value::Bool(left < right)),
        Binary::LessOrEqual => return Ok(Value::Bool(left <= right)),
        Binary::Greater => return Ok(Value::Bool(left > right)),
        Binary::GreaterOrEqual => return Ok(Value::Bool(left >= right)),
        Binary::Add => left + right,
        Binary::Subtract => left - right,
        Binary::Multiply => left * right,
        Binary::Divide | Binary::Remainder if right == 0.0 => {
            return Err("a number is divided by zero".to_owned());
        }
        Binary::Divide => left / right,
        Binary::Remainder => left % right,
        Binary::Equal | Binary::NotEqual | Binary::And | Binary::Or => {
            return Err("the operator does not take numbers".to_owned());
        }
    };
    finite(result)
}

/// Returns a number that is finite.
pub(crate) fn finite(result: f64) -> Result<Value, String> {
    match result.is_finite() {
        true => Ok(Value::Number(result)),
        false => Err("the number is too large".to_owned()),
    }
}

fn number_of(value: &Value) -> Result<f64, String> {
    value.as_number().ok_or_else(|| format!("expected a number, found {}", value.kind()))
}

/// Returns the element of a list, or the value of an object.
pub(crate) fn index(from: &Value, index: &Value) -> Result<Value, String> {
    match from {
        Value::Map(values) => {
            let name = index.as_text();
            let name = name.ok_or_else(|| format!("expected a key, found {}", index.kind()))?;
            values.get(&name).cloned().ok_or_else(|| {
                let keys: Vec<&str> = values.keys().map(String::as_str).take(12).collect();
                format!("there is no {name} among {}", keys.join(", "), name = quoted(&name))
            })
        }
        Value::List(values) => {
            let place = index.as_number().and_then(number::integer);
            let place =
                place.ok_or_else(|| format!("expected an index, found {}", index.kind()))?;
            let found = usize::try_from(place).ok().and_then(|place| values.get(place));
            found.cloned().ok_or_else(|| format!("index {place} of a list of {}", values.len()))
        }
        other => Err(format!("{} has neither elements by index nor attributes", other.kind())),
    }
}

/// Returns the elements of a list with their indexes.
pub(crate) fn numbered(values: Vec<Value>) -> Vec<(Value, Value)> {
    let numbers = (0..).map(|at| Value::Number(number::from_length(at)));
    numbers.zip(values).collect()
}
