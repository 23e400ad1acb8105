//! The twins of a step: their folder and their table in `/dev`.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::attributes::attach_with;
use super::bind::READ_ONLY;
use super::mounts::{self, make_folder, open_folder};
use super::root::Root;
use crate::error::RunError;
use crate::mount::clone_of;
use crate::twins::{IN_DEV, ROOT, Stamp, StepTwins, Table};

/// Shows the twins in the step's `/dev`, which is there already.
pub(super) fn show(root: &Root, twins: &StepTwins) -> Result<(), RunError> {
    let files = mounts::open_trusted(&twins.folder.join(ROOT))?;
    add(root, twins, &files).map_err(RunError::setup("show the twins of the step"))
}

fn add(root: &Root, twins: &StepTwins, files: &OwnedFd) -> io::Result<()> {
    let (folder, table) = IN_DEV;
    let dev = open_folder(&root.fd, "dev")?;
    let before = rustix::fs::fstat(&dev)?;
    let place = make_folder(&dev, folder)?;
    attach_with(&clone_of(files, false)?, &place, READ_ONLY, false)?;
    let rows = twins.set.twins.iter();
    let rows = rows.filter_map(|twin| Some((twin, stamp(&root.fd, &twin.path).ok()??))).collect();
    let table_bytes = Table { little: twins.set.little, rows }.to_bytes();
    let mut file = File::from(mounts::make_file(&dev, table, 0o444)?);
    file.write_all(&table_bytes)?;
    // `find -newer` must not see that something was added.
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
