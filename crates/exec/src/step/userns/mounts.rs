//! Mounting in general: always by descriptor, never by a name whose meaning could change.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags};
use rustix::path::Arg;

use crate::error::RunError;

/// No device files, and no programs at all.
pub(crate) const INERT: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// Makes a file system that is mounted nowhere yet.
pub(crate) fn create(
    kind: &CStr,
    options: &[(&CStr, Option<&str>)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, RunError> {
    let what = kind.to_string_lossy();
    let context =
        rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(RunError::mount(&what))?;
    let context = context.as_fd();
    let failed = |errno: Errno| RunError::Mount {
        what: what.clone().into_owned(),
        detail: kernel_log(context),
        source: errno.into(),
    };
    for (key, value) in options {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(context, *key, *value),
            None => rustix::mount::fsconfig_set_flag(context, *key),
        }
        .map_err(failed)?;
    }
    rustix::mount::fsconfig_create(context).map_err(failed)?;
    rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(failed)
}

/// Returns the kernel's messages about a file system that it refused to make.
pub(crate) fn kernel_log(context: BorrowedFd<'_>) -> Option<String> {
    let mut lines = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = rustix::io::read(context, &mut buffer) {
        lines.push(String::from_utf8_lossy(&buffer[..read]).trim().to_owned());
    }
    (!lines.is_empty()).then(|| lines.join("; "))
}

/// Moves `mount` to `target`.
pub(crate) fn attach(mount: impl AsFd, target: impl AsFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", target, "", flags)
}

/// Opens a file as a place, without following a link.
pub(crate) fn open_path(folder: impl AsFd, name: impl Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

/// Makes a file in `folder`; it must not exist.
pub(crate) fn make_file(folder: &OwnedFd, name: &str, mode: u32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o600))?;
    // The umask must not matter.
    rustix::fs::chmodat(folder, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
    Ok(file)
}

/// Opens a folder by a path that nobody but xbuild can change.
pub(crate) fn open_trusted(path: &Path) -> Result<OwnedFd, RunError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(RunError::setup(&format!("open the folder {}", path.display())))
}

/// Makes a folder below one of ours.
pub(crate) fn make_folder(around: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::mkdirat(around, name, Mode::from_raw_mode(0o755))?;
    open_folder(around, name)
}

/// Opens a folder below one of ours, or the mount that covers it.
pub(crate) fn open_folder(around: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(around, name, flags, Mode::empty())
}
