//! `binfmt_misc`: telling the kernel which emulator runs which programs.
//!
//! Since Linux 6.7 every user namespace may have an instance of its own. It is mounted without a
//! place in any tree, so no step can see it, and it lives as long as the descriptor is open in the
//! process that holds the namespace. The host's instance is only read.
//!
//! The host's entries do not count in a namespace that has an instance: every emulator that a build
//! needs must be registered there.
//!
//! Source: kernel `Documentation/admin-guide/binfmt-misc.rst`; `fsopen(2)`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use xbuild_model::Digest;

use crate::arch::Arch;
use crate::error::EmulationError;
use crate::twins::MAGIC_START;

/// The mount point of the host's instance.
pub const HOST_INSTANCE: &str = "/proc/sys/fs/binfmt_misc";

const MAGIC: u64 = 0x4249_4e4d;

/// The inode number of `/proc/self/ns/user` in the initial user namespace, fixed by the kernel.
const INITIAL_USER_NAMESPACE: u64 = 0xefff_fffd;

/// A `binfmt_misc` of the calling process's user namespace. Dropping it ends its registrations,
/// unless a forked child still has it open.
#[derive(Debug)]
pub struct PrivateInstance {
    mount: OwnedFd,
}

/// An emulator to be registered.
#[derive(Debug)]
pub struct Registration {
    /// The architecture whose programs it runs.
    pub arch: Arch,
    /// The emulator's file, see [`Emulator::load`](crate::emulator::Emulator::load). It may be
    /// closed once registered.
    pub interpreter: OwnedFd,
}

/// Mounts an empty instance for the calling process's user namespace. Does not allocate.
///
/// **Errors** — [`EmulationError::HostNamespace`] in the initial user namespace,
/// [`EmulationError::SharedInstance`] if the namespace has one already or the kernel gave the
/// host's, [`EmulationError::Mount`] if the kernel refuses, or has no private ones (before 6.7).
pub fn mount_private() -> Result<PrivateInstance, EmulationError> {
    let failed = |errno: Errno| EmulationError::Mount { source: errno.into() };
    let namespace = rustix::fs::stat(c"/proc/self/ns/user").map_err(failed)?;
    if namespace.st_ino == INITIAL_USER_NAMESPACE {
        return Err(EmulationError::HostNamespace);
    }
    let mount = mount_detached().map_err(failed)?;
    let ours = rustix::fs::fstat(&mount).map_err(failed)?;
    let kind = rustix::fs::fstatfs(&mount).map_err(failed)?;
    let host = rustix::fs::stat(c"/proc/sys/fs/binfmt_misc");
    let shared = host.is_ok_and(|host| host.st_dev == ours.st_dev);
    if kind.f_type as u64 != MAGIC || shared || !is_empty(&mount).map_err(failed)? {
        return Err(EmulationError::SharedInstance);
    }
    Ok(PrivateInstance { mount })
}

/// Registers emulators in a private instance, in order, none of an architecture twice.
///
/// **Errors** — [`EmulationError::Register`]; those before it stay registered.
pub fn register(
    instance: &PrivateInstance,
    registrations: &[Registration],
) -> Result<(), EmulationError> {
    for Registration { arch, interpreter } in registrations {
        let line = registration_line(*arch, interpreter.as_raw_fd());
        instance.write_line(&line).map_err(|errno| EmulationError::Register {
            architecture: arch.oci_name(),
            source: errno.into(),
        })?;
    }
    Ok(())
}

impl AsFd for PrivateInstance {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.mount.as_fd()
    }
}

impl PrivateInstance {
    /// Writes one line to the instance's `register` file. Does not allocate.
    pub(crate) fn write_line(&self, line: &[u8]) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.mount, c"register", flags, Mode::empty())?;
        rustix::io::write(&file, line).map(drop)
    }
}

/// Returns the line that registers the emulator behind the descriptor `fd` of the writing process.
///
/// The flags: `F`, the emulator is opened now and not looked up in the image; `P`, the program
/// keeps its `argv[0]`; `O`, the emulator gets the program open, so that programs work that may be
/// run but not read; `C`, a program with the set-user-ID or set-group-ID bit or with file
/// capabilities gets what the step's own namespace gives it, as it does without an emulator: the
/// instance serves no other namespace. See [`emulator::load`](crate::emulator::Emulator::load) for
/// the variables that would steer the emulator of such a program.
pub(crate) fn registration_line(arch: Arch, fd: RawFd) -> Vec<u8> {
    let pattern = arch.pattern();
    let (magic, mask) = (escape(&pattern.magic), escape(&pattern.mask));
    format!(":xbuild-{}:M::{magic}:{mask}:/proc/self/fd/{fd}:FPOC", arch.oci_name()).into_bytes()
}

/// Returns the line that registers an emulator for one program, which begins with these bytes. Flags
/// as in [`registration_line`].
pub(crate) fn twin_line(magic: &[u8], fd: RawFd) -> Vec<u8> {
    let name = &Digest::of(magic).hex()[..32];
    let offset = MAGIC_START;
    let magic = escape(magic);
    format!(":twin-{name}:M:{offset}:{magic}::/proc/self/fd/{fd}:FPOC").into_bytes()
}

/// Returns bytes as a line of `register` has them.
fn escape(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

fn mount_detached() -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(c"binfmt_misc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    rustix::mount::fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC,
    )
}

