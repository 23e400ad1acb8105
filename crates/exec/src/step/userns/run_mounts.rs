//! The mounts of one step (RUN `--mount`): files of stages and contexts, folders that outlive the
//! step, memory, secrets, agents.
//!
//! Sources are found below the root that they are given for, targets below the step's root, both
//! as descriptors that then get mounted: a name that changes its meaning meanwhile has no effect.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Stat, Uid};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use xbuild_model::run::{ReadyMount, ReadySource};

use super::attributes::attach_with;
use super::mounts;
use super::overlay::{self, Changes, Lowers};
use super::root::Root;
use super::secrets::Secrets;
use crate::error::RunError;
use crate::idmap::Ids;
use crate::mount;
use crate::protocol::StepRequest;
use crate::step::stubs::Recorder;
use crate::step::walk::{self, Missing};

/// No set-user-ID programs and no device files. Programs are allowed: tools come this way.
const PLAIN: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// The same, and nothing can be written.
const READ_ONLY: MountAttrFlags = PLAIN.union(MountAttrFlags::MOUNT_ATTR_RDONLY);

/// Why nothing can be mounted in `/proc` and `/sys`.
pub(in crate::step) const KERNELS: &str =
    "it is inside /proc or /sys, which show the kernel's state";

/// The mode of memory whose mount point had to be made.
pub(in crate::step) const TMPFS_MODE: u32 = 0o1777;

/// Mounts all of them, outer targets first.
pub(super) fn mount_all(
    root: &Root,
    request: &StepRequest,
    ids: Ids,
    recorder: &mut Recorder,
    tell: &mut dyn FnMut(String),
) -> Result<(), RunError> {
    let mut all: Vec<&ReadyMount> = request.mounts.iter().collect();
    // A path sorts after the folders around it. The last of equal paths covers the others.
    all.sort_by(|a, b| a.target.cmp(&b.target));
    let mut step = Step { root, request, ids, secrets: None, tell };
    for (number, ReadyMount { target, source, .. }) in all.into_iter().enumerate() {
        if let ReadySource::Tmpfs { size } = source {
            let (place, mode) = find_target(root, recorder, target, true)?;
            let memory = tmpfs(*size, mode.unwrap_or(TMPFS_MODE))?;
            mounts::attach(memory, place).map_err(RunError::mount(target))?;
            continue;
        }
        let (mount, attributes) = step.open_source(number, target, source)?;
        let stat = rustix::fs::fstat(&mount).map_err(RunError::mount(target))?;
        let (place, _) = find_target(root, recorder, target, is_folder(&stat))?;
        attach_with(&mount, &place, attributes, false).map_err(RunError::mount(target))?;
    }
    Ok(())
}

/// The mounts of a step while they are made.
struct Step<'a> {
    root: &'a Root,
    request: &'a StepRequest,
    ids: Ids,
    secrets: Option<Secrets>,
    tell: &'a mut dyn FnMut(String),
}

