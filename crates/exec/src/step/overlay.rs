//! overlayfs: one folder out of several, the mount that everything of images is seen through.

use std::ffi::CStr;
use std::fmt::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags};

use super::mounts;
use crate::error::RunError;

/// Where changes go.
#[derive(Debug)]
pub(super) struct Changes {
    /// The folder that takes them.
    pub upper: OwnedFd,
    /// overlayfs's own, beside it.
    pub work: OwnedFd,
}

/// Mounts folders, the newest first, at `point`; read-only without a place for changes. It takes
/// at least one folder, and two if it is read-only. `what` names the mount in errors.
pub(super) fn mount(
    lowers: &[OwnedFd],
    changes: Option<&Changes>,
    point: &OwnedFd,
    what: &str,
) -> Result<(), RunError> {
    if mount_by_descriptor(lowers, changes, point, what)? {
        return Ok(());
    }
    mount_by_text(lowers, changes, point).map_err(RunError::mount(what))
}

/// Mounts overlayfs with one call for each layer, so that there is no limit on their number.
/// Returns whether the kernel can do that: since 6.8.
fn mount_by_descriptor(
    lowers: &[OwnedFd],
    changes: Option<&Changes>,
    point: &OwnedFd,
    what: &str,
) -> Result<bool, RunError> {
    let context = rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(RunError::mount(what))?;
    let context = context.as_fd();
    let failed = |errno: Errno| RunError::Mount {
        what: what.to_owned(),
        detail: mounts::kernel_log(context),
        source: errno.into(),
    };
    let set = |key: &CStr, fd: &OwnedFd| {
        // By descriptor, so that the names of the store's folders are neither parsed nor shown to
        // the command in its list of mounts.
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        rustix::mount::fsconfig_set_string(context, key, path)
    };
    for (index, lower) in lowers.iter().enumerate() {
        match set(c"lowerdir+", lower) {
            Err(Errno::INVAL) if index == 0 => return Ok(false),
            result => result.map_err(failed)?,
        }
    }
    rustix::mount::fsconfig_set_flag(context, c"userxattr").map_err(failed)?;
    if let Some(Changes { upper, work }) = changes {
        set(c"upperdir", upper).map_err(failed)?;
        set(c"workdir", work).map_err(failed)?;
        // What the command syncs need not survive a crash: the layer is synced when it is stored.
        // Older kernels do without.
        let _ = rustix::mount::fsconfig_set_flag(context, c"volatile");
    }
    rustix::mount::fsconfig_create(context).map_err(failed)?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    let mount = rustix::mount::fsmount(context, flags, MountAttrFlags::empty()).map_err(failed)?;
    mounts::attach(&mount, point).map_err(RunError::mount(what))?;
    Ok(true)
}

/// Mounts overlayfs the old way. The text may not be longer than a page: paths are numbers of
/// descriptors, relative to the folder that lists them, which makes for a thousand layers.
fn mount_by_text(
    lowers: &[OwnedFd],
    changes: Option<&Changes>,
    point: &OwnedFd,
) -> Result<(), Errno> {
    rustix::process::chdir("/proc/self/fd")?;
    let mut options = String::from("userxattr,lowerdir=");
    for (index, lower) in lowers.iter().enumerate() {
        let colon = if index == 0 { "" } else { ":" };
        // Writing to a text cannot fail.
        let _ = write!(options, "{colon}{}", lower.as_raw_fd());
    }
    let target = point.as_raw_fd().to_string();
    let mount = |options: &str| {
        let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
        rustix::mount::mount("overlay", &*target, "overlay", MountFlags::empty(), &*options)
    };
    let Some(Changes { upper, work }) = changes else { return mount(&options) };
    let _ = write!(options, ",upperdir={},workdir={}", upper.as_raw_fd(), work.as_raw_fd());
    mount(&format!("{options},volatile")).or_else(|errno| match errno {
        Errno::INVAL => mount(&options),
        errno => Err(errno),
    })
}
