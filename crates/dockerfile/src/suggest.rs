//! "Did you mean": the known word nearest to an unknown one.

/// The longest word that gets a suggestion, in characters. Longer words are not slips of typing,
/// and the distance takes quadratic time.
const MAX_WORD: usize = 32;

/// Returns the candidate that the user probably meant by `word`, ignoring case.
///
/// `None` if no candidate is within two edits (one, for words of up to four characters).
///
/// ```
/// assert_eq!(xbuild_dockerfile::suggest("chwon", ["chmod", "chown"]), Some("chown"));
/// assert_eq!(xbuild_dockerfile::suggest("colour", ["chmod", "chown"]), None);
/// ```
pub fn suggest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(MAX_WORD + 1).flat_map(char::to_lowercase).collect();
    if word.is_empty() || word.len() > MAX_WORD {
        return None;
    }
    let limit = if word.len() <= 4 { 1 } else { 2 };
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, candidate), candidate))
        .filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Returns the number of single-character edits and swaps of neighbours between the two.
fn distance(word: &[char], candidate: &str) -> usize {
    let candidate: Vec<char> = candidate.chars().flat_map(char::to_lowercase).collect();
    let mut older: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=candidate.len()).collect();
    for (row, &a) in word.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, &b) in candidate.iter().enumerate() {
            let replaced = above[column] + usize::from(a != b);
            let mut best = replaced.min(above[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && a == candidate[column - 1] && b == word[row - 1] {
                best = best.min(older[column - 1] + 1);
            }
            current.push(best);
        }
        older = std::mem::replace(&mut above, current);
    }
    above[candidate.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised() {
        let words = ["RUN", "FROM", "COPY", "ENTRYPOINT", "USER"];
        for (word, expected) in [
            ("RUNN", Some("RUN")),
            ("form", Some("FROM")),
            ("COPPY", Some("COPY")),
            ("ENTRYPIONT", Some("ENTRYPOINT")),
            ("NOPE", None),
            ("", None),
            ("R", None),
        ] {
            assert_eq!(suggest(word, words), expected, "{word}");
        }
        assert_eq!(suggest(&"x".repeat(1_000_000), words), None);
    }
}
