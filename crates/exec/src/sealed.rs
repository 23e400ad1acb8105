//! Programs that processes in the build's namespace cannot change.
//!
//! Inside the namespace the calling user is root, and a process can open its own program through
//! `/proc/self/exe`, for writing too.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::mount::MountAttrFlags;

use xbuild_model::ids::HostUid;

use crate::idmap::IdMap;
use crate::mount;

/// Returns a descriptor to execute `program` from, so that nobody in a namespace with this map can
/// change it: the file itself if nobody inside may write to it, else the file through a read-only
/// mount, else, without the right to mount, a copy in memory, which takes longest.
///
/// The descriptor must be closed before anything runs inside. From then on the mount belongs to no
/// namespace and cannot be changed, though the process executed from it keeps it.
pub(crate) fn program(program: File, map: &IdMap) -> io::Result<OwnedFd> {
    let stat = program.metadata()?;
    if is_out_of_reach(HostUid::new(stat.uid()), stat.mode(), map) {
        return Ok(program.into());
    }
    read_only(&program).or_else(|_| sealed_copy(c"xbuild", program))
}

/// Returns whether nobody in a namespace with this map may write to a file, or change its mode so
/// as to: its owner does not exist there, and nobody but the owner may write. If a file has an
/// access list, the group's bits of its mode are the most that the list allows.
///
/// **Source** — `user_namespaces(7)` § Capabilities; `acl(5)` § Correspondence between ACL entries
/// and file permission bits.
fn is_out_of_reach(owner: HostUid, mode: u32, map: &IdMap) -> bool {
    mode & 0o022 == 0 && !map.reaches_uid(owner)
}

/// Returns the file as seen through a read-only mount of it that is attached nowhere.
///
/// **Errors** — `EPERM` without the right to mount, and those of kernels before 5.12.
fn read_only(file: &File) -> io::Result<OwnedFd> {
    let mount = mount::clone_of(file, false)?;
    mount::restrict(&mount, MountAttrFlags::MOUNT_ATTR_RDONLY, false)?;
    Ok(mount)
}

/// Copies everything that `source` still has into a sealed, executable memory file.
///
/// The returned descriptor is read-only and close-on-exec. Not even the owner can write to the file
/// through a link to the running program, such as `/proc/self/exe`.
///
/// **Source** — `memfd_create(2)`, `fcntl(2)` § File Sealing.
pub(crate) fn sealed_copy(name: &CStr, mut source: impl Read) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Linux 6.3 and later ask for a flag for programs; older kernels do not know it.
    let memory = rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create(name, flags))?;
    let mut memory = File::from(memory);
    io::copy(&mut source, &mut memory)?;
    rustix::fs::fcntl_add_seals(
        &memory,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xbuild_model::ids::HostGid;

    use crate::idmap::Caller;
    use crate::subid::Range;

    fn assert_runs_and_cannot_be_written(program: &OwnedFd) {
        let path = format!("/proc/self/fd/{}", program.as_raw_fd());
        assert!(std::process::Command::new(&path).status().unwrap().success());
        for flags in [OFlags::WRONLY, OFlags::RDWR | OFlags::TRUNC] {
            if let Ok(file) = rustix::fs::open(&*path, flags, Mode::empty()) {
                assert!(rustix::io::write(&file, b"x").is_err());
            }
        }
    }

    /// Returns a program that the caller may write to.
    fn own_program() -> (tempfile::TempDir, File) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("true");
        std::fs::copy("/bin/true", &path).unwrap();
        (dir, File::open(path).unwrap())
    }

    #[test]
    fn a_sealed_copy_runs_and_cannot_be_written() {
        let copy = sealed_copy(c"true", File::open("/bin/true").unwrap()).unwrap();
        assert_runs_and_cannot_be_written(&copy);
        let length = File::from(copy).metadata().unwrap().len();
        assert_eq!(length, std::fs::metadata("/bin/true").unwrap().len());
    }

    #[test]
    fn a_read_only_mount_runs_and_cannot_be_written() {
        let (dir, file) = own_program();
        match read_only(&file) {
            Ok(mount) => {
                assert_runs_and_cannot_be_written(&mount);
                // The file can still be written by its own path.
                std::fs::OpenOptions::new().write(true).open(dir.path().join("true")).unwrap();
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
                println!("skipped: needs the right to mount");
            }
        }
    }

    #[test]
    fn a_program_of_somebody_inside_is_not_executed_itself() {
        let (_dir, file) = own_program();
        let uid = file.metadata().unwrap().uid();
        let map = IdMap::single(&caller(uid));
        assert_runs_and_cannot_be_written(&program(file, &map).unwrap());
    }

    fn caller(uid: u32) -> Caller {
        Caller {
            uid: HostUid::new(uid),
            gid: HostGid::new(uid),
            may_map: uid == 0,
            free_id: 165_536,
            subuids: vec![Range { start: HostUid::new(100_000), count: 65_536 }],
            subgids: vec![Range { start: HostGid::new(100_000), count: 65_536 }],
            ..Caller::for_tests()
        }
    }

    #[test]
    fn tells_what_somebody_inside_could_write_to() {
        let of_user = IdMap::range(&caller(1000)).unwrap();
        let root = Caller { subuids: vec![], ..caller(0) };
        let of_root = IdMap::range(&root).unwrap();
        for (owner, mode, map, expected) in [
            (0, 0o100_755, &of_user, true),
            (0, 0o100_775, &of_user, false),
            (0, 0o100_757, &of_user, false),
            (1000, 0o100_555, &of_user, false),
            (100_001, 0o100_755, &of_user, false),
            (1001, 0o100_755, &of_user, true),
            (0, 0o100_755, &of_root, false),
        ] {
            let owner = HostUid::new(owner);
            assert_eq!(is_out_of_reach(owner, mode, map), expected, "{owner} {mode:o} {map:?}");
        }
    }
}
