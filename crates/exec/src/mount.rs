//! Mounts that are attached nowhere yet.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags};

use crate::sys;

/// Returns a second mount of the tree at `source`, mounted nowhere yet.
pub(crate) fn clone_of(source: impl AsFd, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(source, "", flags)
}

/// Adds attributes to a mount.
pub(crate) fn restrict(
    mount: impl AsFd,
    attributes: MountAttrFlags,
    recursive: bool,
) -> Result<(), std::io::Error> {
    sys::set_mount_attributes(mount, u64::from(attributes.bits()), recursive)
}
