//! Capabilities: those of a step's root, and taking rights away from this process.

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use rustix::io::Errno;

use xbuild_model::ids::HostUid;
use xbuild_wording::hints;

use crate::error::RunError;
use crate::gap::Gap;

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

/// The capabilities without which steps cannot run in the caller's own namespaces: for entering the
/// root file system, for files of other owners, for becoming another user, and for ending what a
/// command left running as one.
const FOR_CHROOT: [Capability; 8] = [
    Capability::CAP_SYS_CHROOT,
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_KILL,
];

/// Returns whether this process, of that user, can run steps without a user namespace.
pub(crate) fn for_chroot(uid: HostUid) -> Result<(), Gap> {
    let effective = caps::read(None, CapSet::Effective).unwrap_or_default();
    rights_for_chroot(uid, &effective)
}

fn rights_for_chroot(uid: HostUid, effective: &CapsHashSet) -> Result<(), Gap> {
    if uid != HostUid::ROOT {
        return Err(Gap {
            why: "xbuild is not root".to_owned(),
            how_to_get: hints::root_of_container(),
        });
    }
    let lacking = FOR_CHROOT.iter().filter(|capability| !effective.contains(capability));
    let names: Vec<String> = lacking.map(ToString::to_string).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(Gap {
        why: format!("root lacks {}", names.join(", ")),
        how_to_get: hints::capabilities(
            names.iter().map(|name| name.trim_start_matches("CAP_")).collect::<Vec<_>>().join(","),
        ),
    })
}

/// Takes all capabilities but these away from every program that the process will execute.
pub(crate) fn limit_to(kept: &CapsHashSet) -> Result<(), RunError> {
    for number in 0..64_u32 {
        if kept.iter().any(|capability| u32::from(capability.index()) == number) {
            continue;
        }
        // By number, since the kernel may know more of them than the crate does.
        let capability = rustix::thread::CapabilitySet::from_bits_retain(1 << number);
        if rustix::thread::capability_is_in_bounding_set(capability) == Ok(false) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Err(Errno::INVAL) => break,
            result => result.map_err(RunError::setup("drop capabilities"))?,
        }
    }
    Ok(())
}

/// Leaves the process with these capabilities at most, none of them inheritable. The rights of root
/// in a container can be fewer.
pub(crate) fn drop_to(kept: &CapsHashSet) -> Result<(), RunError> {
    let drop = || -> Result<(), CapsError> {
        let kept = &(kept & &caps::read(None, CapSet::Permitted)?);
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

    #[test]
    fn the_rights_of_a_container_are_enough_for_chroot() {
        assert_eq!(rights_for_chroot(HostUid::ROOT, &of_root()), Ok(()));
        assert!(
            rights_for_chroot(HostUid::new(1000), &of_root()).unwrap_err().why.contains("root")
        );
        let mut some = of_root();
        some.remove(&Capability::CAP_KILL);
        some.remove(&Capability::CAP_CHOWN);
        let gap = rights_for_chroot(HostUid::ROOT, &some).unwrap_err();
        assert_eq!(gap.why, "root lacks CAP_CHOWN, CAP_KILL");
        assert!(gap.how_to_get.contains("--cap-add CHOWN,KILL,"), "{gap}");
    }
}
