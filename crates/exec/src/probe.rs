//! The abilities of this machine, found out by trying.
//!
//! Trials leave nothing behind: they run in a child process that moves into namespaces of its own,
//! see `trial`. The answers are for `xbuild platforms` and for the check before the first step: a
//! platform whose programs cannot run is an error there, not an "exec format error" after half of
//! the build.

mod alone;
mod candidate;
mod cpu;
mod executor;
mod programs;
mod proof;
pub(crate) mod report;
mod trial;
mod verdict;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::Path;

use xbuild_model::{FailureKind, Platform, machine_fault};
use xbuild_wording::{Hint, hints};

pub use self::candidate::candidates;
pub use self::executor::{Emulation, Executor};
pub use self::proof::{Proof, prove};
pub use crate::gap::Gap;

use self::executor::Ways;
use self::programs::Subject;
use self::report::Seen;
use self::trial::Place;
use crate::arch::Arch;
use crate::binfmt;
use crate::capabilities;
use crate::emulator::{Emulator, Installed};
use crate::error::SandboxError;
use crate::host::launch::Started;
use crate::idmap::{Caller, IdMap};
use crate::ladder::{self, Choice, Findings, Isolation, Rung};
use crate::own_root::{self, OwnRoot};
use crate::surroundings::{Place as Around, Surroundings};
use crate::way::Way;
use crate::{diagnose, remedies};

/// The things to try out.
#[derive(Debug, Clone)]
pub struct Trials<'a> {
    /// The architectures whose programs are tried out.
    pub architectures: &'a [Arch],
    /// The emulators that the user installed.
    pub installed: &'a [Installed],
    /// The folders of other emulators, in the format of `PATH`. Those that the host has registered
    /// are the last candidates.
    pub search_path: &'a OsStr,
    /// An existing folder on the file system of the store; or why there is none. The trial makes a
    /// folder there, and removes it.
    pub folder: Result<&'a Path, Gap>,
    /// Where xbuild runs, for advice.
    pub place: Around,
    /// The root of this container, for steps; `None` without a store.
    pub own_root: Option<OwnRoot>,
    /// The rungs that the user allows. The ids are those of the highest one.
    pub isolation: Isolation,
}

/// Tries out a range of ids if the caller can have one, else a single id. `run` tries out an id map.
fn try_out(caller: &Caller, isolation: Isolation, mut run: impl FnMut(&IdMap) -> Seen) -> Seen {
    let range = if isolation.allows(Rung::UsernsRange) { IdMap::range(caller).ok() } else { None };
    let Some(range) = range else { return run(&IdMap::single(caller)) };
    let seen = run(&range);
    match seen.id_map {
        Some(Err(error)) => Seen { range: Some(Err(error)), ..run(&IdMap::single(caller)) },
        _ => seen,
    }
}

/// Returns the facts for the choice of a rung; `no_folder` is why nothing was tried out on the file
/// system of the store.
fn findings(caller: Caller, seen: &Seen, no_folder: Option<Gap>, around: Around) -> Findings {
    let advice = if seen.is_refused() && !diagnose::is_switched_off() {
        remedies::of(&Surroundings::current(around))
    } else {
        None
    };
    let advised = |result: Result<(), Gap>| {
        result.map_err(|gap| match &advice {
            Some(advice) => Gap { how_to_get: advice.clone(), ..gap },
            None => gap,
        })
    };
    let on_folder = |result: Result<(), Gap>| match &no_folder {
        Some(gap) => Err(gap.clone()),
        None => result,
    };
    Findings {
        rights: capabilities::for_chroot(caller.uid),
        chroot: verdict::chroot(seen),
        caller,
        user_namespaces: advised(verdict::user_namespaces(seen)),
        id_range: verdict::id_range(seen),
        mounts: advised(verdict::mounts(seen)),
        filter: verdict::filter(seen),
        own_proc: verdict::own_proc(seen),
        overlay: on_folder(verdict::overlay(seen)),
        folder: on_folder(verdict::folder(seen)),
        own_root: Err(Gap { why: "it was not looked at".to_owned(), how_to_get: Hint::default() }),
        alone: Vec::new(),
        place: on_folder(Ok(())),
        fault: None,
    }
}

