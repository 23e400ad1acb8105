//! `/dev`: a folder in memory with the devices that every program may use.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Dev, FileType, Mode, major, minor};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::mounts::{self, attach, clone_of, create, open_path};
use super::root::Root;
use crate::error::RunError;

/// The devices and their numbers. Only root of the machine can make device files, so the host's
/// are bound.
const DEVICES: &[(&str, u32, u32)] = &[
    ("full", 1, 7),
    ("null", 1, 3),
    ("random", 1, 8),
    ("tty", 5, 0),
    ("urandom", 1, 9),
    ("zero", 1, 5),
];

const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("ptmx", "pts/ptmx"),
    ("stderr", "/proc/self/fd/2"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
];

/// The group that terminals belong to, in every distribution.
const TTY_GROUP: &str = "5";

const WHAT: &str = "/dev";

/// Mounts `/dev` with what belongs below it.
pub(super) fn mount_dev(root: &Root, shm_size: u64, single: bool) -> Result<(), RunError> {
    let target = mounts::top_folder(root, "dev")?;
    let dev = create(
        c"tmpfs",
        &[(c"size", Some("64m")), (c"mode", Some("0755"))],
        MountAttrFlags::MOUNT_ATTR_NOSUID,
    )?;
    attach(&dev, target).map_err(RunError::mount(WHAT))?;
    for (name, major, minor) in DEVICES {
        bind_device(&dev, name, rustix::fs::makedev(*major, *minor))?;
    }
    for (name, target) in LINKS {
        rustix::fs::symlinkat(*target, &dev, *name).map_err(RunError::mount(WHAT))?;
    }
    let quiet = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let inert = quiet | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mut pts =
        vec![(c"newinstance", None), (c"ptmxmode", Some("0666")), (c"mode", Some("0620"))];
    if !single {
        pts.push((c"gid", Some(TTY_GROUP)));
    }
    mount_below(&dev, "pts", create(c"devpts", &pts, quiet)?)?;
    let size = shm_size.to_string();
    let shm = [(c"size", Some(&*size)), (c"mode", Some("1777"))];
    mount_below(&dev, "shm", create(c"tmpfs", &shm, inert)?)?;
    match create(c"mqueue", &[], inert) {
        // A kernel without message queues.
        Err(RunError::Mount { source, .. }) if source.number() == libc::ENODEV => Ok(()),
        queues => mount_below(&dev, "mqueue", queues?),
    }
}

fn mount_below(dev: &OwnedFd, name: &str, mount: OwnedFd) -> Result<(), RunError> {
    let place = || -> Result<(), Errno> {
        rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(0o755))?;
        attach(mount, open_path(dev, name)?)
    };
    place().map_err(RunError::mount(&format!("/dev/{name}")))
}

/// Binds a device of the host. One that is not there, or is something else, is left out.
fn bind_device(dev: &OwnedFd, name: &str, number: Dev) -> Result<(), RunError> {
    let path = format!("/dev/{name}");
    let bind = || -> Result<(), Errno> {
        let source = match open_path(CWD, &path) {
            Err(Errno::NOENT) => return Ok(()),
            source => source?,
        };
        // Looked at through the descriptor that gets bound: the name may change its meaning.
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
