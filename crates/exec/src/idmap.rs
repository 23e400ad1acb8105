//! Which ids exist in the build's user namespace, and who may say so.
//!
//! Id 0 inside is always the caller's own, so that the store's folders stay the caller's and can
//! be reached from inside. What follows above it:
//!
//! | kind | for whom | ids from 1 on | written by |
//! | --- | --- | --- | --- |
//! | range | a user with subordinate ids | those, in the order of the files | newuidmap, newgidmap |
//! | range | root with subordinate ids | those | xbuild itself |
//! | range | root without | the same ids as outside, as far as they exist | xbuild itself |
//! | single | everybody else | none | xbuild itself |
//!
//! "Root" is whoever has user id 0 and the capabilities for it in the user namespace that xbuild
//! is started in: real root as much as root of a container.
//!
//! Source: `user_namespaces(7)` § User and group ID mappings.

mod caller;
mod write;

pub(crate) use caller::Caller;

use crate::error::SandboxError;
use crate::subid::Range;

use std::path::PathBuf;

/// The user's choice of how RUN steps are walled off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// The best that this machine allows.
    #[default]
    Auto,
    /// A user namespace with a range of ids, or an error.
    UsernsRange,
    /// A user namespace with a single id.
    UsernsSingle,
    /// No namespace: commands cannot be run.
    None,
}

/// Consecutive ids inside of the namespace and the ids outside that they stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    inside: u32,
    outside: u32,
    count: u32,
}

/// How the map gets written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Writer {
    /// By xbuild, which has the right to.
    Own,
    /// By xbuild, which may map one id if it gives up setting groups.
    OwnWithoutGroups,
    /// By the set-user-ID programs.
    Tools { newuidmap: PathBuf, newgidmap: PathBuf },
}

/// The ids of the build's user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    uids: Vec<Extent>,
    gids: Vec<Extent>,
    writer: Writer,
}

/// One more than the largest id that an image can use.
const ID_LIMIT: u32 = xbuild_model::passwd::MAX_ID + 1;

impl IdMap {
    /// Decides what map the caller gets.
    ///
    /// **Errors** — [`SandboxError::Disabled`], or [`SandboxError::NoRange`] if a range was
    /// demanded and cannot be had, with the reason.
    pub(crate) fn choose(isolation: Isolation, caller: &Caller) -> Result<Self, SandboxError> {
        let single = || Self {
            uids: vec![Extent { inside: 0, outside: caller.uid, count: 1 }],
            gids: vec![Extent { inside: 0, outside: caller.gid, count: 1 }],
            writer: Writer::OwnWithoutGroups,
        };
        match isolation {
            Isolation::None => Err(SandboxError::Disabled),
            Isolation::UsernsSingle => Ok(single()),
            Isolation::UsernsRange => {
                Self::range(caller).map_err(|reason| SandboxError::NoRange { reason })
            }
            Isolation::Auto => Ok(Self::range(caller).unwrap_or_else(|_| single())),
        }
    }

    fn range(caller: &Caller) -> Result<Self, String> {
        let existing = |ranges: &[Range], ids: &[Range]| {
            let exists = |r: &&Range| ids.iter().any(|e| e.covers(r));
            ranges.iter().filter(exists).copied().collect::<Vec<_>>()
        };
        if caller.uid == 0 && caller.may_map {
            let subuids = existing(&caller.subuids, &caller.uids);
            let subgids = existing(&caller.subgids, &caller.gids);
            let (uids, gids) = if subuids.is_empty() || subgids.is_empty() {
                (identity(&caller.uids), identity(&caller.gids))
            } else {
                (stack(caller.uid, &subuids), stack(caller.gid, &subgids))
            };
            return Ok(Self { uids, gids, writer: Writer::Own });
        }
        if caller.subuids.is_empty() || caller.subgids.is_empty() {
            let file = if caller.subuids.is_empty() { "/etc/subuid" } else { "/etc/subgid" };
            return Err(format!("{file} has no range for user {}", caller.describe()));
        }
        if caller.no_new_privs {
            return Err("no_new_privs is set, which keeps newuidmap from working".to_owned());
        }
        let (Some(newuidmap), Some(newgidmap)) = (&caller.newuidmap, &caller.newgidmap) else {
            return Err("newuidmap or newgidmap is not installed".to_owned());
        };
        Ok(Self {
            uids: stack(caller.uid, &caller.subuids),
            gids: stack(caller.gid, &caller.subgids),
            writer: Writer::Tools { newuidmap: newuidmap.clone(), newgidmap: newgidmap.clone() },
        })
    }

    /// Returns whether only one id exists inside.
    pub fn is_single(&self) -> bool {
        self.writer == Writer::OwnWithoutGroups
    }

    /// Returns whether a uid exists inside.
    pub fn has_uid(&self, uid: u32) -> bool {
        exists_inside(&self.uids, uid)
    }

    /// Returns whether a gid exists inside.
    pub fn has_gid(&self, gid: u32) -> bool {
        exists_inside(&self.gids, gid)
    }

    /// Returns whether a uid of the namespace around exists inside, under whatever number.
    pub(crate) fn reaches_uid(&self, uid: u32) -> bool {
        self.uids.iter().any(|e| Range { start: e.outside, count: e.count }.contains(uid))
    }

