//! The root file system of a step: overlayfs over the folders of the layers.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use xbuild_model::rootfs::Overlay;

use super::mounts;
use super::overlay::{self, Changes, Lowers};
use crate::error::RunError;

/// What the mount is called in error messages.
const WHAT: &str = "the root file system (overlay)";

/// A step's root file system, mounted but not yet the root of this process.
#[derive(Debug)]
pub(crate) struct Root {
    /// Its root folder.
    pub fd: OwnedFd,
    /// The folder of changes.
    pub upper: OwnedFd,
    /// A folder in memory for files of ours that get bound into the root.
    pub staging: OwnedFd,
}

impl Root {
    /// Mounts the layers in a folder below `staging`, which is in memory. `joined` is a mount of
    /// layers below those of `dirs`, mounted nowhere yet.
    pub fn mount(
        dirs: &Overlay,
        joined: Option<OwnedFd>,
        staging: OwnedFd,
    ) -> Result<Self, RunError> {
        let folders = dirs.lowers.iter().map(|path| open(path)).collect::<Result<Vec<_>, _>>()?;
        let changes = Changes { upper: open(&dirs.upper)?, work: open(&dirs.work)? };
        let failed = || RunError::setup("make a folder");
        let mut lowers = Lowers { folders, joined: None };
        if let Some(joined) = joined {
            // overlayfs takes what is mounted in this namespace only.
            let point = make_folder(&staging, "joined").map_err(failed())?;
            mounts::attach(joined, point).map_err(RunError::mount(WHAT))?;
            lowers.joined = Some(open_folder(&staging, "joined").map_err(RunError::mount(WHAT))?);
        } else if lowers.folders.is_empty() {
            // overlayfs wants at least one.
            lowers.folders.push(make_folder(&staging, "nothing").map_err(failed())?);
        }
        let point = make_folder(&staging, "root").map_err(failed())?;
        overlay::mount(&lowers, Some(&changes), &point, WHAT)?;
        let fd = open_folder(&staging, "root").map_err(RunError::mount(WHAT))?;
        Ok(Self { fd, upper: changes.upper, staging })
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

/// Opens a folder by a path that is to be trusted.
pub(crate) fn open(path: &Path) -> Result<OwnedFd, RunError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(RunError::setup(&format!("open the folder {}", path.display())))
}

/// Makes a folder in one of ours.
pub(crate) fn make_folder(parent: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
    open_folder(parent, name)
}

/// Opens a folder in one of ours: what is mounted there, if anything is.
pub(crate) fn open_folder(parent: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}
