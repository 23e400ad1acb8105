//! Values made values of one type.
//!
//! **Source** — go-cty `cty/convert/unify.go`. Lists and tuples are the same here, and so are maps and
//! objects; see [`Value`].

use std::collections::BTreeMap;

use crate::value::Value;

/// Makes all values values of one type, `null` apart. `None` if there is no such type.
pub(crate) fn unify(values: Vec<Value>) -> Option<Vec<Value>> {
    let of_kind = |is_one: fn(&Value) -> bool| {
        values.iter().all(|value| is_one(value) || *value == Value::Null)
    };
    if of_kind(|value| matches!(value, Value::List(_) | Value::Set(_))) {
        return lists(values);
    }
    if of_kind(|value| matches!(value, Value::Map(_))) {
        return maps(values);
    }
    let is_one = of_kind(|value| matches!(value, Value::Bool(_)))
        || of_kind(|value| matches!(value, Value::Number(_)));
    if is_one {
        return Some(values);
    }
    // A string may be made of a number and of a bool, but neither of the other.
    let has_string = values.iter().any(|value| matches!(value, Value::String(_)));
    let texts = values.iter().map(|value| match value {
        Value::Null => Some(Value::Null),
        value => value.as_text().map(Value::String),
    });
    has_string.then(|| texts.collect()).flatten()
}

/// Makes lists lists of one type: lists of one length place by place, others with one type for all.
fn lists(mut values: Vec<Value>) -> Option<Vec<Value>> {
    let mut lengths = values.iter().filter_map(Value::as_elements).map(<[Value]>::len);
    let first = lengths.next().unwrap_or(0);
    let is_even = lengths.all(|length| length == first);
    let mut columns: Vec<Vec<&mut Value>> = Vec::new();
    for value in &mut values {
        let (Value::List(elements) | Value::Set(elements)) = value else { continue };
        for (at, element) in elements.iter_mut().enumerate() {
            let column = if is_even { at } else { 0 };
            if columns.len() <= column {
                columns.push(Vec::new());
            }
            columns[column].push(element);
        }
    }
    columns.into_iter().try_for_each(unify_all)?;
    Some(values)
}

/// Makes maps maps of one type: those of the same names name by name, others with one type for all.
fn maps(mut values: Vec<Value>) -> Option<Vec<Value>> {
    let all = values.iter().filter_map(|value| match value {
        Value::Map(pairs) => Some(pairs.keys().collect::<Vec<_>>()),
        _ => None,
    });
    let all: Vec<_> = all.collect();
    let is_even = all.windows(2).all(|pair| pair[0] == pair[1]);
    let mut columns: BTreeMap<String, Vec<&mut Value>> = BTreeMap::new();
    for value in &mut values {
        let Value::Map(pairs) = value else { continue };
        for (name, element) in pairs {
            let column = if is_even { name.clone() } else { String::new() };
            columns.entry(column).or_default().push(element);
        }
    }
    columns.into_values().try_for_each(unify_all)?;
    Some(values)
}

fn unify_all(places: Vec<&mut Value>) -> Option<()> {
    let unified = unify(places.iter().map(|place| (**place).clone()).collect())?;
    for (place, value) in places.into_iter().zip(unified) {
        *place = value;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &str) -> Value {
        Value::from_json(serde_json::from_str(json).unwrap()).unwrap()
    }

    #[test]
    fn values_get_one_type() {
        for (values, expected) in [
            (r#"[1, "a"]"#, r#"["1","a"]"#),
            (r#"[1, null, true, "a"]"#, r#"["1",null,"true","a"]"#),
            (r#"[null, null]"#, r#"[null,null]"#),
            (r#"[1, true]"#, "none"),
            (r#"[1, [1]]"#, "none"),
            (r#"[[1, "x"], ["a", 2]]"#, r#"[["1","x"],["a","2"]]"#),
            (r#"[[1, "x"], [2, "y"]]"#, r#"[[1,"x"],[2,"y"]]"#),
            (r#"[[1, true], ["a"]]"#, r#"[["1","true"],["a"]]"#),
            (r#"[[1, [2]], []]"#, "none"),
            (
                r#"[{"a": 1, "b": true}, {"a": "x", "b": false}]"#,
                r#"[{"a":"1","b":true},{"a":"x","b":false}]"#,
            ),
            (r#"[{"a": 1}, {"b": "x"}]"#, r#"[{"a":"1"},{"b":"x"}]"#),
            (r#"[{"a": 1, "b": [1]}, {}]"#, "none"),
        ] {
            let Value::List(list) = value(values) else { panic!("{values}") };
            let found = unify(list).map(|list| Value::List(list).to_json().to_string());
            assert_eq!(found.as_deref().unwrap_or("none"), expected, "{values}");
        }
    }
}
