//! Text of servers and files, made safe to show.

/// Returns at most `limit` characters of `text`; those that control a terminal are escaped.
pub fn printable(text: &str, limit: usize) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
    };
    text.chars()
        .take(limit)
        .map(|c| if steers(c) { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}