    /// Returns a name that is the same for equal maps only, fit for a folder: `range-` or
    /// `single-` and 16 hex digits.
    pub fn name(&self) -> String {
        let numbers = self.uids.iter().map(|e| (0, e)).chain(self.gids.iter().map(|e| (1, e)));
        let bytes = numbers.flat_map(|(list, e)| {
            [list, e.inside, e.outside, e.count].into_iter().flat_map(u32::to_le_bytes)
        });
        // FNV-1a: the name lives on disk, so the hash must be the same in every build of xbuild.
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{}-{hash:016x}", if self.is_single() { "single" } else { "range" })
    }
}

fn exists_inside(extents: &[Extent], id: u32) -> bool {
    extents.iter().any(|e| Range { start: e.inside, count: e.count }.contains(id))
}

/// Maps id 0 to the caller's own and the ids above it to the ranges, one after the other.
fn stack(own: u32, ranges: &[Range]) -> Vec<Extent> {
    let mut extents = vec![Extent { inside: 0, outside: own, count: 1 }];
    let mut inside: u32 = 1;
    for range in ranges {
        // A range with the caller's own id in it would map that twice, which the kernel refuses.
        let count = range.count.min(ID_LIMIT - inside);
        if count > 0 && !range.contains(own) {
            extents.push(Extent { inside, outside: range.start, count });
            inside += count;
        }
    }
    extents
}

/// Maps the ids that exist to themselves.
fn identity(existing: &[Range]) -> Vec<Extent> {
    existing
        .iter()
        .filter(|range| range.start < ID_LIMIT)
        .map(|range| Extent {
            inside: range.start,
            outside: range.start,
            count: range.count.min(ID_LIMIT - range.start),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u32, count: u32) -> Range {
        Range { start, count }
    }

    fn extent(inside: u32, outside: u32, count: u32) -> Extent {
        Extent { inside, outside, count }
    }

    fn user() -> Caller {
        Caller {
            uid: 1000,
            gid: 100,
            name: Some("dev".to_owned()),
            may_map: false,
            no_new_privs: false,
            uids: vec![range(0, u32::MAX)],
            gids: vec![range(0, u32::MAX)],
            subuids: vec![range(100_000, 65_536), range(300_000, 5)],
            subgids: vec![range(200_000, 65_536)],
            newuidmap: Some("/usr/bin/newuidmap".into()),
            newgidmap: Some("/usr/bin/newgidmap".into()),
        }
    }

    #[test]
    fn gives_a_user_his_ranges() {
        let map = IdMap::choose(Isolation::Auto, &user()).unwrap();
        assert!(!map.is_single());
        assert_eq!(
            map.uids,
            [extent(0, 1000, 1), extent(1, 100_000, 65_536), extent(65_537, 300_000, 5)]
        );
        assert_eq!(map.gids, [extent(0, 100, 1), extent(1, 200_000, 65_536)]);
        assert!(map.has_uid(65_541) && !map.has_uid(65_542) && !map.has_gid(65_537));
    }

    #[test]
    fn falls_back_to_a_single_id_and_says_why_a_range_cannot_be_had() {
        for (caller, reason) in [
            (Caller { subuids: vec![], ..user() }, "/etc/subuid has no range for user dev (1000)"),
            (Caller { subgids: vec![], ..user() }, "/etc/subgid has no range for user dev (1000)"),
            (Caller { no_new_privs: true, ..user() }, "no_new_privs"),
            (Caller { newgidmap: None, ..user() }, "not installed"),
        ] {
            let map = IdMap::choose(Isolation::Auto, &caller).unwrap();
            assert_eq!((map.uids.clone(), map.is_single()), (vec![extent(0, 1000, 1)], true));
            let error = IdMap::choose(Isolation::UsernsRange, &caller).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn gives_root_subordinate_ids_or_those_that_exist() {
        let root = Caller { uid: 0, gid: 0, may_map: true, ..user() };
        let map = IdMap::choose(Isolation::Auto, &root).unwrap();
        assert_eq!((map.uids[1], &map.writer), (extent(1, 100_000, 65_536), &Writer::Own));
        let plain = Caller { subuids: vec![], ..root };
        let map = IdMap::choose(Isolation::Auto, &plain).unwrap();
        assert_eq!(map.uids, [extent(0, 0, 1 << 31)]);
        // Root of a container whose user namespace has 65,536 ids: those of the host are no use.
        let inner = Caller { uids: vec![range(0, 65_536)], subuids: user().subuids, ..plain };
        let map = IdMap::choose(Isolation::Auto, &inner).unwrap();
        assert_eq!(map.uids, [extent(0, 0, 65_536)]);
        let powerless = Caller { may_map: false, subuids: vec![], ..inner };
        assert!(IdMap::choose(Isolation::Auto, &powerless).unwrap().is_single());
    }

    #[test]
    fn names_tell_maps_apart_and_last() {
        let wide = IdMap::choose(Isolation::Auto, &user()).unwrap();
        let single = IdMap::choose(Isolation::UsernsSingle, &user()).unwrap();
        assert_eq!(single.name(), IdMap::choose(Isolation::UsernsSingle, &user()).unwrap().name());
        assert_ne!(wide.name(), single.name());
        // Folders in stores out there have this name.
        assert_eq!(wide.name(), "range-01ec69df523021c7");
    }
}
