//! The users that build.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::needs::have;
use super::tools::{quiet, tool};

/// A user that builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// The user who runs the tests.
    Me,
    /// An ordinary user with subordinate ids.
    Ranged,
    /// An ordinary user without subordinate ids.
    Single,
}

impl User {
    /// Returns the users for which a test is repeated. If root runs the tests: root and two others.
    pub(crate) fn all() -> Vec<Self> {
        if !is_root() {
            return vec![if has_subordinate_ids() { Self::Me } else { Self::Single }];
        }
        let mut users = vec![Self::Me, Self::Single];
        if have("users", "the user xbuild-ranged with subordinate ids", || exists("xbuild-ranged"))
        {
            users.push(Self::Ranged);
        }
        users
    }

    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            _ if !is_root() => None,
            Self::Me => None,
            Self::Ranged => Some("xbuild-ranged"),
            Self::Single if exists("xbuild-single") => Some("xbuild-single"),
            Self::Single => Some("nobody"),
        }
    }
}

/// Returns whether the user who runs the tests has a line in `/etc/subuid`.
fn has_subordinate_ids() -> bool {
    let list = fs::read_to_string("/etc/subuid").unwrap_or_default();
    let names = [tool("id", ["-un"]), tool("id", ["-u"])];
    list.lines().any(|line| names.iter().any(|name| line.split(':').next() == Some(name.trim())))
}

fn exists(user: &str) -> bool {
    quiet("id", [user])
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").map(|meta| meta.uid()).unwrap() == 0
}

/// Returns the numbers of a user and of its own group.
pub(super) fn ids_of(user: &str) -> (u32, u32) {
    let id = |option| tool("id", [option, user]).trim().parse().unwrap();
    (id("-u"), id("-g"))
}
