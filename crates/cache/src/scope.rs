//! Scopes: names that keep the steps of one group of writers apart from those of another.

use std::fmt;

use xbuild_model::Digest;

/// The most characters of a name. Longer ones would only be truncated by people.
const MAX_NAME: usize = 256;

/// The name of a group of writers, such as a branch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(String);

/// Why a text is no name of a scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a scope is a name of 1 to {MAX_NAME} characters, none of them a control character")]
pub struct ScopeError;

impl Scope {
    /// Returns the scope of this name.
    pub fn new(name: &str) -> Result<Self, ScopeError> {
        let count = name.chars().count();
        match (1..=MAX_NAME).contains(&count) && !name.chars().any(char::is_control) {
            true => Ok(Self(name.to_owned())),
            false => Err(ScopeError),
        }
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Returns the 16 hexadecimal digits that stand for it in tags: the first ones of the SHA-256 of
    /// its name. Documents hold the whole name, so two names with equal digits are told apart.
    pub fn id(&self) -> String {
        let mut hex = Digest::of(self.0.as_bytes()).hex();
        hex.truncate(16);
        hex
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_visible() {
        for good in ["main", "refs/pull/7 merge", "\u{e9}", &"x".repeat(256)] {
            assert_eq!(Scope::new(good).unwrap().name(), good);
        }
        for bad in ["", "a\nb", "\0", &"x".repeat(257)] {
            assert_eq!(Scope::new(bad), Err(ScopeError), "{bad:?}");
        }
        assert_eq!(Scope::new("main").unwrap().id(), "0d6e4079e36703eb");
    }
}
