//! The root file system of a step: overlayfs over the folders of the layers.

use std::fmt::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, UnmountFlags};
use xbuild_model::seam::RootDirs;

use super::mounts;
use crate::error::RunError;

/// What the mount is called in error messages.
const WHAT: &str = "the root file system (overlay)";

/// The room for generated files: lists of hosts, scripts.
const STAGING_SIZE: &str = "64m";

/// A step's root file system, mounted but not yet the root of this process.
#[derive(Debug)]
pub(super) struct Root {
    /// Its root folder.
    pub fd: OwnedFd,
    /// The folder of changes.
    pub upper: OwnedFd,
    /// A folder in memory for files of ours that get bound into the root. It is mounted in the
    /// host's tree, as seen by this process, and goes with that.
    pub staging: OwnedFd,
}

impl Root {
    /// Mounts the layers.
    pub fn mount(dirs: &RootDirs) -> Result<Self, RunError> {
        let open = |path: &Path| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty())
                .map_err(RunError::setup(&format!("open the folder {}", path.display())))
        };
        // Opened first: the staging folder may hide them.
        let mut lowers = dirs.lowers.iter().map(|p| open(p)).collect::<Result<Vec<_>, _>>()?;
        let (upper, work) = (open(&dirs.upper)?, open(&dirs.work)?);
        let staging = mounts::create(
            c"tmpfs",
            &[(c"size", Some(STAGING_SIZE)), (c"mode", Some("0700"))],
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
        )?;
        // Over a folder that is sure to exist; the descriptors still mean what is below.
        mounts::attach(&staging, &upper).map_err(RunError::mount("the staging folder"))?;
        let folder = |name: &str| -> Result<OwnedFd, Errno> {
            rustix::fs::mkdirat(&staging, name, Mode::from_raw_mode(0o755))?;
            open_folder(&staging, name)
        };
        if lowers.is_empty() {
            // overlayfs wants at least one.
            lowers.push(folder("nothing").map_err(RunError::setup("make a folder"))?);
        }
        let point = folder("root").map_err(RunError::setup("make a folder"))?;
        if !mount_by_descriptor(&lowers, &upper, &work, &point)? {
            mount_by_text(&lowers, &upper, &work, &point).map_err(RunError::mount(WHAT))?;
        }
        let fd = open_folder(&staging, "root").map_err(RunError::mount(WHAT))?;
        Ok(Self { fd, upper, staging })
    }

    /// Makes it the root of this process, with nothing of the host's tree left.
    pub fn enter(self) -> Result<(), RunError> {
        let failed = "enter the root file system";
        let pivot = || -> Result<(), Errno> {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let old = rustix::fs::open("/", flags, Mode::empty())?;
            rustix::process::fchdir(&self.fd)?;
            // The old root ends up mounted over the new one, where it can be reached only through
            // the descriptor.
            rustix::process::pivot_root(".", ".")?;
            rustix::process::fchdir(&old)?;
            rustix::mount::unmount(".", UnmountFlags::DETACH)?;
            rustix::process::chdir("/")
        };
        pivot().map_err(RunError::setup(failed))
    }
}

fn open_folder(parent: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Mounts overlayfs with one call for each layer, so that there is no limit on their number.
/// Returns whether the kernel can do that: since 6.8.
fn mount_by_descriptor(
    lowers: &[OwnedFd],
    upper: &OwnedFd,
    work: &OwnedFd,
    point: &OwnedFd,
) -> Result<bool, RunError> {
    let context = rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(RunError::mount(WHAT))?;
    let context = context.as_fd();
    let failed = |errno: Errno| RunError::Mount {
        what: WHAT.to_owned(),
        detail: mounts::kernel_log(context),
        source: errno.into(),
    };
    let set = |key: &std::ffi::CStr, fd: &OwnedFd| {
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
    set(c"upperdir", upper).map_err(failed)?;
    set(c"workdir", work).map_err(failed)?;
    rustix::mount::fsconfig_set_flag(context, c"userxattr").map_err(failed)?;
    // What the command syncs need not survive a crash: the layer is synced when it is stored.
    // Older kernels do without.
    let _ = rustix::mount::fsconfig_set_flag(context, c"volatile");
    rustix::mount::fsconfig_create(context).map_err(failed)?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    let mount = rustix::mount::fsmount(context, flags, MountAttrFlags::empty()).map_err(failed)?;
    mounts::attach(&mount, point).map_err(RunError::mount(WHAT))?;
    Ok(true)
}

/// Mounts overlayfs the old way. The text may not be longer than a page: paths are numbers of
/// descriptors, relative to the folder that lists them, which makes for a thousand layers.
fn mount_by_text(
    lowers: &[OwnedFd],
    upper: &OwnedFd,
    work: &OwnedFd,
    point: &OwnedFd,
) -> Result<(), Errno> {
    rustix::process::chdir("/proc/self/fd")?;
    let mut options = String::from("userxattr,lowerdir=");
    for (index, lower) in lowers.iter().enumerate() {
        let colon = if index == 0 { "" } else { ":" };
        // Writing to a text cannot fail.
        let _ = write!(options, "{colon}{}", lower.as_raw_fd());
    }
    let _ = write!(options, ",upperdir={},workdir={}", upper.as_raw_fd(), work.as_raw_fd());
    let target = point.as_raw_fd().to_string();
    let mount = |options: &str| {
        let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
        rustix::mount::mount("overlay", &*target, "overlay", MountFlags::empty(), &*options)
    };
    mount(&format!("{options},volatile")).or_else(|errno| match errno {
        Errno::INVAL => mount(&options),
        errno => Err(errno),
    })
}
