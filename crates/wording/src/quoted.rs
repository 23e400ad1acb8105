//! Text of users within messages.

use std::fmt::{self, Write as _};

/// Text in double quotes, on one line. See [`quoted`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted<'a>(&'a str);

/// Quotes what somebody wrote, for a message about it.
///
/// Quotes and backslashes stay as they were written. Characters that cannot be seen, or that change
/// what is seen around them, become escapes: a carriage return is `\r`, so the message shows it.
///
/// ```
/// use xbuild_wording::quoted;
///
/// assert_eq!(quoted("linux/amd64\r").to_string(), r#""linux/amd64\r""#);
/// assert_eq!(quoted(r#"C:\"Größe""#).to_string(), r#""C:\"Größe"""#);
/// ```
pub fn quoted<T: AsRef<str> + ?Sized>(text: &T) -> Quoted<'_> {
    Quoted(text.as_ref())
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\0' => f.write_str("\\0")?,
                c if c.is_control() || changes_direction(c) => write!(f, "\\u{:04x}", c as u32)?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// Returns whether a character changes the direction in which others are shown.
///
/// **Source** — Unicode Standard Annex 9, § Explicit directional formatting characters.
fn changes_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_seen_is_escaped() {
        for (text, expected) in [
            ("", r#""""#),
            ("a b", r#""a b""#),
            (r#"say "no""#, r#""say "no"""#),
            (r"C:\Temp", r#""C:\Temp""#),
            ("Größe 大", r#""Größe 大""#),
            ("a\nhint: b\r\t\0", r#""a\nhint: b\r\t\0""#),
            ("\u{1b}[31m\u{9b}\u{202e}", r#""\u001b[31m\u009b\u202e""#),
        ] {
            assert_eq!(quoted(text).to_string(), expected, "{text}");
            assert_eq!(quoted(&text.to_owned()).to_string(), expected, "{text}");
        }
    }
}