/// The abilities of this machine.
#[derive(Debug, Clone)]
pub struct Capabilities {
    /// The facts that the choice of a rung depends on.
    pub findings: Findings,
    /// A `binfmt_misc` for the build only.
    pub private_binfmt: Result<(), Gap>,
    /// The interception of `execve`.
    pub interception: Result<(), Gap>,
    /// The way in which foreign programs get their emulator.
    emulation: Emulation,
    host: Option<Arch>,
    amd64_level: u32,
    ways: BTreeMap<Arch, Ways>,
}

impl Capabilities {
    /// Tries out the place of a step, and programs of each architecture.
    ///
    /// This takes some milliseconds, and for each emulator the time to copy and to start it.
    pub fn probe(ground: &Trials<'_>) -> Self {
        Self::probe_with(ground, trial::run)
    }

    /// Does the same for a build that is about to run commands. If these are native, the trial is the
    /// start of the build's helper, which saves a second one; it is returned if it is there.
    pub fn probe_and_start(ground: &Trials<'_>) -> (Self, Option<Started>) {
        let mut started = None;
        let found = Self::probe_with(ground, |subjects, map, place| {
            if !subjects.is_empty() {
                return trial::run(subjects, map, place);
            }
            let mut seen = Seen::nothing(Way::Mounts, 0);
            started = Started::try_out(map, place.map(Place::folders), &mut seen);
            seen
        });
        (found, started)
    }

    fn probe_with(
        ground: &Trials<'_>,
        mut run: impl FnMut(&[Subject], &IdMap, Option<&Place>) -> Seen,
    ) -> Self {
        let Trials { architectures, search_path, installed, folder, .. } = ground;
        let Trials { own_root, place: around, isolation, .. } = ground;
        let host = Arch::host();
        // Without readable entries the host's emulators are tried out all the same.
        let entries = binfmt::host_entries(Path::new(binfmt::HOST_INSTANCE)).unwrap_or_default();
        let subjects: Vec<Subject> = architectures
            .iter()
            .filter(|arch| Some(**arch) != host)
            .map(|arch| {
                Subject::new(*arch, candidate::find(*arch, installed, search_path, &entries))
            })
            .collect();
        let caller = Caller::current(search_path);
        let mut fault = None;
        let place = folder.clone().and_then(|folder| place_in(folder, &mut fault));
        let mut seen = try_out(&caller, *isolation, |map| run(&subjects, map, place.as_ref().ok()));
        if let (Err(error), Ok(folder)) = (&seen.child, folder) {
            fault = fault.or_else(|| fault_of(folder, error));
        }
        let no_folder = place.as_ref().err().cloned();
        let mut findings = findings(caller, &seen, no_folder, *around);
        findings.own_root = own_root::look(own_root.as_ref());
        findings.fault = fault;
        // Rungs without mounts are tried out only if it comes to that.
        while let Ok(place) = &place
            && let Ok(Choice { rung, map, .. }) = ladder::choose(*isolation, &findings)
            && !rung.way().has_mounts()
            && !findings.alone.iter().any(|(tried, _)| *tried == rung)
        {
            seen = trial::run_alone(&subjects, rung.way(), &map, place);
            if let (Err(error), Ok(folder)) = (&seen.child, folder) {
                findings.fault = fault_of(folder, error);
            }
            findings.alone.push((rung, verdict::alone(&seen)));
        }
        let ways = subjects
            .iter()
            .zip(&seen.outcomes)
            .map(|(subject, outcome)| {
                (subject.arch, verdict::ways(host, subject, outcome, &seen, &entries))
            })
            .collect();
        Self {
            findings,
            private_binfmt: verdict::private_binfmt(&seen),
            interception: verdict::interception(&seen),
            emulation: Emulation::Auto,
            host,
            amd64_level: cpu::amd64_level(),
            ways,
        }
    }

    /// Returns the same abilities, with one way to emulate only.
    pub fn with_emulation(self, emulation: Emulation) -> Self {
        Self { emulation, ..self }
    }

    /// Returns the rung and the root file system that RUN steps get here.
    ///
    /// **Errors** — those of [`ladder::choose`].
    pub fn rung(&self, isolation: Isolation) -> Result<Choice, SandboxError> {
        ladder::choose(isolation, &self.findings)
    }

