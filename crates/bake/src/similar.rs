//! Suggestions for names that are not there.

use xbuild_wording::hints;

/// Returns the known name that is most like a name, if any is.
pub(crate) fn similar<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let limit = name.chars().count() / 3 + 1;
    let near = known.map(|other| (distance(name, other), other));
    let near = near.filter(|(distance, _)| *distance <= limit && *distance > 0);
    near.min().map(|(_, other)| other.to_owned())
}

/// Returns the end of a message that has the known name which was probably meant, if there is one.
pub(crate) fn suggestion(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; {}", hints::did_you_mean(near)))
}

/// Returns how many letters must be added, dropped or replaced to make one name the other.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, a) in left.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (at, b) in right.iter().enumerate() {
            let above = row[at + 1];
            row[at + 1] = (diagonal + usize::from(a != *b)).min(above + 1).min(row[at] + 1);
            diagonal = above;
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_near_names_only() {
        let known = ["platforms", "secret", "tags"];
        assert_eq!(similar("secrets", known.into_iter()).as_deref(), Some("secret"));
        assert_eq!(similar("platform", known.into_iter()).as_deref(), Some("platforms"));
        assert_eq!(similar("nonsense", known.into_iter()), None);
    }
}
