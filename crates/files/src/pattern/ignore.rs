//! Ignore files.

use super::clean::clean;
use super::list::PatternList;
use super::list::trim;
use crate::IgnoreError;

/// The rules of an ignore file (`.dockerignore`): the files that are excluded from a build context.
///
/// **Source** — Dockerfile reference § .dockerignore file; moby/patternmatcher 0.6 `ignorefile`.
#[derive(Debug, Clone, Default)]
pub struct IgnoreRules(pub(crate) PatternList);

impl IgnoreRules {
    /// Parses the text of an ignore file: one pattern a line; `#` in the first column begins a
    /// comment.
    ///
    /// **Errors** — the first malformed pattern, with its line.
    ///
    /// ```
    /// use xbuild_files::IgnoreRules;
    /// assert!(IgnoreRules::parse(b"node_modules\n!node_modules/keep\n").is_ok());
    /// assert!(IgnoreRules::parse(b"a[\n").is_err());
    /// ```
    pub fn parse(text: &[u8]) -> Result<Self, IgnoreError> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let pattern = |line: &[u8]| match line.strip_prefix(b"!") {
            Some(pattern) => [b"!", &from_root(trim(pattern))[..]].concat(),
            None => from_root(line),
        };
        let lines = (1..).zip(text.split(|&byte| byte == b'\n'));
        let lines = lines.filter(|(_, line)| !line.starts_with(b"#"));
        let patterns: Vec<(usize, Vec<u8>)> = lines
            .map(|(number, line)| (number, trim(line)))
            .filter(|(_, line)| !line.is_empty())
            .map(|(number, line)| (number, pattern(line)))
            .collect();
        PatternList::new(patterns.iter().map(|(_, pattern)| pattern)).map(Self).map_err(|error| {
            let faulty = |(_, pattern): &&(usize, Vec<u8>)| PatternList::new([pattern]).is_err();
            let line = patterns.iter().find(faulty).map_or(1, |(number, _)| *number);
            IgnoreError { line, error }
        })
    }

    /// Tells whether a COPY of `path`, or of what matches it as a glob, is bound to find nothing.
    /// Errs on the side of no: with a `!` among the rules only the files themselves could tell.
    ///
    /// ```
    /// use xbuild_files::IgnoreRules;
    /// let rules = IgnoreRules::parse(b"target\n*.log\n")?;
    /// assert!(rules.excludes(b"./target/release") && rules.excludes(b"*.log"));
    /// assert!(!rules.excludes(b".") && !rules.excludes(b"src"));
    /// # Ok::<(), xbuild_files::IgnoreError>(())
    /// ```
    pub fn excludes(&self, path: &[u8]) -> bool {
        if self.0.has_exceptions() {
            return false;
        }
        let path = from_root(path);
        match path.as_slice() {
            // The root itself is never excluded, but all files in it may be.
            b"." | b"/" => self.0.matches_path(b"\x01").0 && self.0.matches_path(b".\x01").0,
            path => self.0.matches_path(path).0,
        }
    }
}

/// Returns a cleaned pattern without a leading slash.
fn from_root(pattern: &[u8]) -> Vec<u8> {
    if pattern.is_empty() {
        return Vec::new();
    }
    let cleaned = clean(pattern);
    if cleaned.len() > 1 && cleaned[0] == b'/' { cleaned[1..].to_vec() } else { cleaned }
}
