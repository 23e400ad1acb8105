//! What this machine can do for a build, found out by trying.
//!
//! Nothing is left behind: everything is tried in a child process that moves into namespaces of
//! its own, see `trial`. The answers are for `xbuild platforms` and `xbuild doctor`, and for the
//! check before the first step: a platform whose programs cannot run is an error there, not an
//! "exec format error" after half of the build.

mod cpu;
mod trial;
mod verdict;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use xbuild_model::Platform;

use crate::arch::Arch;
use crate::binfmt;
use crate::emulator::{self, Emulator};
use crate::idmap::Caller;

/// Why something cannot be done on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// What is missing or refused.
    pub why: String,
    /// What would help.
    pub how_to_get: String,
}

/// How programs of a platform are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Executor {
    /// By the CPU.
    Native,
    /// By the CPU, in its 32-bit mode.
    Compat32,
    /// By an emulator that is registered for the build only.
    PrivateBinfmt {
        /// The emulator.
        emulator: Emulator,
    },
    /// By an emulator that is registered on the host, for all.
    HostBinfmt {
        /// The name of the host's entry; unknown if the entries cannot be read from here.
        entry: Option<String>,
    },
    /// Not at all.
    Missing(Gap),
}

/// What this machine can do.
#[derive(Debug, Clone)]
pub struct Capabilities {
    /// User and mount namespaces: needed by every RUN.
    pub user_namespaces: Result<(), Gap>,
    /// Overlay mounts inside of them: needed by every RUN.
    pub overlay: Result<(), Gap>,
    /// A `binfmt_misc` for the build only.
    pub private_binfmt: Result<(), Gap>,
    /// A range of user and group ids: needed by steps whose files belong to several users.
    pub id_range: Result<(), Gap>,
    host: Option<Arch>,
    amd64_level: u32,
    ways: BTreeMap<Arch, Ways>,
}

/// The ways that were found for one architecture.
#[derive(Debug, Clone)]
struct Ways {
    best: Executor,
    /// Whether the host's own entries would do as well.
    host_entry: Option<Option<String>>,
}

impl Capabilities {
    /// Tries out namespaces, and programs of each of `architectures`.
    ///
    /// `search_path` is where programs are looked for, in the format of `PATH`; emulators that
    /// the host has registered are candidates too. Costs some milliseconds, and for each emulator
    /// the time to copy and to start it.
    pub fn probe(architectures: &[Arch], search_path: &OsStr) -> Self {
        let host = Arch::host();
        // Unreadable entries are as good as none: the host's emulators are tried out anyway.
        let entries = binfmt::host_entries(Path::new(binfmt::HOST_INSTANCE)).unwrap_or_default();
        let subjects: Vec<trial::Subject> = architectures
            .iter()
            .filter(|arch| Some(**arch) != host)
            .map(|arch| trial::Subject::new(*arch, find_emulator(*arch, search_path, &entries)))
            .collect();
        let findings = trial::run(&subjects);
        let ways = subjects
            .iter()
            .zip(&findings.outcomes)
            .map(|(subject, outcome)| {
                (subject.arch, verdict::ways(host, subject, outcome, &findings, &entries))
            })
            .collect();
        Self {
            user_namespaces: verdict::user_namespaces(&findings),
            overlay: verdict::overlay(&findings),
            private_binfmt: verdict::private_binfmt(&findings),
            id_range: verdict::id_range(&Caller::current(search_path)),
            host,
            amd64_level: cpu::amd64_level(),
            ways,
        }
    }

