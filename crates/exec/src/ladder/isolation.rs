//! The user's choice of a rung and of a root file system, and its text: `RUNG/ROOT`, and `chroot=/` for
//! the root of the container.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use xbuild_model::rootfs::RootKind;
use xbuild_wording::quoted;

use super::rung::Rung;

/// The user's choice. Its text is `auto`, `none`, `RUNG`, `RUNG/ROOT` or `auto/ROOT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Isolation {
    /// Commands may run.
    Allowed {
        /// The only rung allowed; `None` for the highest that the machine allows.
        rung: Option<Rung>,
        /// The only kind of root file system allowed; `None` for the best that the rung and the
        /// machine allow.
        root: Option<RootKind>,
    },
    /// No rung: commands cannot be run.
    None,
}

impl Isolation {
    /// The best that the machine allows.
    pub const AUTO: Self = Self::Allowed { rung: None, root: None };

    /// Returns the choice of one rung, with any root file system.
    pub const fn rung(rung: Rung) -> Self {
        Self::Allowed { rung: Some(rung), root: None }
    }

    /// Returns all choices.
    pub fn all() -> Vec<Self> {
        let rungs = [None].into_iter().chain(Rung::ALL.map(Some));
        let on = |rung: Option<Rung>| {
            let kinds = [RootKind::Overlay, RootKind::Folder, RootKind::Own];
            let roots = kinds.into_iter().filter(move |root| match rung {
                Some(rung) => rung.roots().contains(root),
                // Nobody gets it by chance.
                None => *root != RootKind::Own,
            });
            [None].into_iter().chain(roots.map(Some)).map(move |root| Self::Allowed { rung, root })
        };
        rungs.flat_map(on).chain([Self::None]).collect()
    }

    /// Returns whether the user allows the rung.
    pub(crate) fn allows(self, rung: Rung) -> bool {
        match self {
            Self::Allowed { rung: only, .. } => only.is_none_or(|only| only == rung),
            Self::None => false,
        }
    }

    /// Returns whether the user allows the kind of root file system.
    pub(super) fn allows_root(self, root: RootKind) -> bool {
        match self {
            Self::Allowed { root: only, .. } => only.is_none_or(|only| only == root),
            Self::None => false,
        }
    }
}

impl Default for Isolation {
    fn default() -> Self {
        Self::AUTO
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Allowed { rung, root } = self else { return f.write_str("none") };
        match rung {
            Some(rung) => write_named(f, rung, *root),
            None => write_named(f, &"auto", *root),
        }
    }
}

/// Writes a rung and a kind of root file system.
pub(super) fn write_named(
    f: &mut fmt::Formatter<'_>,
    rung: &dyn fmt::Display,
    root: Option<RootKind>,
) -> fmt::Result {
    match root {
        None => rung.fmt(f),
        Some(RootKind::Own) => write!(f, "{rung}=/"),
        Some(root) => write!(f, "{rung}/{root}"),
    }
}

/// A text that names no isolation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown isolation {text}: expected {}", names(), text = quoted(.text))]
pub struct UnknownIsolation {
    text: String,
}

fn names() -> String {
    let names: Vec<String> = Isolation::all().iter().map(ToString::to_string).collect();
    names.join(", ")
}

impl FromStr for Isolation {
    type Err = UnknownIsolation;

    fn from_str(text: &str) -> Result<Self, UnknownIsolation> {
        let found = Self::all().into_iter().find(|isolation| isolation.to_string() == text);
        found.ok_or_else(|| UnknownIsolation { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_has_a_text_of_its_own() {
        let all = Isolation::all();
        let mut names: Vec<String> = all.iter().map(ToString::to_string).collect();
        for (isolation, name) in all.iter().zip(&names) {
            assert_eq!(name.parse(), Ok(*isolation));
        }
        for known in
            ["auto", "none", "userns-range", "userns-single/overlay", "auto/folder", "chroot=/"]
        {
            assert!(names.iter().any(|name| name == known), "{known}: {names:?}");
        }
        assert_eq!(names[0], "auto");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all.len());
        for wrong in
            ["", "moon", "none/overlay", "userns-range/", "overlay", "auto=/", "userns-range/moon"]
        {
            let error = wrong.parse::<Isolation>().unwrap_err().to_string();
            assert!(error.contains(&format!("{wrong:?}")) && error.contains("userns-range, "));
        }
    }
}
