//! How deep the processes of a build move into namespaces.

use serde::{Deserialize, Serialize};

/// The namespaces that the helper enters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Way {
    /// A user namespace and a mount namespace: steps mount what they need.
    Mounts,
    /// A user namespace only, since the kernel refuses mounts in it.
    Users,
    /// None: the helper has the caller's ids and rights.
    Caller,
}

impl Way {
    /// Returns whether file systems can be mounted.
    pub(crate) fn has_mounts(self) -> bool {
        self == Self::Mounts
    }

    /// Returns whether there is a user namespace of the build's own.
    pub(crate) fn has_users(self) -> bool {
        self != Self::Caller
    }
}
