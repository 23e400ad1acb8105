//! The ladder of RUN: the rung that steps stand on here, and the remedy for each higher one.
//!
//! A rung is a way in, with the ids that exist there. The kind of root file system is chosen apart
//! from it: `userns-range/overlay` names both. From the top:
//!
//! | rung | for whom | ids |
//! | --- | --- | --- |
//! | `userns-range` | users with subordinate ids, and root | a range |
//! | `userns-single` | everybody else | one; owners are recorded |
//! | `userns-chroot` | where mounts are refused | a range, or one |
//! | `chroot` | root, where user namespaces are refused | those of the machine or container |
//!
//! This module decides and does nothing else: [`Findings`] come from `probe`, which tries things
//! out, and from `idmap`, which reads the rights of the caller.

mod isolation;
mod rung;

use std::ffi::OsStr;
use std::fmt;

use xbuild_model::own_root::Spared;
use xbuild_model::rootfs::RootKind;
use xbuild_wording::hints;

use crate::error::SandboxError;
use crate::gap::Gap;
use crate::idmap::{Caller, IdMap, Ids};
use crate::{capabilities, own_root};

pub use isolation::{Isolation, UnknownIsolation};
pub use rung::Rung;

/// A condition of a rung or of a root file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// User namespaces.
    UserNamespaces,
    /// `chroot(2)` inside them.
    Chroot,
    /// Mounts inside them.
    Mounts,
    /// A filter of system calls.
    Filter,
    /// Overlay mounts with folders of the store.
    Overlay,
    /// A folder of the store as root.
    Folder,
    /// More ids than the caller's own.
    IdRange,
    /// Capabilities of the caller, which must be root.
    Rights,
    /// The root of the container as the root of steps.
    OwnRoot,
}

impl Need {
    fn lacking(self, gap: Gap) -> SandboxError {
        let Gap { why, how_to_get } = gap;
        SandboxError::Lacking { need: self.to_string(), why, how_to_get }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UserNamespaces => "user namespaces",
            Self::Chroot => "a change of the root directory in user namespaces",
            Self::Mounts => "mounts in user namespaces",
            Self::Filter => "a filter of system calls",
            Self::Overlay => "overlay mounts on the file system of the store",
            Self::Folder => "a folder of the store as root",
            Self::IdRange => "a range of user and group ids",
            Self::OwnRoot => "the root of a container made for xbuild",
            Self::Rights => "user namespaces, or root with the capabilities of a container",
        })
    }
}

/// The facts about this machine that the choice depends on.
#[derive(Debug, Clone)]
pub struct Findings {
    pub(crate) caller: Caller,
    pub(crate) user_namespaces: Result<(), Gap>,
    /// The range of ids, as far as it was tried out.
    pub(crate) id_range: Result<(), Gap>,
    pub(crate) mounts: Result<(), Gap>,
    pub(crate) filter: Result<(), Gap>,
    /// A `/proc` that shows a step's processes only.
    pub(crate) own_proc: Result<(), Gap>,
    pub(crate) chroot: Result<(), Gap>,
    pub(crate) rights: Result<(), Gap>,
    pub(crate) overlay: Result<(), Gap>,
    pub(crate) folder: Result<(), Gap>,
    /// A folder of the store's, in which anything can be tried out.
    pub(crate) place: Result<(), Gap>,
    /// The fault of the machine that kept a trial from that folder.
    pub(crate) fault: Option<SandboxError>,
    /// The files that are spared in the root of this container, if steps may have it.
    pub(crate) own_root: Result<Spared, Gap>,
    /// The rungs without mounts that were tried out.
    pub(crate) alone: Vec<(Rung, Result<(), Gap>)>,
}

impl Findings {
    /// Returns the facts that can be read without a trial. Whatever would have to be tried out
    /// counts as possible.
    pub(crate) fn untried(search_path: &OsStr) -> Self {
        Self::all_possible(Caller::current(search_path))
    }

    /// Returns the facts where every trial succeeds.
    pub(crate) fn all_possible(caller: Caller) -> Self {
        Self {
            rights: capabilities::for_chroot(caller.uid),
            caller,
            chroot: Ok(()),
            user_namespaces: Ok(()),
            id_range: Ok(()),
            mounts: Ok(()),
            filter: Ok(()),
            own_proc: Ok(()),
            overlay: Ok(()),
            folder: Ok(()),
            place: Ok(()),
            fault: None,
            own_root: own_root::look(None),
            alone: Vec::new(),
        }
    }

