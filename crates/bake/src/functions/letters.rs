//! Letters as Go's `unicode` changes them: one for one, without regard to those around.

use unicode_segmentation::UnicodeSegmentation as _;

/// Returns a letter as capital. One whose capital is several letters stays, as ß does.
pub(super) fn upper(c: char) -> char {
    match alone(c.to_uppercase()) {
        Some(one) => one,
        None => with_iota(c).unwrap_or(c),
    }
}

/// Returns a letter as small letter.
pub(super) fn lower(c: char) -> char {
    match c {
        // With the dot apart they are two.
        'İ' => 'i',
        c => alone(c.to_lowercase()).unwrap_or(c),
    }
}

/// Returns a letter as the first one of a title: that of ǆ is ǅ.
fn first(c: char) -> char {
    match c {
        'Ǆ'..='ǆ' => 'ǅ',
        'Ǉ'..='ǉ' => 'ǈ',
        'Ǌ'..='ǌ' => 'ǋ',
        'Ǳ'..='ǳ' => 'ǲ',
        // Georgian has capitals only for whole texts.
        '\u{10d0}'..='\u{10ff}' => c,
        c => upper(c),
    }
}

/// Returns a text with a capital where each word begins. Words end at what is neither letter nor digit
/// in ASCII, and at blanks beyond.
pub(super) fn title(text: &str) -> String {
    let ends_word = |c: char| match c.is_ascii() {
        true => !(c.is_ascii_alphanumeric() || c == '_'),
        false => c.is_whitespace(),
    };
    let mut is_start = true;
    let changed = text.chars().map(|c| {
        let changed = if is_start { first(c) } else { c };
        is_start = ends_word(c);
        changed
    });
    changed.collect()
}

/// Returns what a reader takes for the characters of a text: a letter with its accents is one.
pub(super) fn characters(text: &str) -> Vec<&str> {
    text.graphemes(true).collect()
}

fn alone(mut chars: impl Iterator<Item = char>) -> Option<char> {
    let one = chars.next();
    one.filter(|_| chars.next().is_none())
}

/// Returns the capital of a Greek vowel with an iota below, which is one letter for Go.
fn with_iota(c: char) -> Option<char> {
    let by = match c {
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => 8,
        'ᾳ' | 'ῃ' | 'ῳ' => 9,
        _ => return None,
    };
    char::from_u32(u32::from(c) + by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_change_one_for_one() {
        for (c, expected) in
            [('ß', 'ß'), ('a', 'A'), ('ŉ', 'ŉ'), ('ﬁ', 'ﬁ'), ('ᾳ', 'ᾼ'), ('ᾀ', 'ᾈ')]
        {
            assert_eq!(upper(c), expected);
        }
        for (c, expected) in [('Σ', 'σ'), ('İ', 'i'), ('A', 'a')] {
            assert_eq!(lower(c), expected);
        }
        assert_eq!(title("ǆ bob's a_b x.y o’x ა ßx"), "ǅ Bob'S A_b X.Y O’x ა ßx");
        assert_eq!(characters("e\u{301}x\r\n"), ["e\u{301}", "x", "\r\n"]);
    }
}
