//! The text of a `WWW-Authenticate` header: what the standard says, and what servers send.
//!
//! **Source** — RFC 9110 § 11.2 and § 11.6.1.

/// A challenge in a header: the scheme and its parameters, unescaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) scheme: String,
    parameters: Vec<(String, String)>,
}

impl Offer {
    /// Reads a header. One that the standard does not allow is read as far as it can be understood.
    ///
    /// **Shape** — in the order of the header, perhaps empty.
    pub(crate) fn all(text: &str) -> Vec<Self> {
        strict(text).unwrap_or_else(|| lenient(text))
    }

    /// Returns the first parameter of a name.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let mut found = self.parameters.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }
}

/// Reads a header by the standard.
fn strict(text: &str) -> Option<Vec<Offer>> {
    let offer = |challenge: http_auth::ChallengeRef<'_>| Offer {
        scheme: challenge.scheme.to_owned(),
        parameters: challenge
            .params
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.to_unescaped()))
            .collect(),
    };
    Some(http_auth::parse_challenges(text).ok()?.into_iter().map(offer).collect())
}

/// Reads a header whose parts end with a comma or semicolon. A part that begins with a word begins
/// a challenge; any other is a parameter of the challenge before it.
fn lenient(text: &str) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    for part in parts(text).into_iter().map(str::trim).filter(|part| !part.is_empty()) {
        let (scheme, rest) = match scheme(part) {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, part),
        };
        if let Some(scheme) = scheme {
            offers.push(Offer { scheme: scheme.to_owned(), parameters: Vec::new() });
        }
        if let Some(offer) = offers.last_mut() {
            offer.parameters.extend(parameter(rest));
        }
    }
    offers
}

/// Splits a text at each comma or semicolon that is not in quotes.
fn parts(text: &str) -> Vec<&str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(|c: char| {
        let is_end = !is_quoted && matches!(c, ',' | ';');
        is_quoted ^= c == '"' && !is_escaped;
        is_escaped = is_quoted && c == '\\' && !is_escaped;
        is_end
    })
    .collect()
}

/// Splits the scheme off a part that begins with one: `Basic realm="x"`, not `realm = "x"`.
fn scheme(part: &str) -> Option<(&str, &str)> {
    let (word, rest) = part.split_once(char::is_whitespace).unwrap_or((part, ""));
    let rest = rest.trim_start();
    (!word.contains('=') && !rest.starts_with('=')).then_some((word, rest))
}

/// Reads `name=value`. **Shape** — `None` without a name, or if a quote is not closed.
fn parameter(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let value = match value.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None => value.to_owned(),
    };
    (!name.is_empty()).then(|| (name.to_owned(), value))
}

/// Returns the text up to the closing quote, unescaped.
fn unquoted(text: &str) -> Option<String> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some(value),
            '\\' => value.push(chars.next()?),
            c => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lenient_reads_what_strict_reads() {
        for text in [
            r#"Bearer realm="https://a.example/token",service="r.example",scope="x,y z""#,
            r#"bearer REALM="https://a.example/a\"b\\", service=x"#,
            r#"Basic realm="x; y", Bearer realm="https://a.example""#,
            "Negotiate, Basic realm = \"x\"",
        ] {
            assert_eq!(Some(lenient(text)), strict(text), "{text}");
        }
    }
}
