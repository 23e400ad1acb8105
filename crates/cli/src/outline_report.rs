//! The results of `--call outline`, `targets` and `subrequests.describe`, in the forms of BuildKit.
//!
//! **Source** — BuildKit (2026-08): `frontend.outline`, `frontend.targets`, `frontend.lint` and
//! `frontend.subrequests.describe`, version 1.0.0.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use xbuild_dockerfile::Target;
use xbuild_plan::{Outline, OutlinedMount};
use xbuild_wording::redacted;

use crate::check_report::location;
use crate::report::printable;

/// The methods, and what they do.
const METHODS: &[(&str, &str)] = &[
    ("outline", "List the parameters of the target"),
    ("targets", "List the targets of the Dockerfile"),
    ("lint", "Check the Dockerfile"),
    ("subrequests.describe", "List the methods"),
];

/// Returns an outline as JSON; `source` is the Dockerfile.
pub(crate) fn outline_json(outline: &Outline, source: &str) -> Value {
    let arguments = outline.arguments.iter().map(|argument| {
        let mut value = json!({ "name": argument.name, "location": location(&argument.span) });
        put(&mut value, "description", argument.description.as_deref());
        put(&mut value, "value", argument.value.as_deref());
        value
    });
    let mut value = json!({ "sources": [STANDARD.encode(&*redacted(source))] });
    put(&mut value, "name", outline.name.as_deref());
    put(&mut value, "description", outline.description.as_deref());
    let lists = [
        ("args", arguments.collect()),
        ("secrets", mounts(&outline.secrets)),
        ("ssh", mounts(&outline.agents)),
    ];
    for (name, list) in lists.into_iter().filter(|(_, list): &(_, Vec<Value>)| !list.is_empty()) {
        value[name] = list.into();
    }
    value
}

fn mounts(mounts: &[OutlinedMount]) -> Vec<Value> {
    let mounts = mounts.iter().map(|mount| {
        let mut value = json!({ "name": mount.id, "location": location(&mount.span) });
        if mount.required {
            value["required"] = true.into();
        }
        value
    });
    mounts.collect()
}

/// Sets a member that is left out if it is empty.
fn put(value: &mut Value, name: &str, text: Option<&str>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        value[name] = text.into();
    }
}

/// Returns an outline for people.
pub(crate) fn outline_text(outline: &Outline) -> String {
    let mut text = String::new();
    if outline.name.is_some() || outline.description.is_some() {
        let name = outline.name.as_deref().unwrap_or("(default)");
        let mut rows = vec![vec!["TARGET:", name]];
        rows.extend(outline.description.as_deref().map(|text| vec!["DESCRIPTION:", text]));
        text.push_str(&table(&rows, 1));
        text.push('\n');
    }
    if !outline.arguments.is_empty() {
        let mut rows = vec![vec!["BUILD ARG", "VALUE", "DESCRIPTION"]];
        rows.extend(outline.arguments.iter().map(|argument| {
            let value = argument.value.as_deref().unwrap_or_default();
            vec![argument.name.as_str(), value, argument.description.as_deref().unwrap_or_default()]
        }));
        text.push_str(&table(&rows, 3));
        text.push('\n');
    }
    for (title, mounts) in [("SECRET", &outline.secrets), ("SSH", &outline.agents)] {
        if mounts.is_empty() {
            continue;
        }
        let mut rows = vec![vec![title, "REQUIRED"]];
        rows.extend(
            mounts
                .iter()
                .map(|mount| vec![mount.id.as_str(), if mount.required { "true" } else { "" }]),
        );
        text.push_str(&table(&rows, 3));
        text.push('\n');
    }
    text
}

/// Returns targets as JSON; `source` is the Dockerfile.
pub(crate) fn targets_json(targets: &[Target<'_>], source: &str) -> Value {
    let targets = targets.iter().map(|target| {
        let mut value = json!({ "base": target.base, "location": location(target.span) });
        put(&mut value, "name", target.name);
        put(&mut value, "description", target.description);
        put(&mut value, "platform", target.platform);
        if target.is_default {
            value["default"] = true.into();
        }
        value
    });
    json!({ "targets": targets.collect::<Vec<_>>(), "sources": [STANDARD.encode(&*redacted(source))] })
}

/// Returns targets for people.
pub(crate) fn targets_text(targets: &[Target<'_>]) -> String {
    let name = |target: &Target<'_>| match (target.name, target.is_default) {
        (None, true) => "(default)".to_owned(),
        (Some(name), true) => format!("{name} (default)"),
        (name, false) => name.unwrap_or_default().to_owned(),
    };
    let names: Vec<String> = targets.iter().map(name).collect();
    let mut rows = vec![vec!["TARGET", "DESCRIPTION"]];
    rows.extend(
        names
            .iter()
            .zip(targets)
            .map(|(name, target)| vec![name.as_str(), target.description.unwrap_or_default()]),
    );
    table(&rows, 1)
}

/// Returns the methods as JSON.
pub(crate) fn methods_json() -> Value {
    let method = |(name, description): &(&str, &str)| {
        let mut value = Map::new();
        value.insert("name".to_owned(), format!("frontend.{name}").into());
        value.insert("version".to_owned(), "1.0.0".into());
        value.insert("type".to_owned(), "rpc".into());
        value.insert("description".to_owned(), (*description).into());
        let results = json!([
            { "name": "result.json", "description": "" },
            { "name": "result.txt", "description": "" },
        ]);
        value.insert("metadata".to_owned(), results);
        let options = match *name {
            "outline" => json!([{ "name": "target", "description": "Target build stage" }]),
            _ => json!([]),
        };
        value.insert("opts".to_owned(), options);
        value.insert("inputs".to_owned(), Value::Null);
        value.insert("refs".to_owned(), Value::Null);
        Value::Object(value)
    };
    METHODS.iter().map(method).collect()
}

/// Returns the methods for people.
pub(crate) fn methods_text() -> String {
    let mut rows = vec![vec!["NAME", "VERSION", "DESCRIPTION"]];
    rows.extend(METHODS.iter().map(|(name, description)| vec![*name, "1.0.0", *description]));
    table(&rows, 1)
}

/// Returns rows of cells as Go's `tabwriter` aligns them: all cells but the last of a row get the width
/// of the widest one in their column, and some blanks.
fn table(rows: &[Vec<&str>], blanks: usize) -> String {
    let safe = |row: &Vec<&str>| row.iter().map(|cell| printable(cell)).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = rows.iter().map(safe).collect();
    let width = |cell: &String| cell.chars().count();
    let columns = rows.first().map_or(0, |row| row.len().saturating_sub(1));
    let column = |index: usize| rows.iter().map(|row| width(&row[index])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(|index| column(index) + blanks).collect();
    let mut text = String::new();
    for row in &rows {
        for (index, cell) in row.iter().enumerate() {
            text.push_str(cell);
            let fill = widths.get(index).map_or(0, |column| column - width(cell));
            text.push_str(&" ".repeat(fill));
        }
        text.push('\n');
    }
    text
}
