//! The ladder of RUN: the rung that steps stand on here, and the remedy for each higher one.
//!
//! A rung is a way in, with the ids that exist there. The kind of root file system is chosen apart
//! from it: `userns-range/overlay` names both. From the top:
//!
//! | rung | for whom | ids |
//! | --- | --- | --- |
//! | `userns-range` | users with subordinate ids, and root | a range |
//! | `userns-single` | everybody else | one; owners are recorded |
//!
//! This module decides and does nothing else: [`Findings`] come from `probe`, which tries things
//! out, and from `idmap`, which reads the rights of the caller.

use std::ffi::OsStr;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::SandboxError;
use crate::gap::Gap;
use crate::idmap::{Caller, IdMap, Ids};

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
    const ALL: [Self; 2] = [Self::UsernsRange, Self::UsernsSingle];

    /// Returns which ids exist on the rung.
    pub(crate) fn ids(self) -> Ids {
        match self {
            Self::UsernsRange => Ids::Range,
            Self::UsernsSingle => Ids::Single,
        }
    }

    /// Returns the id map that the caller gets on this rung.
    fn try_on(self, findings: &Findings) -> Result<IdMap, Refusal> {
        let refused = |need, gap| Refusal { rung: self, need, gap };
        let namespaces = findings.user_namespaces.clone();
        namespaces.map_err(|gap| refused(Need::UserNamespaces, gap))?;
        match self {
            Self::UsernsRange => {
                IdMap::range(&findings.caller).map_err(|gap| refused(Need::IdRange, gap))
            }
            Self::UsernsSingle => Ok(IdMap::single(&findings.caller)),
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

/// A kind of root file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootKind {
    /// An overlay mount of the layers' folders.
    Overlay,
}

impl RootKind {
    fn choose(findings: &Findings) -> Result<Self, SandboxError> {
        let overlay = findings.overlay.clone();
        overlay.map(|()| Self::Overlay).map_err(|gap| Need::Overlay.lacking(gap))
    }
}

impl fmt::Display for RootKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlay => f.write_str("overlay"),
        }
    }
}

/// The user's choice of a rung.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// The highest that this machine allows.
    #[default]
    Auto,
    /// [`Rung::UsernsRange`], or an error.
    UsernsRange,
    /// [`Rung::UsernsSingle`], or an error.
    UsernsSingle,
    /// No rung: commands cannot be run.
    None,
}

impl Isolation {
    fn allows(self, rung: Rung) -> bool {
        match self {
            Self::Auto => true,
            Self::UsernsRange => rung == Rung::UsernsRange,
            Self::UsernsSingle => rung == Rung::UsernsSingle,
            Self::None => false,
        }
    }
}

/// A condition of a rung or of a root file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// User and mount namespaces.
    UserNamespaces,
    /// Overlay mounts inside them.
    Overlay,
    /// More ids than the caller's own.
    IdRange,
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
            Self::Overlay => "overlay mounts in user namespaces",
            Self::IdRange => "a range of user and group ids",
        })
    }
}

/// The facts about this machine that the choice depends on.
#[derive(Debug, Clone)]
pub struct Findings {
    pub(crate) caller: Caller,
    pub(crate) user_namespaces: Result<(), Gap>,
    pub(crate) overlay: Result<(), Gap>,
}

impl Findings {
    /// Returns the facts that can be read without a trial. Whatever would have to be tried out
    /// counts as possible.
    pub(crate) fn untried(search_path: &OsStr) -> Self {
        Self { caller: Caller::current(search_path), user_namespaces: Ok(()), overlay: Ok(()) }
    }

    /// Returns the needs of every RUN, each with its gap if this machine has one.
    pub fn needs(&self) -> [(Need, &Result<(), Gap>); 2] {
        [(Need::UserNamespaces, &self.user_namespaces), (Need::Overlay, &self.overlay)]
    }
}

/// The rung and the root file system of a build's steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The rung.
    pub rung: Rung,
    /// The kind of root file system.
    pub root: RootKind,
    /// The rungs above that were tried in vain, the highest first.
    pub refused: Vec<Refusal>,
    pub(crate) map: IdMap,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.rung, self.root)
    }
}

/// Why a rung is out of reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The rung.
    pub rung: Rung,
    /// The condition that is not met.
    pub need: Need,
    /// The reason, and the remedy.
    pub gap: Gap,
}

/// Chooses the highest rung that the user and the machine allow.
///
/// **Errors** — [`SandboxError::Disabled`] if the user allows none, [`SandboxError::NoRange`] if a
/// range of ids was demanded in vain, [`SandboxError::Lacking`] if a need of every RUN is not met.
pub fn choose(isolation: Isolation, findings: &Findings) -> Result<Choice, SandboxError> {
    let mut refused = Vec::new();
    for rung in Rung::ALL.into_iter().filter(|rung| isolation.allows(*rung)) {
        match rung.try_on(findings) {
            Ok(map) => {
                let root = RootKind::choose(findings)?;
                return Ok(Choice { rung, root, refused, map });
            }
            Err(refusal) => refused.push(refusal),
        }
    }
    let Some(Refusal { need, gap, .. }) = refused.pop() else {
        return Err(SandboxError::Disabled);
    };
    Err(match need {
        Need::IdRange => SandboxError::NoRange { reason: gap.why, how_to_get: gap.how_to_get },
        need => need.lacking(gap),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(why: &str) -> Result<(), Gap> {
        Err(Gap { why: why.to_owned(), how_to_get: format!("mend {why}") })
    }

    fn findings(caller: Caller) -> Findings {
        Findings { caller, user_namespaces: Ok(()), overlay: Ok(()) }
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
        let (auto, range) = (Isolation::Auto, Isolation::UsernsRange);
        let (single, none) = (Isolation::UsernsSingle, Isolation::None);
        let no_range = "/etc/subuid has no range for user dev (1000)";
        let not_possible = "isolation \"userns-range\" is not possible here: ";
        let no_overlay_words = "RUN steps need overlay mounts in user namespaces: overlay is off";
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
            (auto, locked(), "RUN steps need user namespaces: namespaces are off", "", "mend"),
            (range, locked(), "RUN steps need user namespaces: namespaces are off", "", "mend"),
            (auto, no_overlay(user()), no_overlay_words, "", "mend overlay"),
            (auto, no_overlay(plain()), no_overlay_words, "", "mend overlay"),
        ]
    }

    #[test]
    fn the_highest_rung_is_chosen_and_the_others_are_explained() {
        for (isolation, findings, result, why, fix) in table() {
            let (text, why_not, remedy) = match choose(isolation, &findings) {
                Ok(choice) => {
                    let refusal = choice.refused.first();
                    let gap = refusal.map(|refusal| refusal.gap.clone());
                    let (why, how) = gap.map_or_else(Default::default, |g| (g.why, g.how_to_get));
                    assert_eq!(choice.rung.ids(), choice.map.ids());
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
