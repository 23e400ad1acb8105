//! The system call filter of a RUN step.
//!
//! [`program`] works everything out ahead of time, so that [`install`] is one system call: it is made in a process that was forked, just before the capabilities are
//! cut. Installing needs `CAP_SYS_ADMIN` in the process's user namespace, and then no
//! `no_new_privs`, which would break `sudo` in a build.
//!
//! What is allowed is said by `policy`; `bpf` turns it into a program: one branch on the
//! architecture that the call was made for, then a binary search over ranges of call numbers. The
//! 32-bit sibling of the host's architecture has a tree of its own with the same rules; x32 calls
//! carry a bit that puts them beyond the newest known number, so that they do not exist. Programs
//! under an emulator are filtered by the calls of the emulator.
//!
//! Some calls are answered by a supervisor, a process outside of the filter's reach: `notice`
//! has what the two say to each other.
//!
//! Source: `seccomp(2)`, `seccomp_unotify(2)`; the container default profile as Docker and containerd ship it.

mod bpf;
pub(crate) mod notice;
mod policy;

use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use xbuild_model::Platform;

use crate::arch::Arch;
use crate::error::SeccompError;
use crate::sys;

/// A program ready to be installed.
#[derive(Clone)]
pub struct Filter {
    instructions: Arc<[libc::sock_filter]>,
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

fn assemble(guest: Option<Arch>) -> Result<Filter, SeccompError> {
    let host = Arch::host().ok_or_else(|| SeccompError::UnsupportedHost {
        architecture: std::env::consts::ARCH.to_owned(),
    })?;
    let tables = policy::tables(host, guest).ok_or_else(|| SeccompError::UnsupportedHost {
        architecture: host.oci_name().to_owned(),
    })?;
    Ok(Filter { instructions: bpf::assemble(&tables).into() })
}

/// Puts the calling thread, and all that it starts, under the filter for good. Returns where the
/// supervisor hears of calls; `None` if there cannot be one, and the kernel gets these calls too:
/// something that this process runs in may supervise it already.
///
/// **Errors** — [`SeccompError::Install`], with the kernel's reason.
pub fn install(filter: &Filter) -> Result<Option<OwnedFd>, SeccompError> {
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
