//! The values of expressions.

use std::collections::BTreeMap;

use xbuild_wording::quoted;

use crate::convert::{self, Type};
use crate::error::BakeError;
use crate::functions;
use crate::operators;
use crate::place::Place;
use crate::scope::Scope;
use crate::similar::suggestion;
use crate::syntax::{Binary, Expr, For, Kind, Part, Step};
use crate::unify::unify;
use crate::value::Value;

/// Returns the value of an expression.
pub(crate) fn value(expr: &Expr, scope: &Scope<'_>) -> Result<Value, BakeError> {
    let found = match scope.names.begin() {
        true => value_within(expr, scope),
        false => {
            let reason = "the expression goes too deep: does a function or variable need itself?";
            Err(BakeError::invalid(&expr.place, reason))
        }
    };
    scope.names.end();
    found
}

fn value_within(expr: &Expr, scope: &Scope<'_>) -> Result<Value, BakeError> {
    spend(1, &expr.place, scope)?;
    match &expr.kind {
        Kind::Literal(value) => Ok(value.clone()),
        Kind::Tuple(exprs) => {
            exprs.iter().map(|expr| value(expr, scope)).collect::<Result<_, _>>().map(Value::List)
        }
        Kind::Object(pairs) => {
            let pairs =
                pairs.iter().map(|(key, expr)| Ok((name(key, scope)?, value(expr, scope)?)));
            pairs.collect::<Result<_, _>>().map(Value::Map)
        }
        Kind::Template(parts) => text(parts, scope).map(Value::String),
        Kind::Variable(name) => variable(name, &expr.place, scope),
        Kind::Call { name, args, is_spread } => call(name, args, *is_spread, &expr.place, scope),
        Kind::Traversal { base, steps } => traversal(base, steps, &expr.place, scope),
        Kind::Conditional(exprs) => {
            let [condition, then, otherwise] = &**exprs;
            match truth(condition, scope)? {
                true => chosen(then, otherwise, scope),
                false => chosen(otherwise, then, scope),
            }
        }
        Kind::Unary(operator, operand) => {
            let operand = value(operand, scope)?;
            operators::unary(*operator, &operand)
                .map_err(|reason| BakeError::invalid(&expr.place, reason))
        }
        Kind::Binary(operator, operands) => binary(*operator, operands, &expr.place, scope),
        Kind::For(expr) => for_value(expr, scope),
    }
}

/// Returns one result of a condition as a value of the type that it has in common with the other one. An
/// error of the other one makes no difference.
fn chosen(expr: &Expr, other: &Expr, scope: &Scope<'_>) -> Result<Value, BakeError> {
    let own = value(expr, scope)?;
    let Ok(other) = value(other, scope) else { return Ok(own) };
    let (kind, other_kind) = (own.kind(), other.kind());
    // Collections that have no type in common are left as they are; buildx refuses them.
    let is_simple = own.as_elements().is_none() && !matches!(own, Value::Map(_));
    let is_simple = is_simple || kind != other_kind;
    match unify(vec![own.clone(), other]) {
        Some(mut unified) => Ok(unified.swap_remove(0)),
        None if is_simple => {
            let reason = format!("the results of the condition are {kind} and {other_kind}");
            Err(BakeError::invalid(&expr.place, reason))
        }
        None => Ok(own),
    }
}

/// Counts work, and ends the evaluation when it is too much.
fn spend(units: usize, place: &Place, scope: &Scope<'_>) -> Result<(), BakeError> {
    match scope.names.spend(units) {
        true => Ok(()),
        false => Err(BakeError::invalid(place, "the values of the file take too much work")),
    }
}

/// Returns an expression as a condition.
fn truth(expr: &Expr, scope: &Scope<'_>) -> Result<bool, BakeError> {
    let condition = value(expr, scope)?;
    condition.as_bool().ok_or_else(|| {
        let reason = format!("expected a condition, found {}", condition.kind());
        BakeError::invalid(&expr.place, reason)
    })
}

/// Returns an expression as a text: a key, or a part of a template.
fn name(expr: &Expr, scope: &Scope<'_>) -> Result<String, BakeError> {
    let found = value(expr, scope)?;
    found.as_text().ok_or_else(|| {
        BakeError::invalid(&expr.place, format!("expected a string, found {}", found.kind()))
    })
}