    /// Returns whether a step can have a `/proc` that shows its own processes only, which an
    /// insecure step needs.
    pub fn own_proc(&self) -> &Result<(), Gap> {
        &self.own_proc
    }

    /// Returns the needs of rungs and root file systems that were tried out, each with its gap if
    /// this machine has one.
    pub fn needs(&self) -> [(Need, &Result<(), Gap>); 5] {
        [
            (Need::UserNamespaces, &self.user_namespaces),
            (Need::Mounts, &self.mounts),
            (Need::Filter, &self.filter),
            (Need::Overlay, &self.overlay),
            (Need::Folder, &self.folder),
        ]
    }

    /// Returns whether a rung is possible, whatever the root file system.
    pub fn rung(&self, rung: Rung) -> Result<(), Gap> {
        self.map_on(rung).map(drop).map_err(|(_, gap)| gap)
    }

    /// Returns whether a kind of root file system is possible on a rung.
    pub fn root(&self, rung: Rung, root: RootKind) -> Result<(), Gap> {
        self.allow_root(rung, root).map_err(|(_, gap)| gap)
    }

    /// Returns the id map that the caller gets on a rung.
    fn map_on(&self, rung: Rung) -> Result<IdMap, (Need, Gap)> {
        let met = |result: &Result<(), Gap>, need| result.clone().map_err(|gap| (need, gap));
        let way = rung.way();
        if way.has_users() {
            met(&self.user_namespaces, Need::UserNamespaces)?;
        }
        if way.has_mounts() {
            met(&self.mounts, Need::Mounts)?;
            met(&self.filter, Need::Filter)?;
        }
        let range = || {
            let map = IdMap::range(&self.caller).map_err(|gap| (Need::IdRange, gap))?;
            met(&self.id_range, Need::IdRange).map(|()| map)
        };
        match rung {
            Rung::UsernsRange => range(),
            Rung::UsernsSingle => Ok(IdMap::single(&self.caller)),
            Rung::UsernsChroot => {
                met(&self.chroot, Need::Chroot)?;
                Ok(range().unwrap_or_else(|_| IdMap::single(&self.caller)))
            }
            Rung::Chroot => {
                met(&self.rights, Need::Rights)?;
                Ok(IdMap::host(&self.caller))
            }
        }
    }

    /// Returns whether a kind of root file system is possible on a rung. Without mounts it counts as
    /// possible until it was tried out.
    fn allow_root(&self, rung: Rung, root: RootKind) -> Result<(), (Need, Gap)> {
        let alone = || {
            let tried = self.alone.iter().find(|(tried, _)| *tried == rung);
            let tried = tried.map_or(Ok(()), |(_, result)| result.clone());
            self.place.clone().and(tried).map_err(|gap| (Need::Folder, gap))
        };
        match root {
            RootKind::Own => {
                self.own_root.as_ref().map_err(|gap| (Need::OwnRoot, gap.clone()))?;
                alone()
            }
            RootKind::Folder if !rung.way().has_mounts() => alone(),
            RootKind::Overlay => self.overlay.clone().map_err(|gap| (Need::Overlay, gap)),
            RootKind::Folder => self.folder.clone().map_err(|gap| (Need::Folder, gap)),
        }
    }
}

/// The rung and the root file system of a build's steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The rung.
    pub rung: Rung,
    /// The kind of root file system.
    pub root: RootKind,
    /// The rungs and root file systems that come before it and were tried in vain, in order.
    pub refused: Vec<Refusal>,
    /// The files that are spared in the root of this container, if that is the root of steps.
    pub spared: Option<Spared>,
    pub(crate) map: IdMap,
}

impl Choice {
    /// Returns which ids exist: `range` or `single`.
    pub fn ids(&self) -> &'static str {
        match self.map.ids() {
            Ids::Range => "range",
            Ids::Single => "single",
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        isolation::write_named(f, &self.rung, Some(self.root))
    }
}

/// Why a rung, or a root file system on it, is out of reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The rung.
    pub rung: Rung,
    /// The root file system, if the rung itself is possible.
    pub root: Option<RootKind>,
    /// The condition that is not met.
    pub need: Need,
    /// The reason, and the remedy.
    pub gap: Gap,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        isolation::write_named(f, &self.rung, self.root)
    }
}

