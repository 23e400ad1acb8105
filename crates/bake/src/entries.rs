//! Attributes of a target that are lists of options: caches, outputs, attestations, secrets, SSH agents.
//!
//! An entry is an object, or a text as on the command line: `type=registry,ref=NAME`.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use xbuild_wording::quoted;

use crate::value::Value;

/// A cache, an output or an attestation: its type and what else is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The type: `registry`, `local`, `provenance`, ..
    pub kind: String,
    /// The other options, by name.
    pub attributes: BTreeMap<String, String>,
}

impl Serialize for Options {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut pairs: BTreeMap<&str, serde_json::Value> = BTreeMap::new();
        for (name, value) in &self.attributes {
            let value = match name.as_str() {
                // The one option that is no text.
                "disabled" => serde_json::Value::Bool(true),
                _ => serde_json::Value::from(value.as_str()),
            };
            pairs.insert(name, value);
        }
        pairs.insert("type", serde_json::Value::from(self.kind.as_str()));
        pairs.serialize(to)
    }
}

impl std::fmt::Display for Options {
    /// Writes `type=TYPE,NAME=VALUE,..`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut fields = vec![format!("type={}", self.kind)];
        fields.extend(self.attributes.iter().map(|(name, value)| format!("{name}={value}")));
        f.write_str(&joined(&fields))
    }
}

/// Joins fields by commas, with quotes where a field needs them.
pub(crate) fn joined<T: AsRef<str>>(fields: &[T]) -> String {
    let quote = |field: &T| {
        let field = field.as_ref();
        match field.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => field.to_owned(),
        }
    };
    fields.iter().map(quote).collect::<Vec<_>>().join(",")
}

/// Splits a text at commas, save in quotes.
pub(crate) fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    reader
        .read_record(&mut record)
        .map_err(|error| format!("{text}: {error}", text = quoted(&text)))?;
    Ok(record.iter().map(str::to_owned).collect())
}

/// Splits `name=value`.
fn pair(field: &str) -> Result<(String, String), String> {
    let split = field.split_once('=');
    let (name, value) = split
        .ok_or_else(|| format!("expected NAME=VALUE, found {field}", field = quoted(&field)))?;
    Ok((name.trim().to_lowercase(), value.to_owned()))
}

/// Reads the options of a text.
fn options(text: &str) -> Result<BTreeMap<String, String>, String> {
    fields(text)?.iter().map(|field| pair(field)).collect()
}

/// Takes the type from options.
fn typed(mut attributes: BTreeMap<String, String>, text: &str) -> Result<Options, String> {
    let kind = attributes.remove("type").filter(|kind| !kind.is_empty());
    let kind = kind.ok_or_else(|| format!("{text} has no type", text = quoted(&text)))?;
    Ok(Options { kind, attributes })
}

/// Reads a cache: options, or the names of images.
pub(crate) fn caches(text: &str) -> Result<Vec<Options>, String> {
    if text.contains('=') {
        return Ok(vec![typed(options(text)?, text)?]);
    }
    let of = |reference: String| Options {
        kind: "registry".to_owned(),
        attributes: BTreeMap::from([("ref".to_owned(), reference)]),
    };
    Ok(fields(text)?.into_iter().map(of).collect())
}

/// Reads an output: options, a folder, or `-` for a tar file.
pub(crate) fn output(text: &str) -> Result<Options, String> {
    let fields = fields(text)?;
    if fields.len() == 1 && fields[0] == text && !text.starts_with("type=") {
        let kind = if text == "-" { "tar" } else { "local" }.to_owned();
        return Ok(Options {
            kind,
            attributes: BTreeMap::from([("dest".to_owned(), text.to_owned())]),
        });
    }
    let mut attributes = options(text)?;
    attributes.retain(|name, value| name != "dest" || !value.is_empty());
    typed(attributes, text)
}

/// Reads an attestation.
pub(crate) fn attestation(text: &str) -> Result<Options, String> {
    checked_attestation(typed(options(text)?, text)?)
}

