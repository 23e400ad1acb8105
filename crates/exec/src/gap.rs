//! A gap between a build's needs and this machine.

use std::fmt;

use xbuild_wording::Hint;

/// Why something cannot be done on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The missing or refused thing, with the reason.
    pub why: String,
    /// The remedy.
    pub how_to_get: Hint,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.why, self.how_to_get)
    }
}
