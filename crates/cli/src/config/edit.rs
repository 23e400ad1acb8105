//! Changes of the file, which keep its comments and its order.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use toml_edit::{Array, DocumentMut, Item, Table, Value};
use xbuild_wording::hints;

use super::file::{Given, text};
use crate::report::Problem;

/// Sets a key.
pub(crate) fn set(path: &Path, key: &[String], new: Value) -> Result<(), Problem> {
    let Some((name, tables)) = key.split_last() else { return Ok(()) };
    let mut document = document(path)?;
    let mut table: &mut dyn toml_edit::TableLike = document.as_table_mut();
    for (index, part) in tables.iter().enumerate() {
        let mut fresh = Table::new();
        // A table that has only tables in it needs no head of its own.
        fresh.set_implicit(index + 1 < tables.len());
        let inner = table.entry(part).or_insert(Item::Table(fresh));
        let fail = || Problem::input(format!("{}: {part} is no table", path.display()));
        table = inner.as_table_like_mut().ok_or_else(fail)?;
    }
    match table.get_mut(name).and_then(Item::as_value_mut) {
        Some(old) => {
            // A comment behind the value stays.
            let decor = old.decor().clone();
            *old = new;
            *old.decor_mut() = decor;
        }
        None => {
            table.insert(name, Item::Value(new));
        }
    }
    write(path, &document.to_string())
}

/// Removes a key; `false` if the file does not have it. A table that is empty then goes, too.
pub(crate) fn unset(path: &Path, key: &[String]) -> Result<bool, Problem> {
    let mut document = document(path)?;
    if !remove(document.as_table_mut(), key) {
        return Ok(false);
    }
    write(path, &document.to_string()).map(|()| true)
}

fn remove(table: &mut dyn toml_edit::TableLike, key: &[String]) -> bool {
    let Some((first, rest)) = key.split_first() else { return false };
    if rest.is_empty() {
        return table.remove(first).is_some();
    }
    let Some(inner) = table.get_mut(first).and_then(Item::as_table_like_mut) else { return false };
    let is_removed = remove(inner, rest);
    if is_removed && inner.is_empty() {
        table.remove(first);
    }
    is_removed
}

fn document(path: &Path) -> Result<DocumentMut, Problem> {
    let text = text(path)?.unwrap_or_default();
    let document = text.parse::<DocumentMut>();
    document.map_err(|error| {
        Problem::input(format!("{}: {}", path.display(), error.message().replace('\n', ", ")))
            .with_hint(hints::config_names_the_line())
    })
}

/// Returns a value of an option: numbers, `true` and `false` as such.
pub(crate) fn value_of(value: &Given) -> Value {
    let one = |text: &String| match (text.parse::<bool>(), text.parse::<i64>()) {
        (Ok(truth), _) => Value::from(truth),
        (_, Ok(number)) if number.to_string() == *text => Value::from(number),
        _ => Value::from(text.as_str()),
    };
    match value {
        Given::One(text) => one(text),
        Given::List(texts) => Value::from(texts.iter().map(one).collect::<Array>()),
    }
}

/// Writes the file in one step. A link stays one; a new file is its owner's alone, since it may get
/// secrets.
fn write(path: &Path, text: &str) -> Result<(), Problem> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().unwrap_or(Path::new("/"));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| Problem::file("make", folder, &error))?;
    let mode = fs::metadata(&path).map_or(0o600, |metadata| metadata.mode() & 0o777);
    let temporary = folder.join(format!(".config.toml.{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, &path));
    if written.is_err() {
        // The error of writing is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(|error| Problem::file("write", &path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn changes_keep_comments_and_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/config.toml");
        let one = |text: &str| value_of(&Given::One(text.to_owned()));
        let text = || fs::read_to_string(&path).unwrap();
        set(&path, &key("build.jobs"), one("4")).unwrap();
        assert_eq!(text(), "[build]\njobs = 4\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::write(&path, "# mine\n[build] # b\njobs = 4 # few\n").unwrap();
        set(&path, &key("build.jobs"), one("8")).unwrap();
        let list = Given::List(vec!["a".to_owned(), "b".to_owned()]);
        set(&path, &key("build.platform"), value_of(&list)).unwrap();
        set(&path, &key("index.create.file"), one("f")).unwrap();
        set(&path, &key("root"), one("/r")).unwrap();
        assert_eq!(
            text(),
            "root = \"/r\"\n# mine\n[build] # b\njobs = 8 # few\nplatform = [\"a\", \"b\"]\n\n\
             [index.create]\nfile = \"f\"\n"
        );
        assert!(set(&path, &key("root.a"), one("f")).is_err());
        assert!(unset(&path, &key("index.create.file")).unwrap());
        assert!(!unset(&path, &key("index.create.file")).unwrap());
        assert!(unset(&path, &key("root")).unwrap());
        assert!(!text().contains("index") && text().contains("# mine"), "{}", text());
    }
}
