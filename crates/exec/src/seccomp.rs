//! The system call filter of a RUN step.
//!
//! [`program`] works everything out ahead of time, so that [`install`] is one system call, made in
//! a forked process just before its capabilities are cut. That call needs `CAP_SYS_ADMIN` in the
//! process's user namespace. Without it `no_new_privs` would be needed, which breaks `sudo`.
//!
//! `policy` has the rules, and `bpf` turns them into a program: one branch on the architecture that
//! the call was made for, then a binary search over ranges of call numbers. The 32-bit sibling of
//! the host's architecture has a tree of its own with the same rules. Calls of x32 carry a bit that
//! puts them beyond the newest known number, so they are unknown. The filter sees the calls of an
//! emulator, not those of the program that it runs.
//!
//! A supervisor, a process that is not under the filter, answers some calls: `notice` reads them.
//!
//! Source: `seccomp(2)`, `seccomp_unotify(2)`; the default profile of Docker and containerd.

mod bpf;
pub(crate) mod notice;
mod policy;

use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use xbuild_model::Platform;

pub(crate) use self::policy::Traced;

use crate::arch::Arch;
use crate::error::SeccompError;
use crate::sys;

/// A program ready to be installed.
#[derive(Clone)]
pub struct Filter {
    instructions: Arc<[libc::sock_filter]>,
    /// Whether some calls are for a supervisor.
    is_supervised: bool,
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filter").field("instructions", &self.instructions.len()).finish()
    }
}

/// Returns the filter for a step whose programs are of `platform`.
///
/// The platform matters for one call: `socketcall`, through which 32-bit x86 programs open their
/// sockets, hides the address family behind a pointer where no filter can see it. Only steps of
/// `linux/386` get it; elsewhere it would be a way around the rules for `socket`. All other
/// platforms have the same filter, which is worked out once.
///
/// **Errors** — [`SeccompError::UnsupportedHost`] where the host's call numbers are not known.
pub fn program(platform: &Platform) -> Result<Filter, SeccompError> {
    static USUAL: OnceLock<Filter> = OnceLock::new();
    let guest = Arch::of(platform);
    if guest == Some(Arch::I386) {
        return assemble(guest);
    }
    if let Some(filter) = USUAL.get() {
        return Ok(filter.clone());
    }
    let filter = assemble(guest)?;
    Ok(USUAL.get_or_init(|| filter).clone())
}

/// The calls that stop beyond those of every step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stops {
    /// The calls that execute programs stop for the process's tracer. Without a tracer they fail.
    pub(crate) traced: bool,
    /// The calls that name a file stop for a supervisor that stands in for some files.
    pub(crate) watched: bool,
    /// The calls that execute programs stop for that supervisor, which finds those that are named by a
    /// process.
    pub(crate) names_programs: bool,
    /// The calls about owners of files stop for a supervisor that records them.
    pub(crate) owners: Recorded,
    /// The call that tells the machine's architecture stops for a supervisor that knows the step's.
    pub(crate) machine: bool,
    /// The calls that change owners, modes and times stop, for the mount points of `/proc` and `/sys`.
    pub(crate) mount_points: bool,
}

/// The owners of files that a supervisor records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// None.
    #[default]
    Nothing,
    /// Those that lie beyond a range of ids.
    Beyond,
    /// All but root.
    All,
}

impl Stops {
    fn apply(self, tables: &mut [policy::Table; 2]) {
        if self.watched {
            policy::watch(tables);
        }
        if self.names_programs {
            policy::name_programs(tables);
        }
        match self.owners {
            Recorded::Nothing | Recorded::Beyond if self.mount_points => {
                policy::own_mount_points(tables, self.owners == Recorded::Beyond);
            }
            Recorded::Nothing => {}
            Recorded::Beyond => policy::own_beyond(tables),
            Recorded::All => policy::own(tables),
        }
        if self.machine {
            policy::tell_machine(tables);
        }
        if self.traced {
            policy::trace(tables);
        }
    }
}

/// Returns the filter of [`program`] with further stops.
///
/// **Errors** — as [`program`].
pub(crate) fn stopping(platform: &Platform, stops: Stops) -> Result<Filter, SeccompError> {
    if stops == Stops::default() {
        return program(platform);
    }
    let mut tables = tables(Arch::of(platform))?;
    stops.apply(&mut tables);
    Ok(Filter { instructions: bpf::assemble(&tables).into(), is_supervised: true })
}

/// Returns a filter that refuses nothing; the calls stop that execute programs or are about owners.
///
/// **Errors** — as [`program`].
pub(crate) fn only_stopping(stops: Stops) -> Result<Filter, SeccompError> {
    let mut tables = tables(None)?;
    policy::allow_all(&mut tables);
    stops.apply(&mut tables);
    Ok(Filter {
        instructions: bpf::asking_only(&tables).into(),
        is_supervised: stops.owners != Recorded::Nothing || stops.machine,
    })
}

fn assemble(guest: Option<Arch>) -> Result<Filter, SeccompError> {
    Ok(Filter { instructions: bpf::assemble(&tables(guest)?).into(), is_supervised: true })
}

fn tables(guest: Option<Arch>) -> Result<[policy::Table; 2], SeccompError> {
    let host = Arch::host().ok_or_else(|| SeccompError::UnsupportedHost {
        architecture: std::env::consts::ARCH.to_owned(),
    })?;
    policy::tables(host, guest)
        .ok_or_else(|| SeccompError::UnsupportedHost { architecture: host.oci_name().to_owned() })
}

/// Puts the calling thread, and everything that it starts, under the filter for good. Returns the
/// supervisor's listener for calls. It is `None` if there can be no supervisor, because a container
/// around this process supervises it already; then the kernel gets these calls, too.
///
/// **Errors** — [`SeccompError::Install`], with the kernel's reason.
pub fn install(filter: &Filter) -> Result<Option<OwnedFd>, SeccompError> {
    if !filter.is_supervised {
        return sys::set_seccomp_filter(&filter.instructions)
            .map(|()| None)
            .map_err(|source| SeccompError::Install { source });
    }
    match sys::set_supervised_filter(&filter.instructions) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EINVAL)) => {
            sys::set_seccomp_filter(&bpf::unsupervised(&filter.instructions))
                .map(|()| None)
                .map_err(|source| SeccompError::Install { source })
        }
        Err(source) => Err(SeccompError::Install { source }),
    }
}

#[cfg(test)]
mod tests;
