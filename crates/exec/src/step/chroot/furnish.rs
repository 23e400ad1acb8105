//! The files that every step gets: `/dev`, `/proc`, `/sys`, and those that are generated for it.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use xbuild_model::run::RunRequest;

use super::cover::Covers;
use crate::devices::{DEVICES, LINKS};
use crate::error::{RunError, errno_of};
use crate::step::files;
use crate::step::userns::mounts::{make_file, make_folder};
use crate::step::walk::{self, Missing};
use crate::supervisor::ProcFolder;

/// Files of `/proc` that tell about the machine and are copied: nothing of them is secret.
const PROC_FILES: &[&str] = &[
    "cpuinfo",
    "devices",
    "filesystems",
    "loadavg",
    "meminfo",
    "stat",
    "swaps",
    "uptime",
    "version",
    "sys/fs/file-max",
    "sys/fs/nr_open",
    "sys/kernel/cap_last_cap",
    "sys/kernel/hostname",
    "sys/kernel/ngroups_max",
    "sys/kernel/osrelease",
    "sys/kernel/ostype",
    "sys/kernel/pid_max",
    "sys/kernel/random/boot_id",
    "sys/kernel/random/uuid",
    "sys/kernel/threads-max",
    "sys/kernel/version",
    "sys/net/core/somaxconn",
    "sys/vm/max_map_count",
    "sys/vm/overcommit_memory",
];

/// The most bytes of such a file.
const PROC_LIMIT: u64 = 1 << 20;

/// The list of mounts: the step sees one.
const MOUNTS: &str = "rootfs / rootfs rw 0 0\n";

/// The same in the form of `mountinfo`.
const MOUNT_INFO: &str = "1 1 0:1 / / rw - rootfs rootfs rw\n";

/// Covers `/dev`, `/proc` and `/sys` of the image, which are made if they are missing and stay.
/// Returns whether `/dev` has the devices, and the folder `/proc`.
pub(super) fn system_folders(covers: &mut Covers) -> Result<(bool, ProcFolder), RunError> {
    let (mut has_devices, mut proc) = (false, None);
    for name in ["dev", "proc", "sys"] {
        walk::top_folder(covers.root.as_fd(), name)?;
        let path = format!("/{name}");
        let what = format!("make {path}");
        let failed = || RunError::setup(&what);
        let (own, folder) = covers.fresh_folder(0o755).map_err(failed())?;
        match name {
            "dev" => has_devices = fill_dev(&folder).map_err(failed())?,
            "proc" => fill_proc(&folder).map_err(failed())?,
            _ => {}
        }
        let (place, _) = covers.find(&path, Missing::Fail).map_err(failed())?;
        covers.cover(place, &own, None).map_err(failed())?;
        if name == "proc" {
            let root = walk::id(&rustix::fs::fstat(&covers.root).map_err(failed())?);
            proc = Some(ProcFolder { folder, root, aliases: Cell::default() });
        }
    }
    Ok((has_devices, proc.expect("it is one of the folders")))
}

