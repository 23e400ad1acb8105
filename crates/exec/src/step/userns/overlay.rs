//! overlayfs: one folder out of several. Files of images are seen through such mounts only.

use std::ffi::CStr;
use std::fmt::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags};

use super::mounts;
use crate::error::RunError;
use crate::mount::clone_of;

/// Puts all files of a mount on the same device, whichever layer they come from. Folders need no
/// such option, since they are all on one file system, but a joined mount is a file system of its
/// own. Inode numbers of its files then have a bit above the 32nd.
const XINO: (&CStr, &str) = (c"xino", "on");

/// The place for changes.
#[derive(Debug)]
pub(crate) struct Changes {
    /// The folder that takes them.
    pub upper: OwnedFd,
    /// overlayfs's own folder, beside it.
    pub work: OwnedFd,
}

/// The layers below.
#[derive(Debug)]
pub(crate) struct Lowers {
    /// Folders, the newest first.
    pub folders: Vec<OwnedFd>,
    /// An overlay mount of the layers below them, see `helper::join`.
    pub joined: Option<OwnedFd>,
}

impl Lowers {
    /// Returns all of them, the newest first.
    fn all(&self) -> impl Iterator<Item = &OwnedFd> {
        self.folders.iter().chain(&self.joined)
    }
}

/// Mounts folders at `point`; read-only without a place for changes. It takes at least one folder,
/// and two if it is read-only. `what` names the mount in errors.
pub(crate) fn mount(
    lowers: &Lowers,
    changes: Option<&Changes>,
    point: &OwnedFd,
    what: &str,
) -> Result<(), RunError> {
    if mount_by_descriptor(lowers, changes, point, what)? {
        return Ok(());
    }
    mount_by_text(lowers, changes, point).map_err(RunError::mount(what))
}

/// Returns a second mount of the layers that are joined at `point`, mounted nowhere yet: only a
/// mount in a step's own namespace can be a layer there.
pub(in crate::step) fn copy(point: &Path) -> Result<OwnedFd, RunError> {
    clone_of(mounts::open_trusted(point)?, false).map_err(RunError::mount("layers (overlay)"))
}

/// Mounts overlayfs with one call for each layer, which leaves their number to the kernel's limit.
/// Returns whether the kernel knows such calls, as it does since Linux 6.8.
fn mount_by_descriptor(
    lowers: &Lowers,
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
        // By descriptor, so that the names of the store's folders are neither parsed nor shown in
        // the command's list of mounts.
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        rustix::mount::fsconfig_set_string(context, key, path)
    };
    for (index, lower) in lowers.all().enumerate() {
        match set(c"lowerdir+", lower) {
            Err(Errno::INVAL) if index == 0 => return Ok(false),
            result => result.map_err(failed)?,
        }
    }
    rustix::mount::fsconfig_set_flag(context, c"userxattr").map_err(failed)?;
    if lowers.joined.is_some() {
        rustix::mount::fsconfig_set_string(context, XINO.0, XINO.1).map_err(failed)?;
    }
    if let Some(Changes { upper, work }) = changes {
        set(c"upperdir", upper).map_err(failed)?;
        set(c"workdir", work).map_err(failed)?;
        // Changes need not survive a crash, since the layer is synced when it is stored. Older
        // kernels do without the option.
        let _ = rustix::mount::fsconfig_set_flag(context, c"volatile");
    }
    rustix::mount::fsconfig_create(context).map_err(failed)?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    let mount = rustix::mount::fsmount(context, flags, MountAttrFlags::empty()).map_err(failed)?;
    mounts::attach(&mount, point).map_err(RunError::mount(what))?;
    Ok(true)
}

/// Mounts overlayfs the old way. The text may not be longer than a page, so paths are numbers of
/// descriptors, relative to the folder that lists them: that leaves room for a thousand layers.
fn mount_by_text(lowers: &Lowers, changes: Option<&Changes>, point: &OwnedFd) -> Result<(), Errno> {
    rustix::process::chdir("/proc/self/fd")?;
    let mut options = String::from("userxattr,lowerdir=");
    for (index, lower) in lowers.all().enumerate() {
        let colon = if index == 0 { "" } else { ":" };
        // Writing to a text cannot fail.
        let _ = write!(options, "{colon}{}", lower.as_raw_fd());
    }
    if lowers.joined.is_some() {
        let _ = write!(options, ",{}={}", XINO.0.to_string_lossy(), XINO.1);
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