    /// Returns how programs of a platform are run here.
    ///
    /// Variants: an amd64 level above 1 is native if the CPU has it, and emulators are trusted
    /// with level 2 only. A 32-bit Arm emulator or CPU runs every variant; variants of arm64 are
    /// not told apart.
    pub fn executor_for(&self, platform: &Platform) -> Executor {
        let missing = |why: String, how_to_get: Hint| Executor::Missing(Gap { why, how_to_get });
        let Some(arch) = Arch::of(platform) else {
            return missing(
                "xbuild has no emulator for them".to_owned(),
                hints::build_without_run(),
            );
        };
        let executor = if Some(arch) == self.host {
            Executor::Native
        } else {
            match self.ways.get(&arch) {
                Some(ways) => ways.best(self.emulation),
                None => return missing(format!("{platform} was not probed"), Hint::default()),
            }
        };
        let level = Some(arch)
            .filter(|arch| *arch == Arch::Amd64)
            .and(platform.variant())
            .and_then(|variant| variant.strip_prefix('v')?.parse().ok())
            .unwrap_or(1);
        match executor {
            Executor::Native if level > self.amd64_level => missing(
                format!("this CPU has level v{} of amd64, not v{level}", self.amd64_level),
                hints::newer_machine(),
            ),
            Executor::Native | Executor::Missing(_) => executor,
            _ if level > 2 => missing(
                format!("emulators are not known to have level v{level} of amd64"),
                hints::lower_level(),
            ),
            _ => executor,
        }
    }

    /// Returns the emulators that RUN steps of all these platforms need, in the order of the
    /// platforms; empty if none is needed.
    ///
    /// In a namespace that has its own entries, the host's do not count. So if one platform depends
    /// on them, the others get their emulators by interception, or by the host as well.
    ///
    /// **Errors** — the first platform that cannot be run, with the reason.
    pub fn emulators_for<'a>(
        &self,
        platforms: impl IntoIterator<Item = &'a Platform>,
    ) -> Result<Emulators, (Platform, Gap)> {
        let mut private: Vec<(&Platform, Emulator)> = Vec::new();
        let mut found = Emulators::default();
        let mut by_host = None;
        for platform in platforms {
            match self.executor_for(platform) {
                Executor::Missing(gap) => return Err((platform.clone(), gap)),
                Executor::HostBinfmt { .. } => by_host = Some(platform),
                Executor::PrivateBinfmt { emulator } => {
                    if private.iter().all(|(_, known)| known.arch != emulator.arch) {
                        private.push((platform, emulator));
                    }
                }
                Executor::Intercepted { emulator } => found.intercept(emulator),
                Executor::Native | Executor::Compat32 => {}
            }
        }
        let Some(by_host) = by_host.filter(|_| !private.is_empty()) else {
            found.registered = private.into_iter().map(|(_, emulator)| emulator).collect();
            return Ok(found);
        };
        for (platform, emulator) in private {
            match self.ways.get(&emulator.arch) {
                Some(Ways { intercepted: Ok(emulator), .. }) => found.intercept(emulator.clone()),
                Some(Ways { by_host: Ok(_), .. }) => {}
                _ => return Err((by_host.clone(), conflict(by_host, platform))),
            }
        }
        Ok(found)
    }
}

/// The emulators that a build needs, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Emulators {
    /// Those to register in the build's own binfmt_misc.
    pub registered: Vec<Emulator>,
    /// Those to put in front of programs by interception of `execve`.
    pub intercepted: Vec<Emulator>,
}

impl Emulators {
    fn intercept(&mut self, emulator: Emulator) {
        if !self.intercepted.contains(&emulator) {
            self.intercepted.push(emulator);
        }
    }
}

/// Makes the folders of a trial. `fault` gets the error if the disk kept them from being made.
fn place_in(folder: &Path, fault: &mut Option<SandboxError>) -> Result<Place, Gap> {
    Place::new(folder).map_err(|error| {
        *fault = fault_of(folder, &error);
        Gap {
            why: format!("cannot make a folder in {}: {error}", folder.display()),
            how_to_get: machine_fault(&error)
                .map_or_else(hints::writable_store, |fault| fault.hint),
        }
    })
}

/// Returns the error of a trial in the folder if the disk kept it from being made.
fn fault_of(folder: &Path, error: &io::Error) -> Option<SandboxError> {
    let fault = machine_fault(error).filter(|fault| fault.kind == FailureKind::Internal);
    fault.map(|_| SandboxError::Store { folder: folder.to_owned(), source: error.into() })
}

fn conflict(by_host: &Platform, other: &Platform) -> Gap {
    Gap {
        why: format!(
            "{by_host} depends on an emulator that only the host's registration can reach, which \
             does not count once {other} gets one of its own"
        ),
        how_to_get: hints::install_or_one_by_one(by_host),
    }
}

#[cfg(test)]
mod tests;
