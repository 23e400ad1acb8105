//! Detecting that somebody wrote to a file.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use xbuild_layer::Mtime;

use crate::root::Stat;

/// The age from which on a time stamp is trusted. The coarsest file systems count in 2 seconds.
const RACY: Duration = Duration::from_secs(2);

/// The properties of a file that change when somebody writes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Device and inode.
    pub(crate) id: (u64, u64),
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) modified: Mtime,
    pub(crate) changed: Mtime,
}

impl Stamp {
    pub(crate) fn of(stat: &Stat) -> Self {
        let Stat { dev, ino, size, mtime, ctime, .. } = *stat;
        Self { id: (dev, ino), size, modified: mtime, changed: ctime }
    }

    /// Returns whether any change after `time` gives another stamp.
    pub(crate) fn is_settled(&self, time: Mtime) -> bool {
        let limit = i128::from(time.secs) - i128::from(RACY.as_secs());
        i128::from(self.changed.secs.max(self.modified.secs)) < limit
    }
}

/// A regular file of a context, with its stamp.
#[derive(Debug, Clone)]
pub(crate) struct ContextFile {
    pub(crate) context: usize,
    pub(crate) path: Vec<u8>,
    pub(crate) stamp: Stamp,
}

impl ContextFile {
    /// Returns the path from the root of the context.
    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Returns the size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.stamp.size
    }

    /// Returns the number of its context, see [`crate::Context::numbered`].
    pub(crate) fn context(&self) -> usize {
        self.context
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_later_than_the_clock_is_never_trusted() {
        let at = |secs| Mtime { secs, nanos: 0 };
        let stamp = |modified, changed| Stamp {
            id: (1, 2),
            size: 3,
            modified: at(modified),
            changed: at(changed),
        };
        let is_settled = |modified, changed| stamp(modified, changed).is_settled(at(1000));
        assert!(is_settled(900, 997) && is_settled(-5, -5));
        assert!(!is_settled(900, 998) && !is_settled(998, 900));
        // The clock went back after the file was written, or it was given a time to come.
        assert!(!is_settled(900, 5000) && !is_settled(i64::MAX, 900));
        // A clock that jumps to its own end settles nothing wrongly and overflows nowhere.
        assert!(stamp(900, 997).is_settled(at(i64::MAX)));
        assert!(!stamp(i64::MIN, i64::MIN).is_settled(at(i64::MIN)));
    }
}
