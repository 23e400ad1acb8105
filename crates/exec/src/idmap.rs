//! The ids that exist in the build's user namespace, and who writes their map.
//!
//! Id 0 inside is always the caller's own, so that the store's folders stay the caller's and can
//! be reached from inside. The ids above it:
//!
//! | kind | for whom | ids from 1 on | written by |
//! | --- | --- | --- | --- |
//! | range | a user with subordinate ids | those, in the order of the files | newuidmap, newgidmap |
//! | range | root with subordinate ids | those | xbuild itself |
//! | range | root without | the same ids as outside, as far as they exist | xbuild itself |
//! | single | everybody else | none | xbuild itself |
//! | host | root without a namespace of the build's own | those that exist | nobody |
//!
//! "Root" is whoever has user id 0 and the capabilities for it in the user namespace that xbuild
//! is started in: real root as much as root of a container.
//!
//! Source: `user_namespaces(7)` § User and group ID mappings.

mod caller;
mod write;

pub(crate) use caller::Caller;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use xbuild_model::ids::{GuestGid, GuestUid, HostGid, HostUid, Id};
use xbuild_model::owner::IdCounts;
use xbuild_model::records::Owners;
use xbuild_wording::{Hint, hints};

use crate::gap::Gap;
use crate::subid::Range;

/// How many ids exist in the build's user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ids {
    /// A range: files and processes can belong to several users.
    Range,
    /// One: everything belongs to root, and the groups of processes cannot be set.
    Single,
}

impl Ids {
    /// Returns where the owners of files are kept.
    pub(crate) fn owners(self) -> Owners {
        match self {
            Self::Range => Owners::Real,
            Self::Single => Owners::Recorded,
        }
    }
}

/// Consecutive ids inside the namespace, and the ids outside that they stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent<Guest, Host> {
    inside: Guest,
    outside: Host,
    count: u32,
}

impl<Guest: Id, Host: Id> Extent<Guest, Host> {
    /// Returns the numbers of a line of a map file: inside, outside, count.
    fn numbers(&self) -> [u32; 3] {
        [self.inside.raw(), self.outside.raw(), self.count]
    }
}

/// The way to write the map.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Writer {
    /// By xbuild, which has the right to map any id.
    Own,
    /// By xbuild, which may map one id if it gives up setting groups.
    OwnWithoutGroups,
    /// By nobody: there is no namespace of the build's own.
    Nobody,
    /// By the set-user-ID programs.
    Tools { newuidmap: PathBuf, newgidmap: PathBuf },
}

/// The ids of the build's user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdMap {
    uids: Vec<Extent<GuestUid, HostUid>>,
    gids: Vec<Extent<GuestGid, HostGid>>,
    writer: Writer,
}

/// One more than the largest id that an image can use.
const ID_LIMIT: u32 = xbuild_model::passwd::MAX_ID + 1;

impl IdMap {
    /// Returns the map with the caller's own id alone.
    pub(crate) fn single(caller: &Caller) -> Self {
        Self {
            uids: vec![Extent { inside: GuestUid::ROOT, outside: caller.uid, count: 1 }],
            gids: vec![Extent { inside: GuestGid::ROOT, outside: caller.gid, count: 1 }],
            writer: Writer::OwnWithoutGroups,
        }
    }

    /// Returns the map with a range of ids, or why the caller cannot have one.
    pub(crate) fn range(caller: &Caller) -> Result<Self, Gap> {
        if !caller.may_set_groups {
            return Err(gap(
                "the user namespace around xbuild forbids setgroups (/proc/self/setgroups)",
                hints::outside_namespace(),
            ));
        }
        if caller.uid == HostUid::ROOT && caller.may_map {
            if is_one(&caller.uids) || is_one(&caller.gids) {
                return Err(gap(
                    "the user namespace around xbuild has one id",
                    hints::outside_namespace_or_range(),
                ));
            }
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
            return Err(gap(
                &format!("{file} has no range for user {}", caller.describe()),
                caller.how_to_get_ranges(),
            ));
        }
        if caller.no_new_privs {
            return Err(gap(
                "no_new_privs is set, which keeps newuidmap from working",
                hints::new_privileges(),
            ));
        }
        let (Some(newuidmap), Some(newgidmap)) = (&caller.newuidmap, &caller.newgidmap) else {
            return Err(gap("newuidmap or newgidmap is not installed", hints::install_uidmap()));
        };
        Ok(Self {
            uids: stack(caller.uid, &caller.subuids),
            gids: stack(caller.gid, &caller.subgids),
            writer: Writer::Tools { newuidmap: newuidmap.clone(), newgidmap: newgidmap.clone() },
        })
    }

