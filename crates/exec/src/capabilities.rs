//! Capabilities: those of a step's root, and taking rights away from this process.

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use rustix::io::Errno;

use crate::error::RunError;

/// The rights of root in a container: the list that Docker has, so that commands find the rights
/// that they are used to. All of them count for the ids of the build's user namespace only; raw
/// sockets of the host cannot be opened there, whatever the list says, and device nodes are the
/// supervisor's.
const ROOT: [Capability; 14] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FSETID,
    Capability::CAP_FOWNER,
    Capability::CAP_MKNOD,
    Capability::CAP_NET_RAW,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
    Capability::CAP_SETFCAP,
    Capability::CAP_SETPCAP,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SYS_CHROOT,
    Capability::CAP_KILL,
    Capability::CAP_AUDIT_WRITE,
];

/// Returns the capabilities of a step's root.
pub(crate) fn of_root() -> CapsHashSet {
    ROOT.into_iter().collect()
}

/// Returns the known capabilities in a set of bits, as `/proc/PID/status` writes it.
pub(crate) fn from_bits(bits: u64) -> CapsHashSet {
    caps::all().into_iter().filter(|capability| bits & capability.bitmask() != 0).collect()
}

/// Returns whether this process has all of these.
pub(crate) fn has_all(needed: &[Capability]) -> bool {
    caps::read(None, CapSet::Effective)
        .is_ok_and(|effective| needed.iter().all(|capability| effective.contains(capability)))
}

/// Takes all capabilities but these away from every program that the process will execute.
pub(crate) fn limit_to(kept: &CapsHashSet) -> Result<(), RunError> {
    for number in 0..64_u32 {
        if kept.iter().any(|capability| u32::from(capability.index()) == number) {
            continue;
        }
        // By number, since the kernel may know more of them than the crate does.
        let capability = rustix::thread::CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Err(Errno::INVAL) => break,
            result => result.map_err(RunError::setup("drop capabilities"))?,
        }
    }
    Ok(())
}

/// Leaves the process with these capabilities at most, none of them inheritable.
pub(crate) fn drop_to(kept: &CapsHashSet) -> Result<(), RunError> {
    let drop = || -> Result<(), CapsError> {
        caps::set(None, CapSet::Effective, kept)?;
        caps::set(None, CapSet::Permitted, kept)?;
        caps::clear(None, CapSet::Inheritable)
    };
    drop().map_err(|error| RunError::Capabilities { reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_dockers_list() {
        let bits = of_root().iter().fold(0, |bits, capability| bits | capability.bitmask());
        assert_eq!(bits, 0xa804_25fb);
        assert_eq!(from_bits(0xa804_25fb), of_root());
        assert_eq!(from_bits(0xa804_25fb | 1 << 63), of_root());
        assert!(from_bits(0).is_empty());
    }
}
