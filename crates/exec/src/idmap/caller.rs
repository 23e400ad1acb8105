//! The facts about the caller that the choice of an id map depends on.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use caps::Capability;
#[cfg(test)]
use xbuild_model::ids::Id;
use xbuild_model::ids::{HostGid, HostUid};
use xbuild_wording::{Hint, hints};

use crate::subid::{self, Range};
use crate::{capabilities, diagnose, programs};

/// The process that xbuild was started as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The effective user id.
    pub uid: HostUid,
    /// The effective group id.
    pub gid: HostGid,
    /// The user's name, if the passwd file has one.
    pub name: Option<String>,
    /// Whether it may write any map by itself.
    pub may_map: bool,
    /// Whether a namespace that it makes may set groups.
    pub may_set_groups: bool,
    /// Whether set-user-ID programs have no effect.
    pub no_new_privs: bool,
    /// The user ids that exist here.
    pub uids: Vec<Range<HostUid>>,
    /// The group ids that exist here.
    pub gids: Vec<Range<HostGid>>,
    /// The user's subordinate user ids.
    pub subuids: Vec<Range<HostUid>>,
    /// The user's subordinate group ids.
    pub subgids: Vec<Range<HostGid>>,
    /// The first id that no user has among the subordinate ones.
    pub free_id: u32,
    /// The program that writes user id maps.
    pub newuidmap: Option<PathBuf>,
    /// The program that writes group id maps.
    pub newgidmap: Option<PathBuf>,
}

impl Caller {
    /// Asks the system. Unreadable facts count as absent. Programs are looked for in `search_path`,
    /// which is in the form of `PATH`.
    pub fn current(search_path: &OsStr) -> Self {
        let uid = HostUid::new(rustix::process::geteuid().as_raw());
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let name = subid::user_name(&text("/etc/passwd"), uid);
        let needed = [Capability::CAP_SETUID, Capability::CAP_SETGID, Capability::CAP_SETFCAP];
        Self {
            uid,
            gid: HostGid::new(rustix::process::getegid().as_raw()),
            may_map: capabilities::has_all(&needed),
            // Kernels before 3.19 have no such file.
            may_set_groups: text("/proc/self/setgroups").trim() != "deny",
            no_new_privs: diagnose::status_field("NoNewPrivs").is_some_and(|value| value != "0"),
            uids: subid::existing(&text("/proc/self/uid_map")),
            gids: subid::existing(&text("/proc/self/gid_map")),
            free_id: subid::first_free([&text("/etc/subuid"), &text("/etc/subgid")]),
            subuids: subid::ranges(&text("/etc/subuid"), name.as_deref(), uid),
            subgids: subid::ranges(&text("/etc/subgid"), name.as_deref(), uid),
            newuidmap: programs::find("newuidmap", search_path),
            newgidmap: programs::find("newgidmap", search_path),
            name,
        }
    }

    /// Returns an ordinary user who has ranges of ids.
    #[cfg(test)]
    pub fn for_tests() -> Self {
        fn range<I: Id>(start: u32, count: u32) -> Range<I> {
            Range { start: I::from_raw(start), count }
        }
        Self {
            uid: HostUid::new(1000),
            gid: HostGid::new(100),
            name: Some("dev".to_owned()),
            may_map: false,
            may_set_groups: true,
            no_new_privs: false,
            uids: vec![range(0, u32::MAX)],
            gids: vec![range(0, u32::MAX)],
            subuids: vec![range(100_000, 65_536), range(300_000, 5)],
            subgids: vec![range(200_000, 65_536)],
            free_id: 365_536,
            newuidmap: Some("/usr/bin/newuidmap".into()),
            newgidmap: Some("/usr/bin/newgidmap".into()),
        }
    }

    /// Returns the command that gives the user ranges of ids which nobody has yet.
    pub fn how_to_get_ranges(&self) -> Hint {
        let last = self.free_id.saturating_add(65_535);
        let ids = format!("{}-{last}", self.free_id);
        let name = self.name.as_deref().unwrap_or("USER");
        hints::range_of_ids(ids, name)
    }

    /// Returns the user as people know it.
    pub fn describe(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} ({})", self.uid),
            None => self.uid.to_string(),
        }
    }
}