fn binary(
    operator: Binary,
    operands: &[Expr; 2],
    place: &Place,
    scope: &Scope<'_>,
) -> Result<Value, BakeError> {
    let [left, right] = operands;
    match operator {
        Binary::And => Ok(Value::Bool(truth(left, scope)? && truth(right, scope)?)),
        Binary::Or => Ok(Value::Bool(truth(left, scope)? || truth(right, scope)?)),
        operator => {
            let (left, right) = (value(left, scope)?, value(right, scope)?);
            operators::binary(operator, &left, &right)
                .map_err(|reason| BakeError::invalid(place, reason))
        }
    }
}

fn variable(name: &str, place: &Place, scope: &Scope<'_>) -> Result<Value, BakeError> {
    if let Some(value) = scope.local(name) {
        spend(value.weight(), place, scope)?;
        return Ok(value.clone());
    }
    if let Some(value) = scope.names.variable(name, place)? {
        spend(value.weight(), place, scope)?;
        return Ok(value);
    }
    if let Some(value) = scope.names.attribute(name, "", None, place)? {
        return Ok(value);
    }
    let near = scope.names.similar(name);
    let reason = format!("there is no variable named {name}{}", suggestion(near.as_deref()));
    Err(BakeError::invalid(place, reason))
}

/// Calls a function. `try`, `can` and `convert` take expressions, not values.
fn call(
    function: &str,
    args: &[Expr],
    is_spread: bool,
    place: &Place,
    scope: &Scope<'_>,
) -> Result<Value, BakeError> {
    let fail = |reason: String| BakeError::invalid(place, format!("{function}: {reason}"));
    match (function, args) {
        ("can", [arg]) => return Ok(Value::Bool(value(arg, scope).is_ok())),
        ("try", [first, ..]) => {
            let mut values = args.iter().filter_map(|arg| value(arg, scope).ok());
            return values.next().map_or_else(|| value(first, scope), Ok);
        }
        ("convert", [arg, type_expr]) => {
            let wanted = Type::parse(type_expr)?;
            return convert::convert(value(arg, scope)?, &wanted).map_err(fail);
        }
        ("can" | "convert" | "try", _) => return Err(fail("wrong number of arguments".to_owned())),
        _ => {}
    }
    let mut values: Vec<Value> =
        args.iter().map(|arg| value(arg, scope)).collect::<Result<_, _>>()?;
    if is_spread {
        let Some(last) = values.pop() else { return Err(fail("nothing to expand".to_owned())) };
        let kind = last.kind();
        let elements = last.as_elements().map(<[_]>::to_vec);
        let elements =
            elements.ok_or_else(|| fail(format!("expected a list to expand, found {kind}")))?;
        values.extend(elements);
    }
    let own = scope.names.function(function).filter(|_| !functions::is_one(function));
    if let Some(own) = own {
        let count = values.len();
        let missing = own.params.len().checked_sub(count);
        if missing.is_some_and(|missing| missing > 0)
            || (own.variadic.is_none() && count > own.params.len())
        {
            let expected = own.params.len();
            return Err(fail(format!("expected {expected} arguments, found {count}")));
        }
        let rest = values.split_off(own.params.len());
        let mut locals: BTreeMap<String, Value> = own.params.iter().cloned().zip(values).collect();
        if let Some(variadic) = &own.variadic {
            locals.insert(variadic.clone(), Value::List(rest));
        }
        return value(&own.result, &Scope::of(scope.names).with(&locals));
    }
    let result = functions::call(function, &values, scope.names.world()).map_err(fail)?;
    spend(result.weight(), place, scope)?;
    Ok(result)
}

fn traversal(
    base: &Expr,
    steps: &[Step],
    place: &Place,
    scope: &Scope<'_>,
) -> Result<Value, BakeError> {
    // A target is not a value: its attributes are worked out one by one.
    if let (Kind::Variable(kind), [block, rest @ ..]) = (&base.kind, steps)
        && scope.local(kind).is_none()
    {
        let block = match block {
            Step::Attribute(block) => Some(block.clone()),
            Step::Index(index) => Some(name(index, scope)?),
            _ => None,
        };
        let attribute = match rest.first() {
            Some(Step::Attribute(attribute)) => Some(attribute.clone()),
            Some(Step::Index(index)) => value(index, scope)?.as_text(),
            _ => None,
        };
        if let Some(block) = block
            && let Some(found) = scope.names.attribute(kind, &block, attribute.as_deref(), place)?
        {
            let done = usize::from(attribute.is_some());
            return follow(found, &rest[done..], place, scope);
        }
    }
    follow(value(base, scope)?, steps, place, scope)
}

