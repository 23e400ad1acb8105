//! The namespaces of a step, inside the build's user namespace.

use std::os::fd::OwnedFd;

use nix::sched::{CloneFlags, setns, unshare};
use rustix::io::Errno;

use crate::error::RunError;
use crate::sys;

/// Makes the namespaces of a step, apart from the mount and network namespaces, which pid 1 makes
/// for itself: in the calling process the paths of the folders stay valid.
pub(crate) fn enter() -> Result<(), RunError> {
    let flags = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    unshare(flags).map_err(RunError::unshare("pid, ipc or uts"))?;
    match unshare(CloneFlags::CLONE_NEWCGROUP) {
        // The kernel has no cgroups at all.
        Err(nix::errno::Errno::EINVAL) => Ok(()),
        result => result.map_err(RunError::unshare("cgroup")),
    }
}

/// Makes the mount namespace.
pub(crate) fn enter_mounts() -> Result<(), RunError> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(RunError::unshare("mount"))
}

/// Makes a network namespace with a loopback interface only.
pub(in crate::step) fn enter_network() -> Result<(), RunError> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(RunError::unshare("network"))?;
    sys::loopback_up().map_err(RunError::setup("switch the loopback interface on"))
}

/// Moves into a network namespace.
pub(super) fn join_network(network: OwnedFd) -> Result<(), RunError> {
    setns(network, CloneFlags::CLONE_NEWNET)
        .map_err(RunError::setup("enter the network of the step"))
}

/// Gives the step its host name.
pub(in crate::step) fn set_host_name(name: &str) -> Result<(), RunError> {
    rustix::system::sethostname(name.as_bytes()).map_err(|errno| match errno {
        Errno::INVAL => RunError::Invalid { what: "host name".to_owned(), value: name.to_owned() },
        errno => RunError::setup("set the host name")(errno),
    })?;
    // Some containers allow the one call but not the other. Nothing depends on this one.
    let _ = rustix::system::setdomainname(b"(none)");
    Ok(())
}
