//! The root file system of a step: an overlay mount of the layers' folders, or one folder.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use xbuild_model::rootfs::{Folder, Overlay, RootFs};

use super::mounts::{self, make_folder, open_folder, open_trusted};
use super::overlay::{self, Changes, Lowers};
use crate::error::RunError;
use crate::mount::clone_of;

/// The mount's name in error messages.
const WHAT: &str = "the root file system (overlay)";

/// A step's root file system, mounted but not yet the root of this process.
#[derive(Debug)]
pub(super) struct Root {
    /// Its root folder.
    pub(super) fd: OwnedFd,
    /// The folder of changes, without the step's mounts: that of an overlay mount, or the folder
    /// that is the root.
    pub(super) changes: OwnedFd,
    /// A folder in memory, for files that get bound into the root.
    pub(super) staging: OwnedFd,
}

impl Root {
    /// Mounts the root in a folder below `staging`, which is in memory. `joined` is a mount of
    /// layers below those of an overlay mount, mounted nowhere yet.
    pub(super) fn mount(
        root: &RootFs,
        joined: Option<OwnedFd>,
        staging: OwnedFd,
    ) -> Result<Self, RunError> {
        match root {
            RootFs::Overlay(dirs) => Self::overlay(dirs, joined, staging),
            RootFs::Folder(folder) => Self::folder(folder, staging),
        }
    }

    fn overlay(
        dirs: &Overlay,
        joined: Option<OwnedFd>,
        staging: OwnedFd,
    ) -> Result<Self, RunError> {
        let folders =
            dirs.lowers.iter().map(|path| open_trusted(path)).collect::<Result<Vec<_>, _>>()?;
        let changes =
            Changes { upper: open_trusted(&dirs.upper)?, work: open_trusted(&dirs.work)? };
        let failed = || RunError::setup("make a folder");
        let mut lowers = Lowers { folders, joined: None };
        if let Some(joined) = joined {
            // overlayfs takes only folders of mounts that are in this namespace.
            let point = make_folder(&staging, "joined").map_err(failed())?;
            mounts::attach(joined, point).map_err(RunError::mount(WHAT))?;
            lowers.joined = Some(open_folder(&staging, "joined").map_err(RunError::mount(WHAT))?);
        } else if lowers.folders.is_empty() {
            // overlayfs needs at least one.
            lowers.folders.push(make_folder(&staging, "nothing").map_err(failed())?);
        }
        let point = make_folder(&staging, "root").map_err(failed())?;
        overlay::mount(&lowers, Some(&changes), &point, WHAT)?;
        let fd = open_folder(&staging, "root").map_err(RunError::mount(WHAT))?;
        Ok(Self { fd, changes: changes.upper, staging })
    }

    /// Binds a folder, so that its mounts are in this namespace only.
    fn folder(folder: &Folder, staging: OwnedFd) -> Result<Self, RunError> {
        const WHAT: &str = "the root file system (folder)";
        let changes = open_trusted(&folder.path)?;
        let point = make_folder(&staging, "root").map_err(RunError::setup("make a folder"))?;
        let bind = || -> Result<OwnedFd, Errno> {
            mounts::attach(clone_of(&changes, false)?, point)?;
            open_folder(&staging, "root")
        };
        let fd = bind().map_err(RunError::mount(WHAT))?;
        // Unlike an overlay mount, a bind has the restrictions of the mount that it shows.
        let flags = rustix::fs::fstatvfs(&fd).map_err(RunError::mount(WHAT))?.f_flag;
        if flags.contains(StatVfsMountFlags::NOEXEC) {
            return Err(RunError::NoExec { folder: folder.path.clone() });
        }
        Ok(Self { fd, changes, staging })
    }

    /// Makes it the root of this process, with nothing of the host's tree left.
    pub(super) fn enter(self) -> Result<(), RunError> {
        let failed = "enter the root file system";
        let pivot = || -> Result<(), Errno> {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let old = rustix::fs::open("/", flags, Mode::empty())?;
            rustix::process::fchdir(&self.fd)?;
            // The old root ends up mounted over the new one, where it can be reached only through
            // the descriptor.
            match rustix::process::pivot_root(".", ".") {
                Err(Errno::INVAL) => self.cover(),
                pivoted => {
                    pivoted?;
                    rustix::process::fchdir(&old)?;
                    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
                    rustix::process::chdir("/")
                }
            }
        };
        pivot().map_err(RunError::setup(failed))
    }

    /// Makes it the root of this process where that cannot take the place of the old one: the first
    /// root of a machine, an initramfs. It covers the old root, and nothing leads below: the way up
    /// from it ends at the old root, which is the top of the namespace and covered. The kernel makes
    /// no user namespace for a process whose root is anywhere else.
    fn cover(&self) -> Result<(), Errno> {
        let top = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        mounts::attach(&self.fd, top)?;
        rustix::process::fchdir(&self.fd)?;
        rustix::process::chroot(".")?;
        rustix::process::chdir("/")
    }
}