impl Step<'_> {
    /// Returns the source of a mount, mounted nowhere yet, and the attributes that it gets.
    fn open_source(
        &mut self,
        number: usize,
        target: &str,
        source: &ReadySource,
    ) -> Result<(OwnedFd, MountAttrFlags), RunError> {
        let (found, attributes) = match source {
            ReadySource::Layers { lowers, path, writable } => {
                let found = self.look_into_layers(number, lowers, path, *writable, target)?;
                (found, if *writable { PLAIN } else { READ_ONLY })
            }
            ReadySource::Tree { folder, path, writable } => {
                let found = find_source(&mounts::open_trusted(folder)?, path, target)?;
                (found, if *writable { PLAIN } else { READ_ONLY })
            }
            ReadySource::Volume { path, writable } => {
                (mounts::open_path(CWD, path).map_err(RunError::mount(target))?, {
                    if *writable { PLAIN } else { READ_ONLY }
                })
            }
            ReadySource::Folder { path, read_only } => {
                (mounts::open_trusted(path)?, if *read_only { READ_ONLY } else { PLAIN })
            }
            ReadySource::Tmpfs { .. } => unreachable!("memory has no source"),
            ReadySource::Secret { contents, mode, uid, gid } => {
                let owner = self.owner(target, *uid, *gid)?;
                if self.secrets.is_none() {
                    self.secrets = Some(Secrets::mount(&self.root.staging, self.tell)?);
                }
                let Some(secrets) = &self.secrets else { unreachable!("made above") };
                let found = secrets.put(number, &contents.0, *mode, owner);
                let inert = READ_ONLY | MountAttrFlags::MOUNT_ATTR_NOEXEC;
                let attributes = if mode & 0o111 == 0 { inert } else { READ_ONLY };
                (found.map_err(owner_error(target, owner))?, attributes)
            }
            ReadySource::Socket { path, mode, uid, gid } => {
                let owner = self.owner(target, *uid, *gid)?;
                let found = dress_socket(path, *mode, owner);
                let inert = READ_ONLY | MountAttrFlags::MOUNT_ATTR_NOEXEC;
                (found.map_err(owner_error(target, owner))?, inert)
            }
        };
        let mount = mount::clone_of(found, false).map_err(RunError::mount(target))?;
        Ok((mount, attributes))
    }

    /// Returns the owner that a file gets on disk. In a namespace with one id it is root; a supervisor
    /// knows the other one.
    fn owner(&mut self, target: &str, uid: u32, gid: u32) -> Result<(u32, u32), RunError> {
        // The kernel takes this for "as it is".
        if uid == u32::MAX || gid == u32::MAX {
            return Err(RunError::MountOwner { target: target.to_owned(), uid, gid });
        }
        Ok(if self.ids == Ids::Single { (0, 0) } else { (uid, gid) })
    }

    /// Returns a file or folder of a stack of layers.
    fn look_into_layers(
        &self,
        number: usize,
        lowers: &[PathBuf],
        path: &str,
        writable: bool,
        target: &str,
    ) -> Result<OwnedFd, RunError> {
        let failed = || RunError::setup("make a folder");
        let name = format!("mount-{number}");
        let mut folders =
            lowers.iter().map(|path| mounts::open_trusted(path)).collect::<Result<Vec<_>, _>>()?;
        // overlayfs needs a layer, and two for a read-only mount. Even a single layer needs overlayfs,
        // which understands the marks in it.
        let needed = if writable { 1 } else { 2 };
        while folders.len() < needed {
            let more = format!("{name}-{}", folders.len());
            folders.push(mounts::make_folder(&self.root.staging, &more).map_err(failed())?);
        }
        let changes = if writable { Some(self.changes(number, &folders[0])?) } else { None };
        let point = mounts::make_folder(&self.root.staging, &name).map_err(failed())?;
        let lowers = Lowers { folders, joined: None };
        overlay::mount(&lowers, changes.as_ref(), &point, target)?;
        let top =
            mounts::open_folder(&self.root.staging, &name).map_err(RunError::mount(target))?;
        find_source(&top, path, target)
    }

    /// Makes folders for changes that are thrown away. They are on the disk, for the changes may be
    /// large, beside the folders of the step's own changes, and are removed with them.
    fn changes(&self, number: usize, like: &OwnedFd) -> Result<Changes, RunError> {
        let make = || -> Result<Changes, std::io::Error> {
            let mut home = self.request.root.work().to_owned().into_os_string();
            home.push(format!("-mount-{number}"));
            rustix::fs::mkdir(&home, Mode::from_raw_mode(0o700))?;
            let home = mounts::open_path(CWD, home)?;
            let upper = mounts::make_folder(&home, "upper")?;
            let work = mounts::make_folder(&home, "work")?;
            // overlayfs shows it as the root of the mount.
            let stat = rustix::fs::fstat(like)?;
            let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            rustix::fs::chownat(&upper, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
            let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
            rustix::fs::chmodat(&home, "upper", mode, AtFlags::empty())?;
            Ok(Changes { upper, work })
        };
        make().map_err(RunError::setup("make folders for changes that are thrown away"))
    }
}

