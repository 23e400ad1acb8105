//! Patterns of target names: `*`, `?` and `[a-z]`.

use regex::Regex;

/// A pattern of names.
pub(crate) struct Pattern {
    /// `None` for a pattern that nothing matches.
    regex: Option<Regex>,
}

impl Pattern {
    /// Reads a pattern.
    pub(crate) fn new(pattern: &str) -> Self {
        let mut text = String::from("^(?s:");
        let mut is_class = false;
        for c in pattern.chars() {
            match c {
                '[' if !is_class => {
                    is_class = true;
                    text.push('[');
                }
                ']' if is_class => {
                    is_class = false;
                    text.push(']');
                }
                '^' | '-' if is_class => text.push(c),
                '*' if !is_class => text.push_str("[^/]*"),
                '?' if !is_class => text.push_str("[^/]"),
                c => text.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
            }
        }
        Self { regex: Regex::new(&(text + ")$")).ok() }
    }

    /// Returns whether a text has characters that make it a pattern.
    pub(crate) fn is_one(text: &str) -> bool {
        text.contains(['*', '?', '[', ']'])
    }

    /// Returns whether a name matches.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.regex.as_ref().is_some_and(|regex| regex.is_match(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_names() {
        for (pattern, name, expected) in [
            ("*", "app", true),
            ("app-*", "app-a", true),
            ("app-?", "app-ab", false),
            ("app-[ab]", "app-b", true),
            ("app-[^ab]", "app-b", false),
            ("a.p", "axp", false),
            ("[", "x", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern} {name}");
        }
    }
}