    /// Returns how programs of a platform are run here.
    ///
    /// Variants: an amd64 level above 1 is native if the CPU has it, and emulators are trusted
    /// with level 2 only. A 32-bit Arm emulator or CPU runs every variant; variants of arm64 are
    /// not told apart.
    pub fn executor_for(&self, platform: &Platform) -> Executor {
        let missing = |why: String, how_to_get: &str| {
            Executor::Missing(Gap { why, how_to_get: how_to_get.to_owned() })
        };
        let Some(arch) = Arch::of(platform) else {
            return missing(
                format!("xbuild has no way to run {platform} programs"),
                "build it without RUN, or run the command on another platform \
                 (FROM --platform=$BUILDPLATFORM) and COPY its result",
            );
        };
        let executor = if Some(arch) == self.host {
            Executor::Native
        } else {
            match self.ways.get(&arch) {
                Some(ways) => ways.best.clone(),
                None => return missing(format!("{platform} was not probed"), "probe it"),
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
                "build on a newer machine, or for a lower level",
            ),
            Executor::Native | Executor::Missing(_) => executor,
            _ if level > 2 => missing(
                format!("emulators are not known to have level v{level} of amd64"),
                "build on an amd64 machine, or for linux/amd64/v2 or lower",
            ),
            _ => executor,
        }
    }

    /// Returns the emulators to register so that RUN steps of all these platforms work, each once,
    /// in the order of the platforms; empty if everything runs as things are.
    ///
    /// **Errors** — the first platform that cannot be run, with the reason. The same if one
    /// platform depends on the host's entries and another on a private registration: in a
    /// namespace that has its own entries, the host's do not count.
    pub fn emulators_for<'a>(
        &self,
        platforms: impl IntoIterator<Item = &'a Platform>,
    ) -> Result<Vec<Emulator>, (Platform, Gap)> {
        let mut private: Vec<(&Platform, Emulator)> = Vec::new();
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
                Executor::Native | Executor::Compat32 => {}
            }
        }
        let Some(by_host) = by_host.filter(|_| !private.is_empty()) else {
            return Ok(private.into_iter().map(|(_, emulator)| emulator).collect());
        };
        let on_host = |emulator: &Emulator| {
            self.ways.get(&emulator.arch).is_some_and(|ways| ways.host_entry.is_some())
        };
        match private.iter().find(|(_, emulator)| !on_host(emulator)) {
            None => Ok(Vec::new()),
            Some((platform, _)) => Err((
                by_host.clone(),
                Gap {
                    why: format!(
                        "{by_host} depends on an emulator that only the host's registration can \
                         reach, which does not count once {platform} gets one of its own"
                    ),
                    how_to_get: format!(
                        "install a static emulator for {by_host} (package qemu-user-static), or \
                         build the platforms one by one"
                    ),
                },
            )),
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.why, self.how_to_get)
    }
}

impl fmt::Display for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Executor::Native => f.write_str("native"),
            Executor::Compat32 => f.write_str("native, 32-bit mode"),
            Executor::PrivateBinfmt { emulator } => write!(f, "{}", emulator.path.display()),
            Executor::HostBinfmt { entry: Some(entry) } => write!(f, "the host's {entry}"),
            Executor::HostBinfmt { entry: None } => f.write_str("the host's emulator"),
            Executor::Missing(gap) => write!(f, "missing: {}", gap.why),
        }
    }
}

/// An emulator, loaded and ready to be registered, or why there is none.
type Loaded = Result<(Emulator, std::os::fd::OwnedFd), Gap>;

fn find_emulator(arch: Arch, search_path: &OsStr, entries: &[binfmt::HostEntry]) -> Loaded {
    let program = crate::tiny_elf::program(arch);
    let registered: Vec<PathBuf> = entries
        .iter()
        .filter(|entry| entry.serves(&program))
        .map(|entry| entry.interpreter.clone())
        .collect();
    let found = emulator::find(arch, search_path, &registered);
    let loaded = found.and_then(|found| {
        found.map(|emulator| emulator.load().map(|file| (emulator, file))).transpose()
    });
    let how_to_get = || {
        format!(
            "install QEMU's static user emulators (package qemu-user-static, or \
             qemu-user-static-{} where each has its own)",
            arch.qemu_name()
        )
    };
    match loaded {
        Ok(Some(loaded)) => Ok(loaded),
        Ok(None) => Err(Gap {
            why: format!(
                "no emulator for {0} programs: neither qemu-{1}-static nor qemu-{1} is in PATH",
                arch.oci_name(),
                arch.qemu_name()
            ),
            how_to_get: how_to_get(),
        }),
        Err(error) => Err(Gap { why: error.to_string(), how_to_get: how_to_get() }),
    }
}

#[cfg(test)]
mod tests;