/// Returns the file at `path` below the folder `top`, for the mount at `target`.
pub(in crate::step) fn find_source(
    top: &OwnedFd,
    path: &str,
    target: &str,
) -> Result<OwnedFd, RunError> {
    match walk::locate(top.as_fd(), path.as_bytes(), Missing::Fail) {
        Ok(place) => Ok(place.fd),
        Err(errno @ (Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => {
            let (path, target) = (path.to_owned(), target.to_owned());
            Err(RunError::MountSource { path, target, source: errno.into() })
        }
        Err(errno) => Err(RunError::mount(target)(errno)),
    }
}

/// Returns the place of a target, and its mode if it existed; makes it otherwise.
fn find_target(
    root: &Root,
    recorder: &mut Recorder,
    target: &str,
    folder: bool,
) -> Result<(OwnedFd, Option<u32>), RunError> {
    let refused = |reason: &str| RunError::MountTarget {
        target: target.to_owned(),
        reason: reason.to_owned(),
    };
    let missing = if folder { Missing::MakeFolder } else { Missing::MakeFile };
    let place =
        walk::locate(root.fd.as_fd(), target.as_bytes(), missing).map_err(|errno| match errno {
            Errno::NOTDIR => refused("something on the way to it is not a folder"),
            Errno::LOOP => refused("too many symbolic links"),
            Errno::XDEV => refused(KERNELS),
            Errno::ROFS => refused("it does not exist, and cannot be made in a read-only mount"),
            errno => RunError::mount(target)(errno),
        })?;
    if place.is_kernels {
        return Err(refused(KERNELS));
    }
    let is_new = !place.made.is_empty();
    recorder.add(root.fd.as_fd(), place.made).map_err(RunError::mount(target))?;
    let look = |fd: &OwnedFd| rustix::fs::fstat(fd).map_err(RunError::mount(target));
    let stat = look(&place.fd)?;
    if walk::id(&stat) == walk::id(&look(&root.fd)?) {
        return Err(refused("it is the root folder"));
    }
    let dev = mounts::open_path(&root.fd, "dev").map_err(RunError::mount("/dev"))?;
    if walk::id(&stat) == walk::id(&look(&dev)?) {
        return Err(refused("it is /dev, and the command needs the devices there"));
    }
    match (is_folder(&stat), folder) {
        (true, false) => Err(refused("it is a folder, but a file is to be mounted")),
        (false, true) => Err(refused("it is a file, but a folder is to be mounted")),
        _ => Ok((place.fd, (!is_new).then_some(stat.st_mode & 0o7777))),
    }
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Returns a folder in memory.
fn tmpfs(size: Option<u64>, mode: u32) -> Result<OwnedFd, RunError> {
    let (size, mode) = (size.map(|size| size.to_string()), format!("{mode:o}"));
    let mut options = vec![(c"mode", Some(&*mode))];
    options.extend(size.as_deref().map(|size| (c"size", Some(size))));
    mounts::create(c"tmpfs", &options, PLAIN)
}

/// Opens a socket of ours as a place, and gives it that mode and owner.
pub(in crate::step) fn dress_socket(
    path: &Path,
    mode: u32,
    (uid, gid): (u32, u32),
) -> Result<OwnedFd, Errno> {
    let socket = mounts::open_path(CWD, path)?;
    if FileType::from_raw_mode(rustix::fs::fstat(&socket)?.st_mode) != FileType::Socket {
        return Err(Errno::NOTSOCK);
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::fs::chownat(&socket, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
    rustix::fs::chmod(path, Mode::from_raw_mode(mode & 0o777))?;
    Ok(socket)
}

pub(in crate::step) fn owner_error(
    target: &str,
    (uid, gid): (u32, u32),
) -> impl FnOnce(Errno) -> RunError {
    move |errno| match errno {
        Errno::INVAL => RunError::MountOwner { target: target.to_owned(), uid, gid },
        errno => RunError::mount(target)(errno),
    }
}
