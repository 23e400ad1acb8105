//! Owners of files that the user namespace lacks: all but root's where there is one id, and those with
//! numbers beyond a range of ids.
//!
//! On disk another id owns such files ([`IdCounts::on_disk`]). So regular files and folders of other owners have an attribute,
//! which moves, links and copies-up carry along. Files of other kinds can have none: those of the
//! layers below are listed ([`OwnersBelow`]), and those that a command makes are among its
//! [`Records`](crate::records::Records).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The extended attribute of a regular file or folder that is not root's: the text of an [`Owner`].
pub const ATTRIBUTE: &str = "user.xbuild.owner";

/// The owner and group of a file, as numbered in the image.
///
/// ```
/// use xbuild_model::owner::Owner;
///
/// let owner = Owner { uid: 1234, gid: 2345 };
/// assert_eq!(owner.to_string(), "1234:2345");
/// assert_eq!(Owner::parse(b"1234:2345"), Some(owner));
/// ```
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Owner {
    /// The owner of files without an attribute.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };

    /// Reads the text that [`fmt::Display`] writes; `None` for any other.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (uid, gid) = text.split_once(':')?;
        let owner = Self { uid: uid.parse().ok()?, gid: gid.parse().ok()? };
        // One text for each owner: no signs, no zeros in front.
        (owner.to_string() == text).then_some(owner)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// The users and groups that exist in a user namespace: those from 0 up to these numbers.
///
/// ```
/// use xbuild_model::owner::{IdCounts, Owner};
///
/// let counts = IdCounts { users: 65537, groups: 65537 };
/// let high = Owner { uid: 1_407_182_137, gid: 5 };
/// assert!(!counts.have(high) && counts.have(Owner::ROOT));
/// assert_eq!(counts.on_disk(high), Owner { uid: 65534, gid: 5 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdCounts {
    /// The number of users.
    pub users: u32,
    /// The number of groups.
    pub groups: u32,
}

/// The user, and the group, that owns a file on disk in place of one that does not exist: "nobody". If
/// it does not exist either, that is root.
pub const STAND_IN: u32 = 65534;

impl IdCounts {
    /// Returns whether both ids of an owner exist.
    pub fn have(self, owner: Owner) -> bool {
        owner.uid < self.users && owner.gid < self.groups
    }

    /// Returns the owner on disk of a file of `owner`.
    pub fn on_disk(self, owner: Owner) -> Owner {
        let id = |id: u32, count: u32| match (id < count, STAND_IN < count) {
            (true, _) => id,
            (false, true) => STAND_IN,
            (false, false) => 0,
        };
        Owner { uid: id(owner.uid, self.users), gid: id(owner.gid, self.groups) }
    }
}

/// The facts about owners of the layers below a command that its root file system does not show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnersBelow {
    /// Whether any file has an owner that is recorded.
    pub has_others: bool,
    /// Files with such owners that can have no attribute: paths without a leading slash.
    pub special: Vec<(Vec<u8>, Owner)>,
    /// The ids that exist, where there is a range: owners are recorded that are not among them. `None`
    /// where all owners but root are recorded.
    pub counts: Option<IdCounts>,
}

impl OwnersBelow {
    /// Returns the owner of a file that can have no attribute.
    pub fn of_special(&self, path: &[u8]) -> Owner {
        let found = self.special.iter().find(|(known, _)| known == path);
        found.map_or(Owner::ROOT, |(_, owner)| *owner)
    }
}

/// A file that can have no attribute, by its number on the root file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileNumber {
    /// Its inode.
    pub inode: u64,
    /// When the inode was made, where the file system knows: numbers are used again. Seconds,
    /// nanoseconds.
    pub birth: Option<(i64, u32)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_exact() {
        for text in ["0:0", "1:2", "4294967294:4294967295"] {
            let owner = Owner::parse(text.as_bytes());
            assert_eq!(owner.map(|owner| owner.to_string()).as_deref(), Some(text));
        }
        for text in ["", ":", "1", "1:", ":1", "01:1", "+1:1", "1:1 ", "1:1:1", "4294967296:0"] {
            assert_eq!(Owner::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Owner::parse(b"1:\xff"), None);
    }

    #[test]
    fn special_files_are_found_by_their_paths() {
        let owner = Owner { uid: 1, gid: 2 };
        let special = vec![(b"a/link".to_vec(), owner)];
        let below = OwnersBelow { has_others: true, special, counts: None };
        assert_eq!(below.of_special(b"a/link"), owner);
        assert_eq!(below.of_special(b"a"), Owner::ROOT);
    }
}
