//! The rungs, by name.

use std::fmt;

use serde::{Deserialize, Serialize};
use xbuild_model::rootfs::RootKind;

use crate::way::Way;

/// A way to wall steps off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Rung {
    /// A user namespace with a range of ids.
    UsernsRange,
    /// A user namespace with one id.
    UsernsSingle,
    /// A user namespace without mounts, with a range of ids or one: a folder becomes the root by
    /// `chroot(2)`.
    UsernsChroot,
    /// No namespace: root of a container, with the ids and capabilities of that container.
    Chroot,
}

impl Rung {
    /// All of them, the highest first.
    pub const ALL: [Self; 4] =
        [Self::UsernsRange, Self::UsernsSingle, Self::UsernsChroot, Self::Chroot];

    /// Returns the namespaces of the rung.
    pub(crate) fn way(self) -> Way {
        match self {
            Self::UsernsRange | Self::UsernsSingle => Way::Mounts,
            Self::UsernsChroot => Way::Users,
            Self::Chroot => Way::Caller,
        }
    }

    /// Returns whether steps can mount.
    pub fn has_mounts(self) -> bool {
        self.way().has_mounts()
    }

    /// Returns the security price of the rung, in words.
    pub fn price(self) -> &'static str {
        match self {
            Self::UsernsRange => {
                "the kernel's code for user namespaces is reachable; steps have their own processes, \
                 mounts and ids"
            }
            Self::UsernsSingle => {
                "as userns-range; to the kernel all users of a step are the calling user, and owners \
                 are recorded: calls about files take longer"
            }
            Self::UsernsChroot => {
                "as userns-single or userns-range, but without mounts of their own: a step sees what is \
                 mounted around xbuild in its root"
            }
            Self::Chroot => {
                "steps are not isolated from xbuild: they have the processes, ids and rights of its \
                 container"
            }
        }
    }

    /// Returns the kinds of root file systems that the rung can enter, the best first.
    pub fn roots(self) -> &'static [RootKind] {
        match self {
            Self::UsernsRange | Self::UsernsSingle => &[RootKind::Overlay, RootKind::Folder],
            Self::UsernsChroot => &[RootKind::Folder],
            Self::Chroot => &[RootKind::Own, RootKind::Folder],
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UsernsRange => "userns-range",
            Self::UsernsSingle => "userns-single",
            Self::UsernsChroot => "userns-chroot",
            Self::Chroot => "chroot",
        })
    }
}