fn checked_attestation(mut options: Options) -> Result<Options, String> {
    if let Some(disabled) = options.attributes.remove("disabled")
        && bool_like(&disabled).ok_or_else(|| format!("disabled={disabled} is no bool"))?
    {
        options.attributes.insert("disabled".to_owned(), "true".to_owned());
    }
    Ok(options)
}

/// Returns the value of `--sbom` or `--provenance` as that of `--attest`.
pub fn shorthand(kind: &str, text: &str) -> String {
    match bool_like(text) {
        Some(value) => format!("type={kind},disabled={}", !value),
        None => format!("type={kind},{text}"),
    }
}

/// Reads a bool as Go does.
pub(crate) fn bool_like(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A secret that steps may mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Secret {
    /// The name that steps know it by.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The file with its value; empty for none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub src: String,
    /// The environment variable with its value; empty for none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub env: String,
}

impl Secret {
    /// Reads `id=ID,src=FILE` or `id=ID,env=VARIABLE`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (mut secret, mut kind) = (Self::default(), String::new());
        for field in fields(text)? {
            let (name, value) = pair(&field)?;
            match name.as_str() {
                "type" if value == "file" || value == "env" => kind = value,
                "type" => {
                    return Err(format!(
                        "a secret has no type {value}: expected file or env",
                        value = quoted(&value)
                    ));
                }
                "id" => secret.id = value,
                "source" | "src" => secret.src = value,
                "env" => secret.env = value,
                _ => return Err(format!("a secret has no option {name}", name = quoted(&name))),
            }
        }
        if kind == "env" && secret.env.is_empty() {
            secret.env = std::mem::take(&mut secret.src);
        }
        Ok(secret)
    }
}

impl std::fmt::Display for Secret {
    /// Writes the secret as `xbuild build --secret` reads it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = [("id", &self.id), ("src", &self.src), ("env", &self.env)];
        let given = all.iter().filter(|(_, value)| !value.is_empty());
        f.write_str(&joined(
            &given.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
        ))
    }
}

/// An SSH agent that steps may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Ssh {
    /// The name that steps know it by.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Its socket, or files with keys; empty for the agent of the user.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

impl Ssh {
    /// Reads `ID` or `ID=PATH,PATH`.
    pub(crate) fn parse(text: &str) -> Self {
        let (id, paths) =
            text.split_once('=').map_or((text, None), |(id, paths)| (id, Some(paths)));
        let paths = paths.map(|paths| paths.split(',').map(str::to_owned).collect());
        Self { id: id.to_owned(), paths: paths.unwrap_or_default() }
    }
}

impl std::fmt::Display for Ssh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.id)?;
        match self.paths.is_empty() {
            true => Ok(()),
            false => write!(f, "={}", self.paths.join(",")),
        }
    }
}

/// Reads a list whose elements are texts or objects.
pub(crate) fn list<T>(
    value: Value,
    text: impl Fn(&str) -> Result<Vec<T>, String>,
    object: impl Fn(BTreeMap<String, Value>) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let kind = value.kind();
    let elements = match value {
        Value::List(values) | Value::Set(values) => values,
        _ => return Err(format!("a list required, found {kind}")),
    };
    let mut all = Vec::new();
    for element in elements {
        match element {
            Value::Null => {}
            Value::String(element) if element.is_empty() => {}
            Value::String(element) => all.extend(text(&element)?),
            Value::Map(pairs) => all.push(object(pairs)?),
            other => return Err(format!("a string or an object required, found {}", other.kind())),
        }
    }
    Ok(all)
}

/// Makes options of an object.
pub(crate) fn options_of(pairs: BTreeMap<String, Value>) -> Result<Options, String> {
    let texts =
        pairs.into_iter().filter(|(_, value)| *value != Value::Null).map(|(name, value)| {
            let kind = value.kind();
            let text = value.as_text();
            Ok((
                name.clone(),
                text.ok_or_else(|| format!("{name}: a string required, found {kind}"))?,
            ))
        });
    let mut texts = texts.collect::<Result<BTreeMap<_, _>, String>>()?;
    texts.retain(|name, value| name != "dest" || !value.is_empty());
    typed(texts, "an object of the list")
}

