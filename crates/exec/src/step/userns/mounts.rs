//! `/proc`, `/sys` and how things are mounted in general: always by descriptor, never by a name
//! that could have come to mean something else.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags};
use rustix::path::Arg;

use super::root::Root;
use crate::error::RunError;
use crate::mount::{clone_of, restrict};

/// Without set-user-ID programs, device files and programs at all.
pub(crate) const INERT: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// The same, and nothing can be written.
const READ_ONLY: MountAttrFlags = INERT.union(MountAttrFlags::MOUNT_ATTR_RDONLY);

/// Below `/proc`: what tells about the machine or its users, and no build needs.
const MASKED_IN_PROC: &[&str] = &[
    "acpi",
    "asound",
    "interrupts",
    "kallsyms",
    "kcore",
    "keys",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "sched_debug",
    "scsi",
    "sys/fs/binfmt_misc",
    "timer_list",
    "timer_stats",
];

/// Below `/proc`: what changes the machine when written to.
const READ_ONLY_IN_PROC: &[&str] = &["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Below `/sys`: what tells about the machine.
const MASKED_IN_SYS: &[&str] = &["firmware", "devices/virtual/powercap"];

/// Makes a file system that is mounted nowhere yet.
pub(crate) fn create(
    kind: &CStr,
    options: &[(&CStr, Option<&str>)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, RunError> {
    let what = kind.to_string_lossy();
    let context =
        rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(RunError::mount(&what))?;
    let context = context.as_fd();
    let failed = |errno: Errno| RunError::Mount {
        what: what.clone().into_owned(),
        detail: kernel_log(context),
        source: errno.into(),
    };
    for (key, value) in options {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(context, *key, *value),
            None => rustix::mount::fsconfig_set_flag(context, *key),
        }
        .map_err(failed)?;
    }
    rustix::mount::fsconfig_create(context).map_err(failed)?;
    rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(failed)
}

/// Returns what the kernel has to say about a file system that it would not make.
pub(crate) fn kernel_log(context: BorrowedFd<'_>) -> Option<String> {
    let mut lines = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = rustix::io::read(context, &mut buffer) {
        lines.push(String::from_utf8_lossy(&buffer[..read]).trim().to_owned());
    }
    (!lines.is_empty()).then(|| lines.join("; "))
}

/// Mounts what `mount` holds over `target`.
pub(crate) fn attach(mount: impl AsFd, target: impl AsFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", target, "", flags)
}

/// Returns the folder `name` at the top of the image, made if there is none. It stays in the
/// image, as builders before us have it.
pub(crate) fn top_folder(root: &Root, name: &str) -> Result<OwnedFd, RunError> {
    let failed = |errno: Errno| RunError::ImageFile {
        path: format!("/{name}"),
        reason: match errno {
            // Mounting over what a link points to is how a container's setup was turned against
            // its host more than once.
            Errno::NOTDIR | Errno::LOOP => "it must be a folder, not a link or a file".to_owned(),
            errno => errno.to_string(),
        },
    };
    let open = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&root.fd, name, flags, Mode::empty())
    };
    match open() {
        Err(Errno::NOENT) => {
            rustix::fs::mkdirat(&root.fd, name, Mode::from_raw_mode(0o755)).map_err(failed)?;
            open().map_err(failed)
        }
        opened => opened.map_err(failed),
    }
}

/// Mounts `/proc` at `target` and returns it. Where the kernel refuses a new one, because the one around us is partly hidden,
/// that one is used, which is added to `notes`. Without `masks` nothing is hidden or read-only, and nothing but
/// a new one will do: what may look into all processes must not be shown those of other steps.
pub(crate) fn mount_proc(
    target: OwnedFd,
    masks: Option<&Blank>,
    notes: &mut Vec<String>,
) -> Result<OwnedFd, RunError> {
    let proc = match create(c"proc", &[], INERT) {
        Err(RunError::Mount { source, .. })
            if source.number() == libc::EPERM && masks.is_some() =>
        {
            notes.push(
                "/proc shows the processes around xbuild, not only the step's: this container \
                 hides parts of its /proc, so that the kernel refuses a new one"
                    .to_owned(),
            );
            let outer = open_path(CWD, "/proc").map_err(RunError::mount("/proc"))?;
            clone_of(outer, true).map_err(RunError::mount("/proc"))?
        }
        created => created?,
    };
    attach(&proc, target).map_err(RunError::mount("/proc"))?;
    let Some(blank) = masks else { return Ok(proc) };
    mask(&proc, MASKED_IN_PROC, blank).map_err(RunError::mount("a mask over /proc"))?;
    for path in READ_ONLY_IN_PROC {
        freeze(&proc, path).map_err(RunError::mount(&format!("/proc/{path} read-only")))?;
    }
    Ok(proc)
}