    /// Returns the ids that exist without a namespace of the build's own.
    pub(crate) fn host(caller: &Caller) -> Self {
        let (uids, gids) = (identity(&caller.uids), identity(&caller.gids));
        Self { uids, gids, writer: Writer::Nobody }
    }

    /// Returns how many ids exist inside.
    pub(crate) fn ids(&self) -> Ids {
        match self.writer {
            Writer::Nobody if self.is_one_id() => Ids::Single,
            Writer::Nobody => Ids::Range,
            Writer::OwnWithoutGroups => Ids::Single,
            Writer::Own | Writer::Tools { .. } => Ids::Range,
        }
    }

    /// Returns how many users and groups exist, counted from 0 up to the first that does not.
    pub(crate) fn counts(&self) -> IdCounts {
        fn count<Guest: Id, Host: Id>(extents: &[Extent<Guest, Host>]) -> u32 {
            let mut all: Vec<_> = extents.iter().map(Extent::numbers).collect();
            all.sort_unstable();
            let next = |end: u32, [inside, _, count]: &[u32; 3]| match *inside <= end {
                true => end.max(inside.saturating_add(*count)),
                false => end,
            };
            all.iter().fold(0, next)
        }
        IdCounts { users: count(&self.uids), groups: count(&self.gids) }
    }

    fn is_one_id(&self) -> bool {
        self.uids.iter().map(|extent| u64::from(extent.count)).sum::<u64>() <= 1
    }

    /// Returns whether a user of the namespace around exists inside, under whatever number.
    pub(crate) fn reaches_uid(&self, uid: HostUid) -> bool {
        self.uids.iter().any(|e| Range { start: e.outside, count: e.count }.contains(uid))
    }

    /// Returns a name that is the same for equal maps only, fit for a folder: `range-`, `owners-` or
    /// `host-` and 16 hex digits.
    pub fn name(&self) -> String {
        let uids = self.uids.iter().map(|extent| (0, extent.numbers()));
        let gids = self.gids.iter().map(|extent| (1, extent.numbers()));
        let bytes = uids.chain(gids).flat_map(|(list, [inside, outside, count])| {
            [list, inside, outside, count].into_iter().flat_map(u32::to_le_bytes)
        });
        // FNV-1a: the name lives on disk, so the hash must be the same in every build of xbuild.
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let kind = match (&self.writer, self.ids()) {
            // Folders in older stores, `single-`, have no attributes with owners.
            (_, Ids::Single) => "owners",
            (Writer::Nobody, Ids::Range) => "host",
            (_, Ids::Range) => "range",
        };
        format!("{kind}-{hash:016x}")
    }
}

fn gap(why: &str, how_to_get: Hint) -> Gap {
    Gap { why: why.to_owned(), how_to_get }
}

/// Returns whether there is but one id.
fn is_one<I: Id>(ids: &[Range<I>]) -> bool {
    matches!(ids, [Range { count: 1, .. }])
}

/// Returns the ranges whose ids all exist.
fn existing<I: Id>(ranges: &[Range<I>], ids: &[Range<I>]) -> Vec<Range<I>> {
    let exists = |range: &&Range<I>| ids.iter().any(|known| known.covers(range));
    ranges.iter().filter(exists).copied().collect()
}

/// Maps id 0 to the caller's own and the ids above it to the ranges, one after the other.
fn stack<Guest: Id, Host: Id>(own: Host, ranges: &[Range<Host>]) -> Vec<Extent<Guest, Host>> {
    let mut extents = vec![Extent { inside: Guest::from_raw(0), outside: own, count: 1 }];
    let mut inside: u32 = 1;
    for range in ranges {
        // A range with the caller's own id in it would map that twice, which the kernel refuses.
        let count = range.count.min(ID_LIMIT - inside);
        if count > 0 && !range.contains(own) {
            extents.push(Extent { inside: Guest::from_raw(inside), outside: range.start, count });
            inside += count;
        }
    }
    extents
}