/// Fills `/dev`. Returns whether it has the devices.
fn fill_dev(dev: &OwnedFd) -> Result<bool, Errno> {
    for (name, target) in LINKS {
        rustix::fs::symlinkat(target, dev, name)?;
    }
    for (name, mode) in [("shm", 0o1777), ("mqueue", 0o1777), ("pts", 0o755)] {
        rustix::fs::mkdirat(dev, name, Mode::empty())?;
        rustix::fs::chmodat(dev, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
    }
    let has_devices = make_devices(dev).is_ok();
    for (name, ..) in DEVICES.into_iter().filter(|_| !has_devices) {
        match rustix::fs::unlinkat(dev, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(has_devices)
}

/// Makes the devices, and finds out whether they work: the file system may be mounted with nodev.
fn make_devices(dev: &OwnedFd) -> Result<(), Errno> {
    for (name, major, minor) in DEVICES {
        let number = rustix::fs::makedev(major, minor);
        let mode = Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(dev, name, FileType::CharacterDevice, mode, number)?;
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(dev, "null", flags, Mode::empty()).map(drop)
}

/// Fills `/proc` with what is true for all processes.
fn fill_proc(proc: &OwnedFd) -> Result<(), Errno> {
    for path in PROC_FILES {
        let Some(contents) = read_own(path) else { continue };
        put(proc, path, &contents)?;
    }
    for (path, text) in
        [("mounts", MOUNTS), ("self/mounts", MOUNTS), ("self/mountinfo", MOUNT_INFO)]
    {
        put(proc, path, text.as_bytes())?;
    }
    // Whoever opens these gets lists from the supervisor.
    let own = crate::step::userns::mounts::open_folder(proc, "self")?;
    ["fd", "task"].into_iter().try_for_each(|name| make_folder(&own, name).map(drop))
}

/// Reads a file of this process's own `/proc`; `None` if there is none.
fn read_own(path: &str) -> Option<Vec<u8>> {
    let mut contents = Vec::new();
    let file = File::open(format!("/proc/{path}")).ok()?;
    file.take(PROC_LIMIT).read_to_end(&mut contents).ok()?;
    Some(contents)
}

fn put(proc: &OwnedFd, path: &str, contents: &[u8]) -> Result<(), Errno> {
    let mut folder = rustix::io::fcntl_dupfd_cloexec(proc, 3)?;
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    for part in folders.split('/').filter(|part| !part.is_empty()) {
        folder = match make_folder(&folder, part) {
            Err(Errno::EXIST) => crate::step::userns::mounts::open_folder(&folder, part)?,
            made => made?,
        };
    }
    write(&folder, name, contents, 0o444)
}

fn write(folder: &OwnedFd, name: &str, contents: &[u8], mode: u32) -> Result<(), Errno> {
    let mut file = File::from(make_file(folder, name, mode)?);
    file.write_all(contents).map_err(errno_of)
}

/// Covers the files that are generated for a step: the list of hosts, the resolver's configuration,
/// scripts. In xbuild's own root, those that are mounted there serve the step as they are.
///
/// **Errors** — also for further hosts, if the list of them is such a mount.
pub(super) fn generated_files(
    covers: &mut Covers,
    run: &RunRequest,
    is_own: bool,
) -> Result<(), RunError> {
    for file in files::generate(run)? {
        if is_own && is_mount(covers, &file.path)? {
            if file.path == files::HOSTS && !run.extra_hosts.is_empty() {
                return Err(RunError::NotHere {
                    what: "an additional host".to_owned(),
                    why: format!("{} is a mount of the container", file.path),
                });
            }
            continue;
        }
        let what = format!("put {} in place", file.path);
        let failed = || RunError::setup(&what);
        let name = covers.fresh();
        write(&covers.room, &name, &file.contents, file.mode).map_err(failed())?;
        let (place, _) = covers.find(&file.path, Missing::MakeFile).map_err(failed())?;
        covers.cover(place, &name, None).map_err(failed())?;
    }
    Ok(())
}

/// Returns whether a file of the root is a mount point.
fn is_mount(covers: &Covers, path: &str) -> Result<bool, RunError> {
    let failed = RunError::setup("look at the files of the container");
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let id = |path: &str| {
        let flags = if path.is_empty() { flags | AtFlags::EMPTY_PATH } else { flags };
        rustix::fs::statx(&covers.root, path, flags, StatxFlags::MNT_ID)
    };
    let path = path.trim_start_matches('/');
    match (id(path), id("")) {
        (Err(Errno::NOENT | Errno::NOTDIR), _) => Ok(false),
        (Ok(file), Ok(root)) => Ok(file.stx_mnt_id != root.stx_mnt_id),
        (Err(errno), _) | (_, Err(errno)) => Err(failed(errno)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::CWD;

    use super::*;

    #[test]
    fn proc_has_facts_about_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let proc = rustix::fs::openat(
            CWD,
            folder.path(),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        fill_proc(&proc.unwrap()).unwrap();
        let text = |path: &str| fs::read_to_string(folder.path().join(path)).unwrap();
        assert!(!text("cpuinfo").is_empty());
        assert_eq!(text("sys/kernel/ostype"), "Linux\n");
        assert_eq!(text("self/mounts"), "rootfs / rootfs rw 0 0\n");
        assert!(!folder.path().join("self/environ").exists());
    }
}
