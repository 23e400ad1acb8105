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
use crate::twins::{COUNT_IN_DEV, FileId, ROOT, Row, Stamp, StepTwins, TABLE_IN_DEV, Table};

/// Shows the twins in the step's `/dev`, which is there already, and the pipe that counts programs if
/// the step is `counted`.
pub(super) fn show(root: &Root, twins: &[StepTwins], counted: bool) -> Result<(), RunError> {
    let open = |twins: &StepTwins| mounts::open_trusted(&twins.folder.join(ROOT));
    let files: Vec<OwnedFd> = twins.iter().map(open).collect::<Result<_, _>>()?;
    let add = || -> io::Result<()> {
        let dev = open_folder(&root.fd, "dev")?;
        let before = rustix::fs::fstat(&dev)?;
        for (twins, files) in twins.iter().zip(&files) {
            let place = make_folder(&dev, twins.set.origin.name())?;
            attach_with(&clone_of(files, false)?, &place, READ_ONLY, false)?;
        }
        if let Some(first) = twins.first() {
            let mut file = File::from(mounts::make_file(&dev, TABLE_IN_DEV, 0o444)?);
            file.write_all(&table(root, twins, first.set.little))?;
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

/// Returns the table of the programs that the root has.
fn table(root: &Root, twins: &[StepTwins], little: bool) -> Vec<u8> {
    let folders: Vec<String> = twins.iter().map(|twins| twins.set.origin.folder()).collect();
    let mut rows = Vec::new();
    for (StepTwins { set, .. }, folder) in twins.iter().zip(&folders) {
        rows.extend(set.twins.iter().filter_map(|twin| {
            let file = match &twin.build {
                Some(build) => FileId::Build(build),
                None => FileId::Stamp(stamp(&root.fd, &twin.path).ok()??),
            };
            Some(Row { twin, folder, file })
        }));
    }
    Table { little, rows }.to_bytes()
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
