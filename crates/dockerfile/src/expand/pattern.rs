//! The globs of `${v#p}`, `${v%p}` and `${v/p/r}`: `*`, `?` and a backslash, no brackets.

use crate::error::ExpandError;

/// A parsed glob: stretches of literal characters with a `*` between each two of them. In a
/// stretch, `None` is a `?`.
pub(super) struct Pattern {
    stretches: Vec<Vec<Option<char>>>,
}

impl Pattern {
    /// Reads a glob. `\*`, `\?`, `\\`, `\}` and `\/` mean the second character.
    ///
    /// **Errors**: [`ExpandError::BadPattern`] for a backslash before anything else.
    pub fn parse(glob: &str) -> Result<Self, ExpandError> {
        let mut stretches = vec![Vec::new()];
        let mut chars = glob.chars();
        while let Some(c) = chars.next() {
            let unit = match c {
                '*' => {
                    stretches.push(Vec::new());
                    continue;
                }
                '?' => None,
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '?' | '\\' | '}' | '/')) => Some(escaped),
                    _ => return Err(ExpandError::BadPattern { pattern: glob.to_owned() }),
                },
                literal => Some(literal),
            };
            if let Some(stretch) = stretches.last_mut() {
                stretch.push(unit);
            }
        }
        Ok(Pattern { stretches })
    }

    /// Returns `value` without the shortest or longest prefix that matches.
    pub fn without_prefix(&self, value: &str, longest: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        let end = self.match_at(&chars, 0, longest).unwrap_or(0);
        chars[end..].iter().collect()
    }

    /// Returns `value` without the shortest or longest suffix that matches.
    pub fn without_suffix(&self, value: &str, longest: bool) -> String {
        let backwards: Vec<char> = value.chars().rev().collect();
        let stretches = self.stretches.iter().rev();
        let mirrored =
            Pattern { stretches: stretches.map(|s| s.iter().rev().copied().collect()).collect() };
        let end = mirrored.match_at(&backwards, 0, longest).unwrap_or(0);
        backwards[end..].iter().rev().collect()
    }

    /// Returns `value` with its first or all matches, each as long as possible, replaced.
    ///
    /// **Errors**: [`ExpandError::TooLong`] when the result would exceed `limit` bytes.
    pub fn replace(
        &self,
        value: &str,
        with: &str,
        all: bool,
        limit: usize,
    ) -> Result<String, ExpandError> {
        let chars: Vec<char> = value.chars().collect();
        let mut result = String::new();
        let mut copied = 0;
        let mut from = 0;
        while let Some((start, end)) = self.find(&chars, from) {
            result.extend(&chars[copied..start]);
            // An empty match right behind the last match does not count.
            if end > copied || start == 0 {
                result.push_str(with);
            }
            if result.len() > limit {
                return Err(ExpandError::TooLong { limit });
            }
            copied = end;
            from = end.max(from + 1);
            if !all || from > chars.len() {
                break;
            }
        }
        result.extend(&chars[copied..]);
        Ok(result)
    }

    /// Returns the leftmost match that begins at `from` or later, as long as possible.
    fn find(&self, value: &[char], from: usize) -> Option<(usize, usize)> {
        let first = &self.stretches[0];
        let start = find(value, from, first)?;
        // The stretches after the first `*` are sought in all of the rest, so a later start finds
        // no more.
        self.match_at(value, start, true).map(|end| (start, end))
    }

    /// Returns the end of the shortest or longest match that begins exactly at `start`.
    fn match_at(&self, value: &[char], start: usize, longest: bool) -> Option<usize> {
        let (first, later) = self.stretches.split_first()?;
        if !matches(&value[start..], first) {
            return None;
        }
        let mut end = start + first.len();
        let Some((last, middle)) = later.split_last() else {
            return Some(end);
        };
        for stretch in middle {
            end = find(value, end, stretch)? + stretch.len();
        }
        let at = if longest { rfind(value, end, last)? } else { find(value, end, last)? };
        Some(at + last.len())
    }
}

fn matches(value: &[char], stretch: &[Option<char>]) -> bool {
    value.len() >= stretch.len()
        && stretch.iter().zip(value).all(|(unit, c)| unit.is_none_or(|literal| literal == *c))
}

/// Returns where `stretch` first occurs at `from` or later.
fn find(value: &[char], from: usize, stretch: &[Option<char>]) -> Option<usize> {
    let last = value.len().checked_sub(stretch.len())?;
    (from..=last).find(|&at| matches(&value[at..], stretch))
}

/// Returns where `stretch` last occurs at `from` or later.
fn rfind(value: &[char], from: usize, stretch: &[Option<char>]) -> Option<usize> {
    let last = value.len().checked_sub(stretch.len())?;
    (from..=last).rev().find(|&at| matches(&value[at..], stretch))
}