/// Chooses the highest rung that the user and the machine allow, and the best root file system on
/// it.
///
/// **Errors** — [`SandboxError::Disabled`] if the user allows none, [`SandboxError::Impossible`] if
/// the user demands something that this machine does not allow, [`SandboxError::Lacking`] if a need
/// of every RUN is not met, [`SandboxError::Store`] if the disk of the store kept that from being tried
/// out.
pub fn choose(isolation: Isolation, findings: &Findings) -> Result<Choice, SandboxError> {
    let mut refused = Vec::new();
    let allows = |rung: &Rung| {
        isolation.allows(*rung) && rung.roots().iter().any(|root| isolation.allows_root(*root))
    };
    for rung in Rung::ALL.into_iter().filter(allows) {
        let map = match findings.map_on(rung) {
            Ok(map) => map,
            Err((need, gap)) => {
                refused.push(Refusal { rung, root: None, need, gap });
                continue;
            }
        };
        for root in rung.roots().iter().copied().filter(|root| isolation.allows_root(*root)) {
            match findings.allow_root(rung, root) {
                Ok(()) => {
                    let own = findings.own_root.as_ref().ok();
                    let spared = own.filter(|_| root == RootKind::Own).cloned();
                    return Ok(Choice { rung, root, refused, spared, map });
                }
                Err((need, gap)) => refused.push(Refusal { rung, root: Some(root), need, gap }),
            }
        }
    }
    let Some(Refusal { need, gap, .. }) = refused.last().cloned() else {
        return Err(SandboxError::Disabled);
    };
    // A full disk is no lack of rights, whatever else is refused.
    if let Some(fault) = &findings.fault {
        return Err(fault.clone());
    }
    // Without user namespaces, no other choice would do better.
    if isolation == Isolation::AUTO || need == Need::UserNamespaces {
        return Err(lacking(need, gap, refused));
    }
    Err(SandboxError::Impossible {
        isolation: isolation.to_string(),
        reason: gap.why,
        how_to_get: gap.how_to_get,
    })
}

/// Returns the error of a machine without any rung. User namespaces are the better remedy, so they
/// are named before the capabilities of root.
fn lacking(need: Need, gap: Gap, refused: Vec<Refusal>) -> SandboxError {
    let namespaces = refused.into_iter().find(|refusal| refusal.need == Need::UserNamespaces);
    match namespaces {
        Some(first) if need == Need::Rights => need.lacking(Gap {
            why: format!("{}; {}", first.gap.why, gap.why),
            how_to_get: hints::either(first.gap.how_to_get, gap.how_to_get),
        }),
        _ => need.lacking(gap),
    }
}

#[cfg(test)]
mod tests {
    use xbuild_model::{FailureKind, StepFailure};

    use super::*;
    use crate::idmap::Ids;

    fn gap(why: &str) -> Result<(), Gap> {
        Err(Gap { why: why.to_owned(), how_to_get: hints::add_flags(why) })
    }

    fn findings(caller: Caller) -> Findings {
        let rights = gap("xbuild is not root");
        Findings { rights, ..Findings::all_possible(caller) }
    }

