//! Replacing variables in the text of an instruction.
//!
//! Text is read in three ways: [`expand_word`] (one value out of one text; nearly all
//! instructions), [`expand_words`] (the result splits at unquoted blanks; EXPOSE), and
//! [`expand_heredoc`] (quotes are ordinary characters; bodies of COPY and ADD heredocs).
//!
//! The forms are `$name`, `${name}` and those of the table. The word after an operator is always
//! expanded, even where its value is not needed.
//!
//! | form | value |
//! | --- | --- |
//! | `${v:-w}`, `${v-w}` | w if v is unset (with the colon: or empty), else v |
//! | `${v:+w}`, `${v+w}` | w if v is set (with the colon: and not empty), else nothing |
//! | `${v:?w}`, `${v?w}` | v, or the error w if it is unset (with the colon: or empty) |
//! | `${v#p}`, `${v##p}` | v without the shortest, longest prefix that matches the glob p |
//! | `${v%p}`, `${v%%p}` | v without the shortest, longest suffix that matches p |
//! | `${v/p/r}`, `${v//p/r}` | v with the first, each longest match of p replaced by r |
//!
//! **Source**: Dockerfile reference § Environment replacement; POSIX shell § 2.6.2.

mod pattern;
mod scanner;
#[cfg(test)]
mod tests;

use crate::error::ExpandError;
pub use scanner::{MAX_DEPTH, MAX_GROWTH, Variables};
use scanner::{Mode, Scanner, Splitter};

/// A text with its variables replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    /// The result.
    pub text: String,
    /// The variables that the text names and that are unset, each once, in order.
    pub unset: Vec<String>,
}

/// A text with its variables replaced, then split.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// The words in order, none empty.
    pub words: Vec<String>,
    /// The variables that the text names and that are unset, each once, in order.
    pub unset: Vec<String>,
}

/// Returns `text` as one value: variables replaced, quotes and escapes processed.
///
/// **Errors**: any [`ExpandError`].
///
/// ```
/// use xbuild_dockerfile::expand::expand_word;
///
/// let vars = |name: &str| (name == "USER").then(|| "app".to_owned());
/// let home = expand_word(r#"/home/${USER:-root}"/a b"$X"#, '\\', &vars)?;
/// assert_eq!(home.text, "/home/app/a b");
/// assert_eq!(home.unset, ["X"]);
/// # Ok::<(), xbuild_dockerfile::ExpandError>(())
/// ```
pub fn expand_word(
    text: &str,
    escape: char,
    vars: &Variables<'_>,
) -> Result<Expansion, ExpandError> {
    whole(text, Mode { escape, ..Mode::default() }, vars)
}

/// Returns the words of `text` after expansion. Blanks in the value of an unquoted variable split,
/// too.
///
/// **Errors**: any [`ExpandError`].
pub fn expand_words(text: &str, escape: char, vars: &Variables<'_>) -> Result<Words, ExpandError> {
    split(text, Mode { escape, ..Mode::default() }, vars)
}

/// Returns the expanded body of a heredoc. Quotes are text and do not shield. A backslash makes the
/// next character ordinary and vanishes, whatever the escape directive says.
///
/// **Errors**: any [`ExpandError`] but an open quote.
pub fn expand_heredoc(body: &str, vars: &Variables<'_>) -> Result<Expansion, ExpandError> {
    whole(body, Mode { quotes_are_text: true, ..Mode::default() }, vars)
}

/// Returns `text` for people to read: set variables are replaced; unset variables, quotes and text
/// that cannot be expanded stay.
pub fn expand_for_display(text: &str, escape: char, vars: &Variables<'_>) -> String {
    let mode = Mode { escape, keep_quotes: true, keep_unset: true, ..Mode::default() };
    whole(text, mode, vars).map_or_else(|_| text.to_owned(), |expansion| expansion.text)
}

/// Returns the words of `line` as written, for the search for heredocs; none if the line does not
/// split into words.
pub(crate) fn raw_words(line: &str) -> Vec<String> {
    let mode = Mode { keep_quotes: true, keep_escapes: true, keep_unset: true, ..Mode::default() };
    split(line, mode, &|_| None).map_or_else(|_| Vec::new(), |words| words.words)
}

/// Returns the words of `text` with quotes and escapes processed, but no variable replaced.
pub(crate) fn literal_words(text: &str) -> Result<Vec<String>, ExpandError> {
    let mode = Mode { keep_unset: true, ..Mode::default() };
    split(text, mode, &|_| None).map(|words| words.words)
}

fn whole(text: &str, mode: Mode, vars: &Variables<'_>) -> Result<Expansion, ExpandError> {
    let mut scanner = Scanner::new(text, mode, vars);
    let text = scanner.read(None, mode.keep_escapes, &mut Splitter::off())?;
    Ok(Expansion { text, unset: scanner.unset })
}

fn split(text: &str, mode: Mode, vars: &Variables<'_>) -> Result<Words, ExpandError> {
    let mut scanner = Scanner::new(text, mode, vars);
    let mut splitter = Splitter::on();
    scanner.read(None, mode.keep_escapes, &mut splitter)?;
    Ok(Words { words: splitter.finish(), unset: scanner.unset })
}
