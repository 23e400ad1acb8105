//! The rungs, by name.

use std::fmt;

use serde::{Deserialize, Serialize};
use xbuild_model::rootfs::RootKind;

use crate::idmap::Ids;

/// A way to wall steps off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Rung {
    /// A user namespace with a range of ids.
    UsernsRange,
    /// A user namespace with one id.
    UsernsSingle,
}

impl Rung {
    /// All of them, the highest first.
    pub const ALL: [Self; 2] = [Self::UsernsRange, Self::UsernsSingle];

    /// Returns which ids exist on the rung.
    pub(crate) fn ids(self) -> Ids {
        match self {
            Self::UsernsRange => Ids::Range,
            Self::UsernsSingle => Ids::Single,
        }
    }

    /// Returns the kinds of root file systems that the rung can enter, the best first.
    pub fn roots(self) -> &'static [RootKind] {
        match self {
            Self::UsernsRange | Self::UsernsSingle => &[RootKind::Overlay, RootKind::Folder],
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UsernsRange => "userns-range",
            Self::UsernsSingle => "userns-single",
        })
    }
}