    /// A line of the table: the choice or the error, why no higher rung, the remedy.
    type Line<'a> = (Isolation, Findings, &'a str, &'a str, &'a str);

    fn table() -> Vec<Line<'static>> {
        let user = Caller::for_tests;
        let plain = || Caller { subuids: vec![], ..user() };
        let no_tools = || Caller { newgidmap: None, ..user() };
        let confined = || Caller { no_new_privs: true, ..user() };
        let locked = || Findings { user_namespaces: gap("namespaces are off"), ..findings(user()) };
        let no_overlay = |caller| Findings { overlay: gap("overlay is off"), ..findings(caller) };
        let no_mounts = |caller| Findings { mounts: gap("mounts are off"), ..findings(caller) };
        let root = || Findings { rights: Ok(()), ..locked() };
        let made_for_it = || Findings { own_root: Ok(Spared::default()), ..root() };
        let own_root = Isolation::Allowed { rung: Some(Rung::Chroot), root: Some(RootKind::Own) };
        let caged = || Findings { chroot: gap("chroot is off"), ..no_mounts(user()) };
        let (auto, none) = (Isolation::AUTO, Isolation::None);
        let [range, single, in_userns, chroot] = Rung::ALL.map(Isolation::rung);
        let [overlay, folder] = [RootKind::Overlay, RootKind::Folder]
            .map(|root| Isolation::Allowed { rung: None, root: Some(root) });
        let no_range = "/etc/subuid has no range for user dev (1000)";
        let not_possible = "isolation \"userns-range\" is not possible here: ";
        let no_overlay_here = "isolation \"auto/overlay\" is not possible here: ";
        vec![
            (auto, findings(user()), "userns-range/overlay", "", ""),
            (auto, findings(plain()), "userns-single/overlay", no_range, "usermod"),
            (auto, findings(no_tools()), "userns-single/overlay", "not installed", "uidmap"),
            (auto, findings(confined()), "userns-single/overlay", "no_new_privs", "allowPriv"),
            (range, findings(user()), "userns-range/overlay", "", ""),
            (range, findings(plain()), not_possible, no_range, "usermod"),
            (range, findings(confined()), not_possible, "no_new_privs", "allowPriv"),
            (single, findings(user()), "userns-single/overlay", "", ""),
            (none, findings(user()), "isolation \"none\" does not allow", "", "--isolation none"),
            (
                auto,
                locked(),
                "RUN steps need user namespaces, or root",
                "namespaces are off; xbuild is",
                "add",
            ),
            (auto, root(), "chroot/folder", "namespaces are off", "add namespaces"),
            (chroot, root(), "chroot/folder", "not one for steps", "XBUILD_OWN_ROOT"),
            (auto, made_for_it(), "chroot=/", "namespaces are off", "add namespaces"),
            (own_root, made_for_it(), "chroot=/", "", ""),
            (
                own_root,
                root(),
                "isolation \"chroot=/\" is not possible here: ",
                "not one for steps",
                "XBUILD_OWN_ROOT",
            ),
            (
                chroot,
                locked(),
                "isolation \"chroot\" is not possible here: ",
                "xbuild is not root",
                "add xbuild",
            ),
            (folder, root(), "chroot/folder", "namespaces are off", "add"),
            (auto, no_mounts(user()), "userns-chroot/folder", "mounts are off", "add mounts"),
            (auto, no_mounts(plain()), "userns-chroot/folder", "mounts are off", "add mounts"),
            (in_userns, findings(user()), "userns-chroot/folder", "", ""),
            (
                in_userns,
                caged(),
                "isolation \"userns-chroot\" is not possible",
                "chroot is off",
                "add",
            ),
            (
                overlay,
                no_mounts(user()),
                "isolation \"auto/overlay\" is not possible",
                "mounts are off",
                "add",
            ),
            (range, locked(), "RUN steps need user namespaces: namespaces are off", "", "add"),
            (auto, no_overlay(user()), "userns-range/folder", "overlay is off", "add overlay"),
            (auto, no_overlay(plain()), "userns-single/folder", no_range, "usermod"),
            (folder, findings(user()), "userns-range/folder", "", ""),
            (overlay, no_overlay(user()), no_overlay_here, "overlay is off", "add overlay"),
        ]
    }

    #[test]
    fn a_full_disk_is_no_lack_of_rights() {
        let fault = |number| SandboxError::Store {
            folder: "/store".into(),
            source: std::io::Error::from_raw_os_error(number).into(),
        };
        let full = Findings {
            place: gap("cannot make a folder"),
            overlay: gap("cannot make a folder"),
            folder: gap("cannot make a folder"),
            fault: Some(fault(libc::ENOSPC)),
            ..findings(Caller::for_tests())
        };
        let failure = StepFailure::from(choose(Isolation::AUTO, &full).unwrap_err());
        assert_eq!(failure.kind(), FailureKind::Internal);
        assert!(failure.hint().is_some_and(|hint| hint.contains("xbuild prune")), "{failure:?}");
        // A step runs if a way is possible all the same.
        let other = Findings { place: Ok(()), folder: Ok(()), ..full };
        assert!(choose(Isolation::AUTO, &other).is_ok());
    }

    fn text_of(choice: &Choice) -> String {
        choice.rung.to_string()
    }

    #[test]
    fn the_highest_rung_is_chosen_and_the_others_are_explained() {
        for (isolation, findings, result, why, fix) in table() {
            let (text, why_not, remedy) = match choose(isolation, &findings) {
                Ok(choice) => {
                    let refusal = choice.refused.first();
                    let gap = refusal.map(|refusal| refusal.gap.clone());
                    let (why, how) = gap.map_or_else(Default::default, |g| (g.why, g.how_to_get));
                    let names = [("range", Ids::Range), ("single", Ids::Single)];
                    let ids = names.iter().find(|(name, _)| text_of(&choice).contains(name));
                    assert!(ids.is_none_or(|(_, ids)| choice.map.ids() == *ids));
                    (choice.to_string(), why, how)
                }
                Err(error) => (error.to_string(), error.to_string(), error.hint().unwrap()),
            };
            let case = format!("{isolation:?} {findings:?}: {text}; {why_not}; {remedy}");
            assert!(text.contains(result) && why_not.contains(why), "{case}");
            assert!(remedy.contains(fix) && (!fix.is_empty() || remedy.is_empty()), "{case}");
        }
    }
}
