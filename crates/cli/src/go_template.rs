//! The part of Go's templates that people use in `--format`: `{{json .Manifest}}`, `{{.Name}}`,
//! `{{index .Image "linux/arm64"}}`. Everything else is refused by name.

use serde_json::Value;
use xbuild_wording::quoted;

/// A template.
#[derive(Debug, PartialEq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    Action { as_json: bool, value: Path },
}

/// A path of members, such as `.Manifest.Digest`; keys that `index` gives are members, too.
#[derive(Debug, PartialEq)]
struct Path(Vec<String>);

/// The words that Go knows and this module does not.
const REFUSED: &[&str] =
    &["range", "if", "with", "end", "else", "define", "template", "block", "printf", "len"];
/// The members that attestations fill.
const STATED: &[&str] = &["provenance", "sbom"];

/// Reads a template.
///
/// **Errors** — a sentence.
pub(crate) fn parse(text: &str) -> Result<Template, String> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((before, inside)) = rest.split_once("{{") {
        parts.push(Part::Text(unescape(before)));
        let (inside, after) = inside.split_once("}}").ok_or("\"{{\" without \"}}\"")?;
        let inside = inside.trim().trim_start_matches("- ").trim_end_matches(" -").trim();
        parts.push(action(inside)?);
        rest = after;
    }
    parts.push(Part::Text(unescape(rest)));
    Ok(Template(parts))
}

fn unescape(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\t", "\t")
}

fn action(text: &str) -> Result<Part, String> {
    let word = text.split_whitespace().next().unwrap_or_default();
    if REFUSED.contains(&word) {
        return Err(format!("{{{{{word}}}}} is not implemented"));
    }
    let (as_json, text) = match text.strip_prefix("json ") {
        Some(rest) => (true, rest.trim()),
        None => (false, text),
    };
    Ok(Part::Action { as_json, value: path(text)? })
}

fn path(text: &str) -> Result<Path, String> {
    let inner = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text);
    if let Some(rest) = inner.strip_prefix("index ") {
        let (base, key) = rest.trim().split_once(' ').ok_or("index needs a value and a key")?;
        let key = key.trim();
        let in_quotes = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
        let key = match in_quotes {
            Some(key) if !key.contains('"') => key.to_owned(),
            None if !key.is_empty() && key.bytes().all(|b| b.is_ascii_digit()) => key.to_owned(),
            _ => {
                return Err(format!(
                    "index takes one key, a text or a number, not {}",
                    quoted(key)
                ));
            }
        };
        let Path(mut members) = path(base)?;
        members.push(key);
        return Ok(Path(members));
    }
    let members = inner.strip_prefix('.').ok_or_else(|| {
        format!(
            "{} is not implemented: expected .NAME, json .NAME, or index .NAME KEY",
            quoted(inner)
        )
    })?;
    if members.is_empty() {
        return Ok(Path(Vec::new()));
    }
    let members: Vec<String> = members.split('.').map(str::to_owned).collect();
    let is_name = |name: &String| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if !members.iter().all(is_name) {
        return Err(format!("{} is not implemented: expected .NAME.NAME", quoted(inner)));
    }
    Ok(Path(members))
}

impl Template {
    /// Returns whether it shows attestations.
    pub(crate) fn shows_statements(&self) -> bool {
        let is_stated = |name: &String| STATED.contains(&name.to_ascii_lowercase().as_str());
        self.0.iter().any(|part| match part {
            Part::Action { value: Path(members), .. } => members.first().is_some_and(is_stated),
            Part::Text(_) => false,
        })
    }

    /// Writes a value. Names of members are compared without case, as Go's `Digest` is JSON's `digest`.
    ///
    /// **Errors** — a sentence: a member does not exist.
    pub(crate) fn render(&self, value: &Value) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Action { as_json, value: path } => match path.get(value)? {
                    Value::String(part) if !as_json => text.push_str(part),
                    other => text.push_str(&other.to_string()),
                },
            }
        }
        Ok(text)
    }
}

impl Path {
    fn get<'v>(&self, value: &'v Value) -> Result<&'v Value, String> {
        let mut found = value;
        for name in &self.0 {
            let next = match found {
                Value::Array(list) => name.parse::<usize>().ok().and_then(|at| list.get(at)),
                Value::Object(map) => map.get(name).or_else(|| {
                    map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v)
                }),
                _ => None,
            };
            found = next.ok_or_else(|| {
                format!("there is no {name} in .{}", self.0.join("."), name = quoted(&name))
            })?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_are_filled_in() {
        let value = json!({"name": "a", "manifest": {"digest": "d", "manifests": [{"size": 1}]},
            "image": {"linux/amd64": {"os": "linux"}}});
        for (template, expected) in [
            ("{{.Name}}: {{ .Manifest.Digest }}\\n", "a: d\n"),
            ("{{json .Name}}", "\"a\""),
            ("{{json .}}", &value.to_string()),
            ("{{json .Manifest.Manifests}}", "[{\"size\":1}]"),
            ("{{json (index .Image \"linux/amd64\")}}", "{\"os\":\"linux\"}"),
            ("{{(index .Manifest.Manifests 0)}}", "{\"size\":1}"),
            ("plain", "plain"),
        ] {
            assert_eq!(parse(template).unwrap().render(&value).unwrap(), expected, "{template}");
        }
        assert!(parse("{{.Absent}}").unwrap().render(&value).unwrap_err().contains("Absent"));
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        for (template, said) in [
            ("{{range .Manifest.Manifests}}{{.Digest}}{{end}}", "{{range}}"),
            ("{{ .A | json }}", "not implemented"),
            ("{{lower .Name}}", "not implemented"),
            ("{{", "without"),
        ] {
            let error = parse(template).unwrap_err();
            assert!(error.contains(said), "{template}: {error}");
        }
    }
}
