//! The file, as keys with values and lines.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use toml_edit::{Document, Item, TableLike, Value};

use crate::report::Problem;

/// Bytes of the file at most; a file is some KiB.
const MAX_BYTES: u64 = 1 << 20;

/// The table of registries, which `xbuild_build` reads.
pub(crate) const REGISTRIES: &str = "registry";

/// The settings of a file.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// Where the file is, or would be; `None` without a home folder.
    pub(crate) path: Option<PathBuf>,
    /// The settings, in the order of the file.
    pub(crate) list: Vec<Setting>,
    /// The reason if the file cannot be read.
    pub(crate) fault: Option<Problem>,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The parts of the key: tables, and the name in the last one; at least one.
    pub(crate) key: Vec<String>,
    /// The value.
    pub(crate) value: Given,
    /// The line of the key, from 1.
    pub(crate) line: usize,
}

/// A value, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    /// A text, a number, `true` or `false`.
    One(String),
    /// A list of them.
    List(Vec<String>),
}

impl Given {
    /// Returns the texts: one, or those of the list.
    pub(crate) fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::List(texts) => texts,
        }
    }
}

impl Settings {
    /// Reads a file. One that does not exist has no settings, nor has one that is closed to this user,
    /// unless it `is_named`: in containers, HOME is often another user's.
    pub(crate) fn read(path: Option<PathBuf>, is_named: bool) -> Self {
        let Some(path) = path else { return Self::default() };
        let is_closed = |path: &Path| {
            File::open(path).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
        };
        if !is_named && is_closed(&path) {
            return Self { path: Some(path), ..Self::default() };
        }
        let list = text(&path).and_then(|text| match text {
            Some(text) => parse(&text, &path),
            None => Ok(Vec::new()),
        });
        let (list, fault) = match list {
            Ok(list) => (list, None),
            Err(problem) => (Vec::new(), Some(problem)),
        };
        Self { path: Some(path), list, fault }
    }

    /// Returns the place of a line, as `PATH:LINE`.
    pub(crate) fn at(&self, line: usize) -> String {
        at(self.path.as_deref().unwrap_or(Path::new("")), line)
    }

    /// Returns the value of a key.
    pub(crate) fn value(&self, key: &[&str]) -> Option<&Setting> {
        self.list.iter().find(|setting| setting.key == key)
    }
}

/// Returns the text of a file; `None` if it does not exist.
pub(super) fn text(path: &Path) -> Result<Option<String>, Problem> {
    let is_missing = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    };
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
    match read {
        Ok(size) if size as u64 > MAX_BYTES => {
            Err(Problem::input(format!("{}: the file has over 1 MiB", path.display())))
        }
        Ok(_) => Ok(Some(text)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(Problem::file("read", path, &error)),
    }
}

/// Returns the settings of a text.
fn parse(text: &str, path: &Path) -> Result<Vec<Setting>, Problem> {
    let line = |offset: usize| text.get(..offset).unwrap_or("").matches('\n').count() + 1;
    let document = Document::parse(text).map_err(|error| {
        let place = at(path, error.span().map_or(1, |span| line(span.start)));
        Problem::input(format!("{place}: {}", error.message().replace('\n', ", ")))
    })?;
    let mut reader = Reader { path, line: &line, list: Vec::new() };
    reader.table(document.as_table(), &mut Vec::new())?;
    Ok(reader.list)
}

fn at(path: &Path, line: usize) -> String {
    format!("{}:{line}", path.display())
}

/// Collects the settings of tables.
struct Reader<'a> {
    path: &'a Path,
    line: &'a dyn Fn(usize) -> usize,
    list: Vec<Setting>,
}

impl Reader<'_> {
    fn table(&mut self, table: &dyn TableLike, above: &mut Vec<String>) -> Result<(), Problem> {
        for (name, item) in table.iter() {
            let span = table.key(name).and_then(|key| key.span());
            let line = (self.line)(span.map_or(0, |span| span.start));
            above.push(name.to_owned());
            // The headers of a registry are a table, but one value.
            let is_value = above[0] == REGISTRIES && above.len() > 2;
            match item.as_table_like() {
                Some(table) if !is_value => self.table(table, above)?,
                _ => {
                    let value = given(item, is_value);
                    let value = value.ok_or_else(|| {
                        let (place, key) = (at(self.path, line), above.join("."));
                        let kinds = "a text, a number, true, false, or a list of these";
                        Problem::input(format!("{place}: {key} is not {kinds}"))
                    })?;
                    self.list.push(Setting { key: above.clone(), value, line });
                }
            }
            above.pop();
        }
        Ok(())
    }
}

/// Returns the value of an item. A table is one only for registries, which may have secrets in it.
fn given(item: &Item, may_be_table: bool) -> Option<Given> {
    if may_be_table && item.is_table_like() {
        return Some(Given::One("{..}".to_owned()));
    }
    match item.as_value()? {
        Value::Array(list) => list.iter().map(one).collect::<Option<_>>().map(Given::List),
        value => one(value).map(Given::One),
    }
}

fn one(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Boolean(truth) => Some(truth.value().to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_keys_values_and_lines() {
        let text = "root = \"/r\"\n[build]\nplatform = [\"a\",\n \"b\"]\njobs = 4\npush = true\n\n\
            [index.create]\nfile = \"f\"\n[registry.\"r.example:5000\"]\nheaders = { A = \"s\" }\n";
        let list = parse(text, Path::new("c.toml")).unwrap();
        let shown = |setting: &Setting| {
            format!("{} {} {:?}", setting.line, setting.key.join("/"), setting.value.texts())
        };
        assert_eq!(
            list.iter().map(shown).collect::<Vec<_>>(),
            [
                "1 root [\"/r\"]",
                "3 build/platform [\"a\", \"b\"]",
                "5 build/jobs [\"4\"]",
                "6 build/push [\"true\"]",
                "9 index/create/file [\"f\"]",
                "11 registry/r.example:5000/headers [\"{..}\"]",
            ]
        );
    }

    #[test]
    fn faults_name_file_and_line() {
        for (text, wanted) in [
            ("a = 1\nb = \n", "c.toml:2: "),
            ("[a]\nb = 1979-05-27\n", "c.toml:2: a.b is not a text"),
            ("[[a]]\nb = 1\n", "c.toml:1: a is not a text"),
            ("a = [1, [2]]\n", "c.toml:1: a is not a text"),
            ("a = 1\na = 2\n", "c.toml:2: "),
        ] {
            let message = parse(text, Path::new("c.toml")).unwrap_err().render();
            assert!(message.contains(wanted), "{text}: {message}");
        }
    }
}