/// Maps the ids that exist to themselves.
fn identity<Guest: Id, Host: Id>(existing: &[Range<Host>]) -> Vec<Extent<Guest, Host>> {
    existing
        .iter()
        .filter(|range| range.start.raw() < ID_LIMIT)
        .map(|range| Extent {
            inside: Guest::from_raw(range.start.raw()),
            outside: range.start,
            count: range.count.min(ID_LIMIT - range.start.raw()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range<I: Id>(start: u32, count: u32) -> Range<I> {
        Range { start: I::from_raw(start), count }
    }

    fn extent<G: Id, H: Id>(inside: u32, outside: u32, count: u32) -> Extent<G, H> {
        Extent { inside: G::from_raw(inside), outside: H::from_raw(outside), count }
    }

    fn user() -> Caller {
        Caller::for_tests()
    }

    #[test]
    fn gives_a_user_his_ranges() {
        let map = IdMap::range(&user()).unwrap();
        assert_eq!(map.ids(), Ids::Range);
        assert_eq!(
            map.uids,
            [extent(0, 1000, 1), extent(1, 100_000, 65_536), extent(65_537, 300_000, 5)]
        );
        assert_eq!(map.gids, [extent(0, 100, 1), extent(1, 200_000, 65_536)]);
    }

    #[test]
    fn says_why_a_range_cannot_be_had() {
        for (caller, reason) in [
            (Caller { subuids: vec![], ..user() }, "/etc/subuid has no range for user dev (1000)"),
            (Caller { subgids: vec![], ..user() }, "/etc/subgid has no range for user dev (1000)"),
            (Caller { no_new_privs: true, ..user() }, "no_new_privs"),
            (Caller { may_set_groups: false, ..user() }, "forbids setgroups"),
            (Caller { newgidmap: None, ..user() }, "not installed"),
        ] {
            let gap = IdMap::range(&caller).unwrap_err();
            assert!(gap.why.contains(reason), "{gap}");
            let command = "usermod --add-subuids 365536-431071 --add-subgids 365536-431071 dev;";
            assert_eq!(reason.starts_with("/etc/"), gap.how_to_get.contains(command), "{gap}");
            let map = IdMap::single(&caller);
            assert_eq!((map.uids.clone(), map.ids()), (vec![extent(0, 1000, 1)], Ids::Single));
        }
    }

    #[test]
    fn gives_root_subordinate_ids_or_those_that_exist() {
        let root = Caller { uid: HostUid::ROOT, gid: HostGid::ROOT, may_map: true, ..user() };
        let map = IdMap::range(&root).unwrap();
        assert_eq!((map.uids[1], &map.writer), (extent(1, 100_000, 65_536), &Writer::Own));
        let plain = Caller { subuids: vec![], ..root };
        let map = IdMap::range(&plain).unwrap();
        assert_eq!(map.uids, [extent(0, 0, 1 << 31)]);
        // Root of a container whose user namespace has 65,536 ids: ids of the host do not exist.
        let inner = Caller { uids: vec![range(0, 65_536)], subuids: user().subuids, ..plain };
        let map = IdMap::range(&inner).unwrap();
        assert_eq!(map.uids, [extent(0, 0, 65_536)]);
        // `unshare -Ur`
        let alone = Caller { uids: vec![range(0, 1)], gids: vec![range(0, 1)], ..inner.clone() };
        assert!(IdMap::range(&alone).unwrap_err().why.contains("has one id"));
        let powerless = Caller { may_map: false, subuids: vec![], ..inner };
        assert!(IdMap::range(&powerless).is_err());
        let host = IdMap::host(&powerless);
        assert_eq!((host.uids.clone(), host.ids()), (vec![extent(0, 0, 65_536)], Ids::Range));
        let alone = Caller { uids: vec![range(0, 1)], gids: vec![range(0, 1)], ..powerless };
        assert_eq!(IdMap::host(&alone).ids(), Ids::Single);
    }

    #[test]
    fn names_tell_maps_apart_and_last() {
        let wide = IdMap::range(&user()).unwrap();
        let single = IdMap::single(&user());
        assert_eq!(single.name(), IdMap::single(&user()).name());
        assert_ne!(wide.name(), single.name());
        assert!(IdMap::host(&user()).name().starts_with("host-"));
        // Folders in existing stores have this name.
        assert_eq!(wide.name(), "range-01ec69df523021c7");
    }
}
