//! `/dev`: a folder in memory with the devices that every program may use.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Dev, FileType, Mode, major, minor};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::mounts::{self, INERT, attach, create, open_path};
use crate::devices::{DEVICES, LINKS};
use crate::error::RunError;
use crate::idmap::Ids;
use crate::mount::clone_of;

/// The link that opens a terminal of the step's own.
const TERMINALS: (&str, &str) = ("ptmx", "pts/ptmx");

/// The group that terminals belong to, in every distribution.
const TTY_GROUP: &str = "5";

const WHAT: &str = "/dev";

/// Bytes of `/dev/shm` unless a step wants another size.
const SHM_SIZE: u64 = 64 << 20;

/// Mounts `/dev`, with the mounts below it, at `target` and returns it.
pub(super) fn mount_dev(target: OwnedFd, ids: Ids) -> Result<OwnedFd, RunError> {
    let dev = create(
        c"tmpfs",
        &[(c"size", Some("64m")), (c"mode", Some("0755"))],
        MountAttrFlags::MOUNT_ATTR_NOSUID,
    )?;
    attach(&dev, target).map_err(RunError::mount(WHAT))?;
    for (name, major, minor) in DEVICES {
        bind_device(&dev, name, rustix::fs::makedev(major, minor))?;
    }
    for (name, target) in LINKS.into_iter().chain([TERMINALS]) {
        rustix::fs::symlinkat(target, &dev, name).map_err(RunError::mount(WHAT))?;
    }
    let quiet = INERT.difference(MountAttrFlags::MOUNT_ATTR_NODEV);
    let mut pts =
        vec![(c"newinstance", None), (c"ptmxmode", Some("0666")), (c"mode", Some("0620"))];
    if ids == Ids::Range {
        pts.push((c"gid", Some(TTY_GROUP)));
    }
    mount_below(&dev, "pts", create(c"devpts", &pts, quiet)?)?;
    mount_below(&dev, "shm", shm(SHM_SIZE)?)?;
    match create(c"mqueue", &[], INERT) {
        // The kernel has no message queues.
        Err(RunError::Mount { source, .. }) if source.number() == libc::ENODEV => {}
        queues => mount_below(&dev, "mqueue", queues?)?,
    }
    Ok(dev)
}

/// Gives a `/dev` that nobody has used yet a `shm` of this size in bytes.
pub(super) fn resize_shm(dev: &OwnedFd, size: u64) -> Result<(), RunError> {
    if size == SHM_SIZE {
        return Ok(());
    }
    let place = open_path(dev, "shm").map_err(RunError::mount("/dev/shm"))?;
    attach(shm(size)?, place).map_err(RunError::mount("/dev/shm"))
}

fn shm(size: u64) -> Result<OwnedFd, RunError> {
    let size = size.to_string();
    create(c"tmpfs", &[(c"size", Some(&*size)), (c"mode", Some("1777"))], INERT)
}

fn mount_below(dev: &OwnedFd, name: &str, mount: OwnedFd) -> Result<(), RunError> {
    let place = || -> Result<(), Errno> {
        rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(0o755))?;
        attach(mount, open_path(dev, name)?)
    };
    place().map_err(RunError::mount(&format!("/dev/{name}")))
}

/// Binds a device of the host, since only root of the machine can make device files. A missing file, or one that is another device, is left out.
fn bind_device(dev: &OwnedFd, name: &str, number: Dev) -> Result<(), RunError> {
    let path = format!("/dev/{name}");
    let bind = || -> Result<(), Errno> {
        let source = match open_path(CWD, &path) {
            Err(Errno::NOENT) => return Ok(()),
            source => source?,
        };
        // By the descriptor that gets bound: the name may change its meaning.
        let stat = rustix::fs::fstat(&source)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::CharacterDevice
            || (major(stat.st_rdev), minor(stat.st_rdev)) != (major(number), minor(number))
        {
            return Ok(());
        }
        mounts::make_file(dev, name, 0o666)?;
        attach(clone_of(source, false)?, open_path(dev, name)?)
    };
    bind().map_err(RunError::mount(&path))
}
