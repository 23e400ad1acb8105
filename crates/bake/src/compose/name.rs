//! The name of a project.
//!
//! **Source** — Docker documents § Specify a project name.

use super::interpolate;
use super::lookup::{Lookup, Unset};
use super::setting::{Manner, ProjectName, Setting};
use super::yaml::{Node, Yaml};
use crate::error::BakeError;

/// Returns a text as the name of a project: small letters, digits, `-` and `_`, the first of them a letter
/// or a digit. It may be empty.
pub fn normal(text: &str) -> String {
    let is_good = |c: &char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_');
    let kept: String = text.to_lowercase().chars().filter(is_good).collect();
    kept.trim_start_matches(['-', '_']).to_owned()
}

/// Returns the name of the project that files are of: the one that is given, else that of the last file
/// with one.
pub(super) fn name(
    documents: &[Node],
    setting: &Setting,
    lookup: &Lookup<'_>,
    unset: &Unset,
) -> Result<String, BakeError> {
    let default = match &setting.name {
        ProjectName::Given(name) => return Ok(name.clone()),
        ProjectName::Default(name) => name,
    };
    let mut named = None;
    for node in documents.iter().filter_map(|document| document.get("name")) {
        if let Yaml::Null = node.value {
            continue;
        }
        let mut node = node.clone();
        interpolate::interpolate(&mut node, lookup, unset)?;
        let text = node.as_text().ok_or_else(|| node.fail("name: a string required"))?;
        let text = match setting.manner {
            Manner::Bake => text,
            Manner::Compose => normal(&text),
        };
        named = Some(text).filter(|name| !name.is_empty()).or(named);
    }
    let from_variable = || lookup("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty());
    Ok(named.or_else(from_variable).unwrap_or_else(|| default.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_compose_has_them() {
        for (text, expected) in [
            ("My.Proj", "myproj"),
            (".A.B c", "abc"),
            ("_-a_-B", "a_-b"),
            ("---", ""),
            ("Größe", "gre"),
            ("1x", "1x"),
        ] {
            assert_eq!(normal(text), expected, "{text}");
        }
    }
}
