//! Lock files that are lists of `[[package]]` in TOML.

use toml::{Table, Value};

/// Returns name and version of each package of the list `list` that has both; `None` for text that is
/// no TOML.
pub(super) fn packages(text: &str, list: &str) -> Option<Vec<(String, String)>> {
    let lock: Table = text.parse().ok()?;
    let list = lock.get(list).and_then(Value::as_array).map(Vec::as_slice);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let package =
        |package: &Value| Some((text(package.get("name"))?, text(package.get("version"))?));
    Some(list.unwrap_or_default().iter().filter_map(package).collect())
}
