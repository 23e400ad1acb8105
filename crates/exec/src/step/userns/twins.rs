//! The twins of a step: their folder and their table in `/dev`.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::attributes::attach_with;
use super::bind::READ_ONLY;
use super::mounts::{self, make_folder, open_folder};
use super::root::Root;
use crate::error::RunError;
use crate::mount::clone_of;
use crate::twins::{COUNT_IN_DEV, IN_DEV, ROOT, Stamp, StepTwins, Table};

/// Shows the twins in the step's `/dev`, which is there already, and the pipe that counts programs if
/// the step is `counted`.
pub(super) fn show(root: &Root, twins: Option<&StepTwins>, counted: bool) -> Result<(), RunError> {
    let files = twins.map(|twins| mounts::open_trusted(&twins.folder.join(ROOT))).transpose()?;
    let add = || -> io::Result<()> {
        let dev = open_folder(&root.fd, "dev")?;
        let before = rustix::fs::fstat(&dev)?;
        if let (Some(twins), Some(files)) = (twins, &files) {
            add(root, &dev, twins, files)?;
        }
        if counted {
            make_pipe(&dev, COUNT_IN_DEV)?;
        }
        set_back(&dev, &before)
    };
    add().map_err(RunError::setup("show the twins of the step"))
}

/// Makes a pipe that everybody may write to.
fn make_pipe(dev: &OwnedFd, name: &str) -> Result<(), Errno> {
    rustix::fs::mknodat(dev, name, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    // The umask must not matter.
    rustix::fs::chmodat(dev, name, Mode::from_raw_mode(0o622), AtFlags::empty())
}

fn add(root: &Root, dev: &OwnedFd, twins: &StepTwins, files: &OwnedFd) -> io::Result<()> {
    let (folder, table) = IN_DEV;
    let place = make_folder(dev, folder)?;
    attach_with(&clone_of(files, false)?, &place, READ_ONLY, false)?;
    let rows = twins.set.twins.iter();
    let rows = rows.filter_map(|twin| Some((twin, stamp(&root.fd, &twin.path).ok()??))).collect();
    let table_bytes = Table { little: twins.set.little, rows }.to_bytes();
    let mut file = File::from(mounts::make_file(dev, table, 0o444)?);
    file.write_all(&table_bytes)
}

/// Gives `/dev` its times back: `find -newer` must not see that something was added.
fn set_back(dev: &OwnedFd, before: &Stat) -> io::Result<()> {
    let time = |tv_sec, tv_nsec: u64| Timespec { tv_sec, tv_nsec: tv_nsec.cast_signed() };
    let times = Timestamps {
        last_access: time(before.st_atime, before.st_atime_nsec),
        last_modification: time(before.st_mtime, before.st_mtime_nsec),
    };
    let itself = format!("/proc/self/fd/{}", dev.as_raw_fd());
    Ok(rustix::fs::utimensat(CWD, itself, &times, AtFlags::empty())?)
}

/// Returns the identity of the program at a path of the root; `None` for any other kind of file.
fn stamp(root: &OwnedFd, path: &str) -> Result<Option<Stamp>, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file = rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)?;
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let nanos = u32::try_from(stat.st_ctime_nsec).unwrap_or(0);
    Ok(Some(Stamp { inode: stat.st_ino, changed: (stat.st_ctime, nanos) }))
}