/// Follows the steps of a traversal from a value on.
fn follow(
    from: Value,
    steps: &[Step],
    place: &Place,
    scope: &Scope<'_>,
) -> Result<Value, BakeError> {
    let Some((step, rest)) = steps.split_first() else { return Ok(from) };
    let index = match step {
        Step::Attribute(attribute) => Value::text(attribute.as_str()),
        Step::Index(index) => value(index, scope)?,
        Step::AttributeSplat | Step::FullSplat => {
            let is_full = matches!(step, Step::FullSplat);
            let each = rest.iter().take_while(|s| is_full || matches!(s, Step::Attribute(_)));
            let (each, rest) = rest.split_at(each.count());
            let elements = match from {
                Value::Null => Vec::new(),
                Value::List(values) | Value::Set(values) => values,
                one => vec![one],
            };
            let elements = elements.into_iter().map(|element| follow(element, each, place, scope));
            let elements = elements.collect::<Result<_, _>>().map(Value::List)?;
            return follow(elements, rest, place, scope);
        }
    };
    let next =
        operators::index(&from, &index).map_err(|reason| BakeError::invalid(place, reason))?;
    follow(next, rest, place, scope)
}

/// Returns the keys and values that `for` goes through.
fn entries(collection: &Expr, scope: &Scope<'_>) -> Result<Vec<(Value, Value)>, BakeError> {
    match value(collection, scope)? {
        Value::List(values) => Ok(operators::numbered(values)),
        Value::Set(values) => Ok(values.into_iter().map(|value| (value.clone(), value)).collect()),
        Value::Map(values) => {
            Ok(values.into_iter().map(|(key, value)| (Value::String(key), value)).collect())
        }
        other => {
            let reason =
                format!("expected a list, set or object to go through, found {}", other.kind());
            Err(BakeError::invalid(&collection.place, reason))
        }
    }
}

/// Binds the names of a `for`.
fn bind(
    key_name: Option<&String>,
    value_name: &str,
    (key, value): (Value, Value),
) -> BTreeMap<String, Value> {
    let mut locals = BTreeMap::new();
    if let Some(name) = key_name {
        locals.insert(name.clone(), key);
    }
    locals.insert(value_name.to_owned(), value);
    locals
}

fn for_value(expr: &For, scope: &Scope<'_>) -> Result<Value, BakeError> {
    let mut list = Vec::new();
    let mut map: BTreeMap<String, Value> = BTreeMap::new();
    for entry in entries(&expr.collection, scope)? {
        let locals = bind(expr.key_name.as_ref(), &expr.value_name, entry);
        let scope = &scope.with(&locals);
        if let Some(condition) = &expr.condition
            && !truth(condition, scope)?
        {
            continue;
        }
        let result = value(&expr.value, scope)?;
        let Some(key) = &expr.key else {
            list.push(result);
            continue;
        };
        let key_text = name(key, scope)?;
        if expr.is_grouped {
            let group = map.entry(key_text).or_insert_with(|| Value::List(Vec::new()));
            if let Value::List(values) = group {
                values.push(result);
            }
        } else if map.insert(key_text.clone(), result).is_some() {
            let reason = format!(
                "two values have the key {key_text}; `...` would group them",
                key_text = quoted(&key_text)
            );
            return Err(BakeError::invalid(&key.place, reason));
        }
    }
    Ok(if expr.key.is_some() { Value::Map(map) } else { Value::List(list) })
}

/// Returns the text of a template.
fn text(parts: &[Part], scope: &Scope<'_>) -> Result<String, BakeError> {
    let mut result = String::new();
    for part in parts {
        match part {
            Part::Text(text) => result.push_str(text),
            Part::Value(expr) => result.push_str(&name(expr, scope)?),
            Part::If { condition, then, otherwise } => {
                let chosen = if truth(condition, scope)? { then } else { otherwise };
                result.push_str(&text(chosen, scope)?);
            }
            Part::For { key_name, value_name, collection, body } => {
                for entry in entries(collection, scope)? {
                    let locals = bind(key_name.as_ref(), value_name, entry);
                    result.push_str(&text(body, &scope.with(&locals))?);
                }
            }
        }
    }
    Ok(result)
}

#[cfg(test)]
mod tests;
