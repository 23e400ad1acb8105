//! Splitting the arguments of an instruction into words, without expansion.

/// The blanks that separate words. Others (a no-break space) are part of a word.
const BLANKS: [char; 5] = ['\t', '\x0b', '\x0c', '\r', ' '];

/// Returns the first word of `text`, and the text behind the blanks after it, if there are any.
pub(crate) fn split_first(text: &str) -> (&str, Option<&str>) {
    match text.split_once(BLANKS) {
        Some((first, rest)) => (first, Some(rest.trim_start_matches(BLANKS))),
        None => (text, None),
    }
}

/// Returns the words of `text`; quotes do not keep blanks together.
pub(crate) fn plain(text: &str) -> Vec<String> {
    text.split(BLANKS).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Returns the words of `text`; quotes and escapes keep blanks together and stay in the words.
/// An escape character at the very end vanishes.
pub(crate) fn quoted(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            continue;
        }
        if c == escape && quote != Some('\'') {
            if let Some(escaped) = chars.next() {
                word.extend([c, escaped]);
            }
            continue;
        }
        match quote {
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if open == c => quote = None,
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// The kind of a text that may be an exec form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Json {
    /// A JSON array of strings.
    Strings(Vec<String>),
    /// A JSON array with other values.
    Others,
    /// Not a JSON array: shell form.
    No,
}

/// Reads `text` as an exec form.
pub(crate) fn json(text: &str) -> Json {
    if !text.trim_start().starts_with('[') {
        return Json::No;
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) else {
        return Json::No;
    };
    let strings = values.into_iter().map(|value| match value {
        serde_json::Value::String(text) => Some(text),
        _ => None,
    });
    strings.collect::<Option<_>>().map_or(Json::Others, Json::Strings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_words_together() {
        for (text, expected) in [
            ("a b\tc", &["a", "b", "c"][..]),
            ("a=\"b c\" d='e \\' f", &["a=\"b c\"", "d='e \\'", "f"]),
            (r#"a=b\ c d="e\" f""#, &[r"a=b\ c", r#"d="e\" f""#]),
            ("'' \"\"", &["''", "\"\""]),
            ("open='a b", &["open='a b"]),
            (r"end\", &["end"]),
            ("", &[]),
        ] {
            assert_eq!(quoted(text, '\\'), expected, "{text}");
        }
        assert_eq!(quoted(r"c:\a b` c", '`'), [r"c:\a", "b` c"]);
    }

    #[test]
    fn only_arrays_of_strings_are_exec_forms() {
        for (text, expected) in [
            (r#" ["a", "\u00e9\n"] "#, Json::Strings(vec!["a".into(), "é\n".into()])),
            ("[]", Json::Strings(vec![])),
            (r#"["a", 2]"#, Json::Others),
            ("[null]", Json::Others),
            (r#"["a",]"#, Json::No),
            ("['a']", Json::No),
            (r#"["a"] b"#, Json::No),
            (r#""a""#, Json::No),
            ("", Json::No),
        ] {
            assert_eq!(json(text), expected, "{text}");
        }
    }
}
