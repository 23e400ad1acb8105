//! Texts of awk programs: whether one computes something whose result may depend on the processor.
//!
//! That is the sign of "not a number", which `0/0` makes negative on x86 and positive elsewhere, the last
//! digit of logarithms and the like, and what a negative number is without a sign (`%x`). Sums with a
//! whole number that stands in the text, and products and quotients with one that is not zero, make no
//! such number out of others.
//!
//! **Source** — POSIX.1-2017, `awk`, "Grammar" and "Lexical Conventions"; C11 § 6.3.1.4; the default NaN:
//! Intel SDM vol. 1 § 4.8.3.7, Arm ARM § A1.5.

/// The functions that compute, with a space after each: a list of texts would need relocations.
const FUNCTIONS: &[u8] = b"atan2 cos exp log sin sqrt ";

/// The functions whose first argument is a format.
const FORMATTING: &[u8] = b"printf sprintf ";

/// The most digits of a number: more may be infinity.
const DIGITS: usize = 15;

/// The kinds of what stands before a slash.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    /// Nothing that can be divided: it begins a regular expression.
    Operator,
    Operand,
    /// A variable, which can be divided, or a word like `print`, which cannot.
    Name,
}

/// Returns whether a program surely computes nothing of that kind. What is not understood counts as if it
/// did.
pub(crate) fn is_plain(text: &[u8]) -> bool {
    let at = |place: usize| text.get(place).copied().unwrap_or(0);
    let (mut place, mut before) = (0, Before::Operator);
    while place < text.len() {
        let byte = at(place);
        let (end, next) = match byte {
            b' ' | b'\t' | b'\r' => (Some(place + 1), before),
            b'#' => (Some(end_of_line(text, place)), before),
            b'"' => (end_of_string(text, place), Before::Operand),
            b'/' if before == Before::Operator => (end_of_quoted(text, place), Before::Operand),
            b'/' if before == Before::Name => (None, before),
            b'+' | b'-' if at(place + 1) == byte => (Some(place + 2), Before::Operand),
            b'+' | b'-' => (end_of_number(text, place + 1, true), Before::Operand),
            b'*' | b'/' => (end_of_number(text, place + 1, false), Before::Operand),
            b'%' | b'^' | b'\\' => (None, before),
            b')' | b']' => (Some(place + 1), Before::Operand),
            _ if byte.is_ascii_digit() || byte == b'.' => {
                (Some(end_of_word(text, place)), Before::Operand)
            }
            _ if is_word(byte) => (end_of_name(text, place), Before::Name),
            _ => (Some(place + 1), Before::Operator),
        };
        let Some(end) = end else { return false };
        (place, before) = (end, next);
    }
    true
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')
}

/// Returns the end of a string or regular expression; `None` if it has none, or if the awks differ about
/// where it is.
fn end_of_quoted(text: &[u8], start: usize) -> Option<usize> {
    let quote = *text.get(start)?;
    let (mut place, mut is_in_brackets) = (start + 1, false);
    loop {
        match *text.get(place)? {
            byte if byte == quote => return if is_in_brackets { None } else { Some(place + 1) },
            b'\n' => return None,
            b'\\' => place += 1,
            b'[' => is_in_brackets = quote == b'/',
            b']' => is_in_brackets = false,
            _ => {}
        }
        place += 1;
    }
}

/// Returns the end of a string; `None` if it is a format for numbers without a sign, may be the first part
/// of one, or has a percent sign by its number.
fn end_of_string(text: &[u8], start: usize) -> Option<usize> {
    let end = end_of_quoted(text, start)?;
    let string = text.get(start + 1..end - 1)?;
    let mut place = 0;
    while let Some(byte) = string.get(place) {
        place += 1;
        if *byte == b'\\'
            && string.get(place).is_some_and(|byte| byte.is_ascii_digit() || *byte == b'x')
        {
            return None;
        }
        if *byte == b'%' {
            while string.get(place).is_some_and(|byte| !byte.is_ascii_alphabetic() && *byte != b'%')
            {
                place += 1;
            }
            match string.get(place)? {
                b'%' | b'c' | b'd' | b'e' | b'f' | b'g' | b'i' | b's' | b'E' | b'G' => place += 1,
                _ => return None,
            }
        }
    }
    Some(end)
}

fn end_of_line(text: &[u8], start: usize) -> usize {
    let mut place = start;
    while text.get(place).is_some_and(|byte| *byte != b'\n') {
        place += 1;
    }
    place
}

fn end_of_word(text: &[u8], start: usize) -> usize {
    let mut end = start;
    while text.get(end).is_some_and(|byte| is_word(*byte)) {
        end += 1;
    }
    end
}

/// Returns the end of a name; `None` for a function that computes, and for one whose format is not there
/// to be read.
fn end_of_name(text: &[u8], start: usize) -> Option<usize> {
    let end = end_of_word(text, start);
    let word = text.get(start..end)?;
    let has_format = || {
        let mut place = end;
        while matches!(text.get(place), Some(b' ' | b'\t' | b'(')) {
            place += 1;
        }
        text.get(place) == Some(&b'"')
    };
    let is_bad = is_one_of(word, FUNCTIONS) || is_one_of(word, FORMATTING) && !has_format();
    if is_bad { None } else { Some(end) }
}

/// Returns whether a list has a word. A space follows each word of the list.
pub(crate) fn is_one_of(word: &[u8], list: &[u8]) -> bool {
    let (mut place, mut is_same) = (0, true);
    for byte in list {
        if *byte == b' ' {
            if is_same && place == word.len() {
                return true;
            }
            (place, is_same) = (0, true);
        } else {
            is_same &= word.get(place) == Some(byte);
            place += 1;
        }
    }
    false
}

/// Returns the end of an operator's right side, `start` being the place after the operator's first byte;
/// `None` if it is not a whole number, or zero where that must not be.
fn end_of_number(text: &[u8], start: usize, may_be_zero: bool) -> Option<usize> {
    let at = |place: usize| text.get(place).copied().unwrap_or(0);
    let mut place = if at(start) == b'=' { start + 1 } else { start };
    while matches!(at(place), b' ' | b'\t') {
        place += 1;
    }
    let first = place;
    let mut is_zero = true;
    while at(place).is_ascii_digit() {
        is_zero &= at(place) == b'0';
        place += 1;
    }
    let length = place - first;
    // The loop also meets an operator that binds the number closer, as in `1 - 2 / n`.
    let is_whole = length > 0 && length <= DIGITS && !is_word(at(place));
    if is_whole && (may_be_zero || !is_zero) { Some(place) } else { None }
}