/// Makes an attestation of an object.
pub(crate) fn attestation_of(pairs: BTreeMap<String, Value>) -> Result<Options, String> {
    checked_attestation(options_of(pairs)?)
}

/// Makes a secret of an object.
pub(crate) fn secret_of(pairs: BTreeMap<String, Value>) -> Result<Secret, String> {
    let mut secret = Secret::default();
    for (name, value) in pairs {
        let text = value.as_text().unwrap_or_default();
        match name.as_str() {
            "id" => secret.id = text,
            "src" | "source" => secret.src = text,
            "env" => secret.env = text,
            // A secret with neither file nor variable is the variable or the file of its id.
            "type" => {}
            _ => return Err(format!("a secret has no option {name}", name = quoted(&name))),
        }
    }
    Ok(secret)
}

/// Makes an SSH agent of an object.
pub(crate) fn ssh_of(pairs: BTreeMap<String, Value>) -> Result<Ssh, String> {
    let mut ssh = Ssh::default();
    for (name, value) in pairs {
        match name.as_str() {
            "id" => ssh.id = value.as_text().unwrap_or_default(),
            "paths" => {
                let paths = value.as_elements().unwrap_or_default().iter().map(Value::as_text);
                ssh.paths =
                    paths.collect::<Option<_>>().ok_or("paths: a list of strings required")?;
            }
            _ => return Err(format!("an SSH agent has no option {name}", name = quoted(&name))),
        }
    }
    Ok(ssh)
}

/// Keeps the last of all entries with the same key, in the place of the first.
pub(crate) fn last_of_each<T, K: PartialEq>(entries: &mut Vec<T>, key: impl Fn(&T) -> K) {
    let mut kept: Vec<T> = Vec::new();
    for entry in entries.drain(..) {
        match kept.iter_mut().find(|known| key(known) == key(&entry)) {
            Some(known) => *known = entry,
            None => kept.push(entry),
        }
    }
    *entries = kept;
}

/// Drops entries that are there twice. The last entry takes the place of each that is dropped, as in
/// buildx.
pub(crate) fn once_each<T: PartialEq>(entries: &mut Vec<T>) {
    for at in (0..entries.len().saturating_sub(1)).rev() {
        if let Some(after) = entries[at + 1..].iter().position(|other| *other == entries[at]) {
            entries.swap_remove(at + 1 + after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_forms_of_the_command_line() {
        assert_eq!(output("out").unwrap().to_string(), "type=local,dest=out");
        assert_eq!(output("-").unwrap().to_string(), "type=tar,dest=-");
        assert_eq!(output("Type=image,push=true").unwrap().to_string(), "type=image,push=true");
        assert!(output("push=true,x=y").is_err());
        let two: Vec<String> = caches("a/b,c/d").unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(two, ["type=registry,ref=a/b", "type=registry,ref=c/d"]);
        let secret = Secret::parse("type=env,id=a,src=HOME").unwrap();
        assert_eq!(secret.to_string(), "id=a,env=HOME");
        assert!(Secret::parse("id=a,x=y").is_err());
        assert_eq!(Ssh::parse("k=a,b").to_string(), "k=a,b");
        assert_eq!(shorthand("sbom", "false"), "type=sbom,disabled=true");
        let quoted = caches("type=gha,\"scope=a,b\"").unwrap();
        assert_eq!(quoted[0].to_string(), "type=gha,\"scope=a,b\"");
    }

    #[test]
    fn repeated_entries_go() {
        let mut numbers = vec![1, 2, 1, 3];
        once_each(&mut numbers);
        assert_eq!(numbers, [1, 2, 3]);
        let mut pairs = vec![("a", 1), ("b", 2), ("a", 3)];
        last_of_each(&mut pairs, |pair| pair.0);
        assert_eq!(pairs, [("a", 3), ("b", 2)]);
    }
}
