//! The explanation that a server gives for a failure, made printable.

use std::fmt;

use xbuild_image::printable::printable;

/// The explanation that a server gives for a failure: at most 300 characters, control characters
/// escaped.
///
/// Displays as nothing, or as `: ` and the text, to follow a status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail(String);

impl Detail {
    /// Returns the explanation in the body of an answer; empty for a body of another form.
    ///
    /// **Source** — OCI distribution-spec § Error Codes.
    pub fn of_body(body: &[u8]) -> Self {
        #[derive(serde::Deserialize)]
        struct Body {
            errors: Vec<Entry>,
        }
        #[derive(serde::Deserialize)]
        struct Entry {
            #[serde(default)]
            code: String,
            #[serde(default)]
            message: String,
        }
        let Ok(body) = serde_json::from_slice::<Body>(body) else { return Self::default() };
        let texts: Vec<String> = body
            .errors
            .iter()
            .take(3)
            .map(|entry| match (entry.code.as_str(), entry.message.as_str()) {
                (code, "") => code.to_owned(),
                ("", message) => message.to_owned(),
                (code, message) => format!("{code}: {message}"),
            })
            .collect();
        Self(printable(&texts.join("; "), 300))
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
