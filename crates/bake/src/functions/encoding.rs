//! Functions of encodings.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use xbuild_wording::quoted;

use super::args::{Args, Native};
use crate::value::Value;

pub(super) const TABLE: &[(&str, Native)] = &[
    ("base64decode", |args| {
        args.count(1)?;
        let bytes = STANDARD.decode(args.text(0)?).map_err(|error| error.to_string())?;
        String::from_utf8(bytes)
            .map(Value::String)
            .map_err(|_| "the result is not UTF-8".to_owned())
    }),
    ("base64encode", |args| {
        args.count(1)?;
        Ok(Value::text(STANDARD.encode(args.text(0)?)))
    }),
    ("csvdecode", table),
    ("jsondecode", |args| {
        args.count(1)?;
        let json = serde_json::from_str(&args.text(0)?).map_err(|error| error.to_string())?;
        Value::from_json(json).ok_or_else(|| "a number has more digits than are kept".to_owned())
    }),
    ("jsonencode", |args| {
        args.count(1)?;
        Ok(Value::text(html_safe(&args.any(0)?.json_text())))
    }),
    ("urlencode", |args| {
        args.count(1)?;
        Ok(Value::text(escaped(&args.text(0)?)))
    }),
];

/// Writes `<`, `>` and `&` of JSON the way that Go does.
pub(crate) fn html_safe(json: &str) -> String {
    let mut result = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => result.push_str("\\u003c"),
            '>' => result.push_str("\\u003e"),
            '&' => result.push_str("\\u0026"),
            '\u{2028}' => result.push_str("\\u2028"),
            '\u{2029}' => result.push_str("\\u2029"),
            c => result.push(c),
        }
    }
    result
}

/// Escapes a text for the query of a URL.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        b' ' => "+".to_owned(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// Reads lines of values under a line of names.
fn table(args: &Args<'_>) -> Result<Value, String> {
    args.count(1)?;
    let text = args.text(0)?;
    let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
    let names = reader.headers().map_err(|error| error.to_string())?.clone();
    if names.is_empty() {
        return Err("the line with the names is missing".to_owned());
    }
    let mut seen = BTreeSet::new();
    if let Some(name) = names.iter().find(|name| !seen.insert(*name)) {
        return Err(format!("two columns have the name {name}", name = quoted(name)));
    }
    let rows = reader.records().map(|row| {
        let row = row.map_err(|error| error.to_string())?;
        let pairs =
            names.iter().zip(&row).map(|(name, value)| (name.to_owned(), Value::text(value)));
        Ok(Value::Map(pairs.collect()))
    });
    rows.collect::<Result<_, String>>().map(Value::List)
}