/// Returns a second mount of `outer`, the host's `/sys`, read-only throughout.
pub(crate) fn copy_sys(outer: &OwnedFd) -> Result<OwnedFd, RunError> {
    let sys = clone_of(outer, true).map_err(RunError::mount("/sys"))?;
    restrict(&sys, READ_ONLY, true).map_err(RunError::mount("/sys read-only"))?;
    Ok(sys)
}

/// Returns a `/sys` that shows the devices of this process's network namespace, read-only; `None`
/// where the kernel refuses one.
pub(crate) fn own_sys() -> Option<OwnedFd> {
    create(c"sysfs", &[], READ_ONLY).ok()
}

/// Mounts `sys` at `target`. Without `masks` nothing is hidden.
pub(crate) fn mount_sys(
    sys: &OwnedFd,
    target: OwnedFd,
    blank: &Blank,
    masks: Option<&Blank>,
) -> Result<(), RunError> {
    attach(sys, target).map_err(RunError::mount("/sys"))?;
    if let Some(blank) = masks {
        mask(sys, MASKED_IN_SYS, blank).map_err(RunError::mount("a mask over /sys"))?;
    }
    if let Some(target) = open_below(sys, "fs/cgroup").map_err(RunError::mount("/sys/fs/cgroup"))? {
        // What the step sees of control groups begins at its own, or is nothing.
        let groups = match create(c"cgroup2", &[], READ_ONLY) {
            Ok(groups) => groups,
            Err(_) => blank.folder().map_err(RunError::mount("/sys/fs/cgroup"))?,
        };
        attach(groups, target).map_err(RunError::mount("/sys/fs/cgroup"))?;
    }
    Ok(())
}

/// What is put over things that shall not be seen.
#[derive(Debug)]
pub(crate) struct Blank {
    file: OwnedFd,
    folder: OwnedFd,
}

impl Blank {
    /// Makes an empty file and an empty folder.
    pub fn new(staging: &OwnedFd) -> Result<Self, Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(staging, "blank-file", flags, Mode::from_raw_mode(0o444))?;
        rustix::fs::mkdirat(staging, "blank", Mode::from_raw_mode(0o555))?;
        Ok(Self { file: open_path(staging, "blank-file")?, folder: open_path(staging, "blank")? })
    }

    fn folder(&self) -> Result<OwnedFd, std::io::Error> {
        let mount = clone_of(&self.folder, false)?;
        restrict(&mount, READ_ONLY, false)?;
        Ok(mount)
    }

    fn file(&self) -> Result<OwnedFd, std::io::Error> {
        let mount = clone_of(&self.file, false)?;
        restrict(&mount, READ_ONLY, false)?;
        Ok(mount)
    }
}

fn mask(mount: &OwnedFd, paths: &[&str], blank: &Blank) -> Result<(), std::io::Error> {
    for path in paths {
        let Some(target) = open_below(mount, path)? else { continue };
        let folder =
            FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode) == FileType::Directory;
        attach(if folder { blank.folder()? } else { blank.file()? }, target)?;
    }
    Ok(())
}

/// Mounts a part of `mount` over itself, read-only.
fn freeze(mount: &OwnedFd, path: &str) -> Result<(), std::io::Error> {
    let Some(target) = open_below(mount, path)? else { return Ok(()) };
    let copy = clone_of(&target, true)?;
    restrict(&copy, READ_ONLY, true)?;
    Ok(attach(copy, target)?)
}

/// Opens a file as a place, without following a link.
pub(crate) fn open_path(folder: impl AsFd, name: impl Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

/// Opens a file of the kernel's below a mount as a place; `None` if this kernel has none.
fn open_below(mount: &OwnedFd, path: &str) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(mount, path, flags, Mode::empty(), resolve) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Makes a file in `folder`; it must not exist.
pub(crate) fn make_file(folder: &OwnedFd, name: &str, mode: u32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o600))?;
    // Whatever the umask says.
    rustix::fs::chmodat(folder, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
    Ok(file)
}
