//! Text by the columns that it takes on a terminal.
//!
//! A column is not a character: Chinese characters and most emoji take two, combining marks none.
//!
//! **Source** — Unicode Standard Annex 11, by `unicode-width`.

use unicode_width::UnicodeWidthChar as _;

/// The columns between two tab stops.
const TAB: usize = 8;

/// Makes the character before it an emoji, which takes two columns.
const EMOJI: char = '\u{fe0f}';

/// The sign of text that was cut.
const CUT: char = '…';

/// Returns the columns that a text of one line takes. Where terminals differ, it is the larger number.
pub(crate) fn width(text: &str) -> usize {
    cells(text).map(|(_, columns)| columns).sum()
}

/// Returns the characters of a text, each with the columns that it adds.
fn cells(text: &str) -> impl Iterator<Item = (char, usize)> {
    let mut before = 0;
    text.chars().map(move |c| {
        let columns = match c {
            EMOJI => 2_usize.saturating_sub(before),
            c => c.width().unwrap_or(0),
        };
        before = columns;
        (c, columns)
    })
}

/// Returns a text without tabs that takes as many columns on a line of its own.
pub(crate) fn without_tabs(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut column = 0;
    for (c, columns) in cells(text) {
        match c {
            '\t' => {
                let blanks = TAB - column % TAB;
                out.extend(std::iter::repeat_n(' ', blanks));
                column += blanks;
            }
            c => {
                out.push(c);
                column += columns;
            }
        }
    }
    out
}

/// Returns the beginning of a line that fits into so many columns; it ends in `…` if the line was cut.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    let text = without_tabs(text);
    if width(&text) <= columns {
        return text;
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    let mut cut = beginning(&text, room).to_owned();
    cut.push(CUT);
    cut
}

/// Returns the longest beginning of a text that takes no more than so many columns.
fn beginning(text: &str, columns: usize) -> &str {
    let (mut taken, mut end) = (0, 0);
    for (c, more) in cells(text) {
        taken += more;
        if taken > columns {
            break;
        }
        end += c.len_utf8();
    }
    &text[..end]
}

/// Returns a line with `left` at its beginning, cut as far as needed, and `right` at its end.
pub(crate) fn justify(left: &str, right: &str, columns: usize) -> String {
    let right_width = width(right);
    let Some(room) = columns.checked_sub(right_width + 1).filter(|room| *room > 0) else {
        return fit(right, columns);
    };
    let left = fit(left, room);
    let blanks = columns - right_width - width(&left);
    format!("{left}{:blanks$}{right}", "")
}

/// Returns a line over which another one was written from its beginning on: a terminal keeps what the
/// new one does not cover.
pub(crate) fn overwrite(old: &str, new: &str) -> String {
    let (old, new) = (without_tabs(old), without_tabs(new));
    let covered = width(&new);
    let (mut at, mut rest) = (0, String::new());
    for (c, columns) in cells(&old) {
        if at >= covered && (columns > 0 || !rest.is_empty()) {
            rest.push(c);
        } else if at + columns > covered {
            // Half of a wide character is left, which terminals show as a blank.
            rest.push(' ');
        }
        at += columns;
    }
    new + &rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_take_two_columns() {
        for (text, columns) in [
            ("", 0),
            ("abc", 3),
            ("构建镜像", 8),
            ("🚀", 2),
            ("e\u{301}", 1),
            ("❤\u{fe0f}", 2),
            ("🚀\u{fe0f}", 2),
        ] {
            assert_eq!(width(text), columns, "{text}");
        }
    }

    #[test]
    fn lines_are_cut_to_the_columns() {
        for (text, columns, expected) in [
            ("abcdef", 6, "abcdef"),
            ("abcdef", 5, "abcd…"),
            ("abc", 1, "…"),
            ("abc", 0, ""),
            ("构建镜像", 8, "构建镜像"),
            ("构建镜像", 7, "构建镜…"),
            ("构建镜像", 6, "构建…"),
            ("a\tb", 9, "a       b"),
            ("a\tb", 5, "a   …"),
            ("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…"),
        ] {
            let fitted = fit(text, columns);
            assert_eq!(fitted, expected);
            assert!(width(&fitted) <= columns);
        }
    }

    #[test]
    fn both_ends_of_a_line_fit() {
        assert_eq!(justify("[1/2] RUN make", "3.1s", 24), "[1/2] RUN make      3.1s");
        assert_eq!(justify("[1/2] RUN make", "3.1s", 12), "[1/2] … 3.1s");
        assert_eq!(justify("构建构建", "3.1s", 12), "构建构… 3.1s");
        assert_eq!(justify("label", "3.1s", 4), "3.1s");
        assert_eq!(justify("label", "3.1s", 2), "3…");
    }

    #[test]
    fn a_line_is_overwritten_as_on_a_terminal() {
        for (old, new, expected) in [
            ("", "50%", "50%"),
            ("50%", "100%", "100%"),
            ("100 percent", "done", "donepercent"),
            ("abc", "", "abc"),
            ("构建", "a", "a 建"),
            ("构建", "ab", "ab建"),
        ] {
            assert_eq!(overwrite(old, new), expected);
        }
    }
}
