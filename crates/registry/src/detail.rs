//! The explanation that a server gives for a failure, made printable.

use std::fmt;

use serde_json::Value;
use xbuild_image::printable::printable;
use xbuild_model::Digest;

/// The explanation that a server gives for a failure: at most 300 characters, control characters
/// escaped.
///
/// Displays as nothing, or as `: ` and the text, to follow a status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail(Option<Box<Said>>);

/// The explanation of a server that gives one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Said {
    text: String,
    codes: Vec<String>,
    digests: Vec<Digest>,
}

/// Errors of one answer that are read.
const MAX_ENTRIES: usize = 100;

impl Detail {
    /// Returns the explanation in the body of an answer; empty for a body of another form.
    ///
    /// **Source** — OCI distribution-spec § Error Codes.
    pub fn of_body(body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let entries = body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let entries = &entries[..entries.len().min(MAX_ENTRIES)];
        let member = |entry: &Value, name: &str| entry[name].as_str().unwrap_or("").to_owned();
        let texts: Vec<String> = entries
            .iter()
            .take(3)
            .map(|entry| match (member(entry, "code"), member(entry, "message")) {
                (code, message) if message.is_empty() => code,
                (code, message) if code.is_empty() => message,
                (code, message) => format!("{code}: {message}"),
            })
            .collect();
        let said = Said {
            text: printable(&texts.join("; "), 300),
            codes: entries.iter().map(|entry| member(entry, "code")).collect(),
            digests: entries.iter().flat_map(digests).collect(),
        };
        Self(Some(said).filter(|said| *said != Said::default()).map(Box::new))
    }

    /// Returns whether there is no explanation.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns whether one of the errors has this code.
    pub(crate) fn has_code(&self, code: &str) -> bool {
        self.0.as_ref().is_some_and(|said| said.codes.iter().any(|own| own == code))
    }

    /// Returns the digests that the errors name.
    pub(crate) fn digests(&self) -> &[Digest] {
        self.0.as_ref().map(|said| said.digests.as_slice()).unwrap_or_default()
    }

    /// Returns whether the explanation has this text, in lower case.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.0.as_ref().is_some_and(|said| said.text.to_lowercase().contains(text))
    }
}

/// Returns the digests in an error, wherever they are in it: registries have no common place.
fn digests(entry: &Value) -> Vec<Digest> {
    const NAME: &str = "sha256:";
    let text = entry.to_string();
    let found = text.match_indices(NAME).take(MAX_ENTRIES);
    found.filter_map(|(at, _)| text.get(at..at + NAME.len() + 64)?.parse().ok()).collect()
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(said) if !said.text.is_empty() => write!(f, ": {}", said.text),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_an_error_is_about() {
        let digest = Digest::of(b"x");
        for entry in [
            format!(r#"{{"code":"BLOB_UNKNOWN","detail":"{digest}"}}"#),
            format!(r#"{{"code":"BLOB_UNKNOWN","detail":{{"Digest":"{digest}"}}}}"#),
            format!(r#"{{"code":"BLOB_UNKNOWN","message":"no blob {digest}, sha256:x"}}"#),
        ] {
            let detail = Detail::of_body(format!(r#"{{"errors":[null,{entry}]}}"#).as_bytes());
            assert!(detail.has_code("BLOB_UNKNOWN") && !detail.has_code("BLOB"), "{entry}");
            assert_eq!(detail.digests().first(), Some(&digest), "{entry}");
        }
    }

    #[test]
    fn shows_what_registries_say_and_nothing_else() {
        for (body, expected) in [
            (r#"{"errors":[{"code":"DENIED","message":"no"}]}"#, ": DENIED: no"),
            (r#"{"errors":[{"code":"DENIED"},{"message":"x"}]}"#, ": DENIED; x"),
            ("{\"errors\":[{\"message\":\"\\u001b]52;\\u202e\"}]}", ": \\u{1b}]52;\\u{202e}"),
            (r#"{"errors":[]}"#, ""),
            (r#"{"details":"SECRET"}"#, ""),
            ("<html>", ""),
            ("", ""),
        ] {
            assert_eq!(Detail::of_body(body.as_bytes()).to_string(), expected, "{body}");
        }
        let long = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "x".repeat(5000));
        assert_eq!(Detail::of_body(long.as_bytes()).to_string().len(), 302);
    }
}