/// Returns whether an instance has no entries.
fn is_empty(mount: &OwnedFd) -> Result<bool, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(mount, c".", flags, Mode::empty())?;
    let mut buffer = [std::mem::MaybeUninit::uninit(); 2048];
    let mut entries = RawDir::new(folder, &mut buffer);
    while let Some(entry) = entries.next() {
        if !matches!(entry?.file_name().to_bytes(), b"." | b".." | b"register" | b"status") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// An entry of the host's instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEntry {
    /// Its name.
    pub name: String,
    /// Whether it is in force.
    pub enabled: bool,
    /// The program that it names; with the flag `F` it need not exist here.
    pub interpreter: PathBuf,
    /// Its flags, one letter each.
    pub flags: String,
    offset: usize,
    magic: Vec<u8>,
    mask: Vec<u8>,
}

impl HostEntry {
    /// Returns whether the interpreter was opened when it was registered (flag `F`), so that it is
    /// not looked up in the image.
    pub fn is_fixed(&self) -> bool {
        self.flags.contains('F')
    }

    /// Returns whether it is in force for a file with these contents.
    pub(crate) fn serves(&self, file: &[u8]) -> bool {
        let part =
            self.offset.checked_add(self.magic.len()).and_then(|end| file.get(self.offset..end));
        let masks = self.mask.iter().copied().chain(std::iter::repeat(0xff));
        self.enabled
            && !self.magic.is_empty()
            && part.is_some_and(|part| {
                part.iter().zip(&self.magic).zip(masks).all(|((a, b), mask)| a & mask == b & mask)
            })
    }
}

/// Reads the entries of the instance mounted at `folder` (see [`HOST_INSTANCE`]), by name; those
/// that recognise files by their extension are left out.
///
/// **Shape** — empty if none is mounted there, or if all are disabled.
pub fn host_entries(folder: &Path) -> io::Result<Vec<HostEntry>> {
    let Ok(status) = std::fs::read_to_string(folder.join("status")) else {
        return Ok(Vec::new());
    };
    if status.trim() != "enabled" {
        return Ok(Vec::new());
    }
    let mut entries = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        if matches!(name.as_str(), "register" | "status") {
            continue;
        }
        // An entry may go away between the listing and here.
        if let Ok(text) = std::fs::read_to_string(file.path()) {
            entries.extend(parse_entry(&name, &text));
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn parse_entry(name: &str, text: &str) -> Option<HostEntry> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let magic = from_hex(value("magic ")?)?;
    Some(HostEntry {
        name: name.to_owned(),
        enabled: text.lines().next()? == "enabled",
        interpreter: PathBuf::from(value("interpreter ")?),
        flags: value("flags:").unwrap_or_default().to_owned(),
        offset: value("offset ")?.parse().ok()?,
        mask: value("mask ").map_or_else(|| Some(Vec::new()), from_hex)?,
        magic,
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiny_elf;

    const ENTRY: &str = "enabled\ninterpreter /usr/bin/qemu-aarch64\nflags: POF\noffset 0\n\
        magic 7f454c460201010000000000000000000200b700\n\
        mask ffffffffffffff00fffffffffffffffffeffffff\n";

    #[test]
    fn reads_entries_as_the_kernel_writes_them() {
        let entry = parse_entry("qemu-aarch64", ENTRY).unwrap();
        assert!(entry.enabled && entry.is_fixed());
        assert_eq!(entry.interpreter, Path::new("/usr/bin/qemu-aarch64"));
        for arch in Arch::ALL {
            assert_eq!(entry.serves(&tiny_elf::program(arch)), arch == Arch::Arm64, "{arch:?}");
        }
        assert!(!entry.serves(b"\x7fELF"));
        let off = parse_entry("x", &ENTRY.replace("enabled", "disabled")).unwrap();
        assert!(!off.serves(&tiny_elf::program(Arch::Arm64)));
        let loose = parse_entry("x", &ENTRY.replace("POF", "P")).unwrap();
        assert!(!loose.is_fixed());
        for bad in ["", "enabled\n", "enabled\ninterpreter x\nflags: \nextension .exe\n"] {
            assert_eq!(parse_entry("x", bad), None);
        }
        assert_eq!(parse_entry("x", &ENTRY.replace("offset 0", "offset -1")), None);
    }

    #[test]
    fn a_line_names_the_descriptor_and_escapes_everything() {
        let line = String::from_utf8(registration_line(Arch::S390x, 7)).unwrap();
        assert!(line.starts_with(":xbuild-s390x:M::\\x7f\\x45\\x4c\\x46\\x02\\x02\\x01\\x00"));
        assert!(line.ends_with(":/proc/self/fd/7:FPOC"));
        assert_eq!(line.split(':').count(), 8);
    }

    #[test]
    fn the_hosts_namespace_is_refused() {
        if std::fs::metadata("/proc/self/ns/user")
            .is_ok_and(|meta| std::os::unix::fs::MetadataExt::ino(&meta) == INITIAL_USER_NAMESPACE)
        {
            assert!(matches!(mount_private(), Err(EmulationError::HostNamespace)));
        } else {
            println!("skipped: not in the initial user namespace");
        }
    }

    #[test]
    fn no_instance_has_no_entries() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(host_entries(dir.path()).unwrap(), []);
        std::fs::write(dir.path().join("status"), "disabled\n").unwrap();
        std::fs::write(dir.path().join("qemu-aarch64"), ENTRY).unwrap();
        assert_eq!(host_entries(dir.path()).unwrap(), []);
        std::fs::write(dir.path().join("status"), "enabled\n").unwrap();
        assert_eq!(host_entries(dir.path()).unwrap().len(), 1);
    }
}
