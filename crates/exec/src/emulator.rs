//! Finding QEMU's user-mode emulators.
//!
//! The kernel opens an emulator when it is registered, and runs it inside root file systems that
//! know nothing of it. So it has to be one static file: a dynamic program would look for its loader
//! and libraries in the image.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use crate::arch::{Arch, IDENTITY};
use crate::binfmt::Registration;
use crate::error::EmulationError;
use crate::sealed::sealed_copy;

/// An emulator that was found: a static program of the host for programs of `arch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emulator {
    /// The architecture whose programs it runs.
    pub arch: Arch,
    /// Its path; absolute.
    pub path: PathBuf,
}

/// The first bytes of a program, enough for its program headers in practice.
const HEADER_BYTES: u64 = 4096;

/// The variables by which a step may steer its emulators. A user of the step may also give them to a
/// set-user-ID program of root, whose emulator then has root's rights in the step. All others would
/// let that user choose the program's loader, write files or attach a debugger there, as the kernel
/// and the C library prevent it where nothing is emulated.
const TAKEN: [&str; 6] = [
    "QEMU_CPU",
    "QEMU_PAGESIZE",
    "QEMU_RESERVED_VA",
    "QEMU_STACK_SIZE",
    "QEMU_UNAME",
    "QEMU_VERSION",
];

/// Looks for an emulator: `qemu-ARCH-static`, then `qemu-ARCH`, in the folders of `search_path`
/// (the format of `PATH`), then the files of `others`.
///
/// Relative folders are skipped: the working directory is often a build context, which must not
/// supply programs.
///
/// **Errors** — [`EmulationError::Unusable`] or [`EmulationError::Load`] about the first candidate
/// if no candidate will do. `Ok(None)` if there is no candidate.
pub fn find(
    arch: Arch,
    search_path: &OsStr,
    others: &[PathBuf],
) -> Result<Option<Emulator>, EmulationError> {
    let mut first_error = None;
    for path in candidates(arch, search_path).chain(others.iter().cloned()) {
        if !path.is_absolute() || rustix::fs::access(&path, Access::EXEC_OK).is_err() {
            continue;
        }
        match open(&path) {
            Ok(_) => return Ok(Some(Emulator { arch, path })),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    first_error.map_or(Ok(None), Err)
}

impl Emulator {
    /// Copies the emulator into a sealed memory file, from which it can be registered.
    ///
    /// The file on disk belongs to the user, who is root inside the namespace: a step must not get
    /// at it through the `exe` link of its own, emulated processes. Most variables that steer QEMU
    /// have no effect on the copy, see [`TAKEN`].
    ///
    /// **Errors** — [`EmulationError::Load`] or [`EmulationError::Unusable`].
    pub fn load(&self) -> Result<OwnedFd, EmulationError> {
        let failed = |source| load_error(&self.path, source);
        let mut program = Vec::new();
        open(&self.path)?.read_to_end(&mut program).map_err(failed)?;
        disarm(&mut program);
        sealed_copy(c"emulator", &program[..]).map_err(failed)
    }

    /// Loads the emulator for [`register`](crate::binfmt::register).
    ///
    /// **Errors** — as [`Emulator::load`].
    pub fn registration(&self) -> Result<Registration, EmulationError> {
        Ok(Registration { arch: self.arch, interpreter: self.load()? })
    }
}

/// Takes away the variables that are not [`TAKEN`]: their names, in the program's constants, become
/// empty, and no variable has an empty name.
fn disarm(program: &mut [u8]) {
    const START: &[u8] = b"\0QEMU_";
    let found: Vec<usize> = memchr::memmem::find_iter(program, START).map(|at| at + 1).collect();
    for at in found {
        let length = program[at..].iter().position(|byte| !is_of_name(*byte)).unwrap_or(0);
        let name = &program[at..at + length];
        // A text that only begins like a name is left alone.
        let is_whole = program.get(at + length) == Some(&0);
        if is_whole && TAKEN.iter().all(|taken| taken.as_bytes() != name) {
            program[at] = 0;
        }
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
}

fn candidates(arch: Arch, search_path: &OsStr) -> impl Iterator<Item = PathBuf> {
    let names = [format!("qemu-{}-static", arch.qemu_name()), format!("qemu-{}", arch.qemu_name())];
    names
        .into_iter()
        .flat_map(|name| std::env::split_paths(search_path).map(move |folder| folder.join(&name)))
}

/// Opens a program and checks that it can serve as an emulator.
fn open(path: &Path) -> Result<File, EmulationError> {
    let failed = |source| load_error(path, source);
    let mut file = File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(unusable(path, "it is not a file"));
    }
    let mut head = Vec::new();
    file.by_ref().take(HEADER_BYTES).read_to_end(&mut head).map_err(failed)?;
    file.rewind().map_err(failed)?;
    let host = Arch::host().ok_or_else(|| unusable(path, "the host's architecture is unknown"))?;
    check_static(&head, host).map_err(|reason| unusable(path, reason))?;
    Ok(file)
}

fn load_error(path: &Path, source: io::Error) -> EmulationError {
    EmulationError::Load { path: path.display().to_string(), source }
}

fn unusable(path: &Path, reason: &'static str) -> EmulationError {
    EmulationError::Unusable { path: path.display().to_string(), reason }
}

/// Checks that a file beginning with `head` is a static program of `host`.
fn check_static(head: &[u8], host: Arch) -> Result<(), &'static str> {
    const PT_INTERP: u64 = 3;
    if !host.pattern().matches(head) {
        return Err("it is not a program of this machine");
    }
    let field = |at: usize, length: usize| -> Option<u64> {
        let bytes = head.get(at..at.checked_add(length)?)?;
        let push = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(match host.is_little_endian() {
            true => bytes.iter().rev().fold(0, push),
            false => bytes.iter().fold(0, push),
        })
    };
    // e_phoff, e_phentsize, e_phnum, after the identity and e_version.
    let (offset, size, count) = match host.is_64_bit() {
        true => (field(IDENTITY + 12, 8), field(54, 2), field(56, 2)),
        false => (field(IDENTITY + 8, 4), field(42, 2), field(44, 2)),
    };
    let headers = offset.zip(size).zip(count).ok_or("its ELF header is cut off")?;
    let ((offset, size), count) = headers;
    for index in 0..count {
        let at = offset.saturating_add(index * size);
        let kind = usize::try_from(at).ok().and_then(|at| field(at, 4));
        if kind.ok_or("its program headers are not where they are expected")? == PT_INTERP {
            return Err("it is dynamically linked, so it would need its libraries in the image");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::tiny_elf;

    fn put(folder: &Path, name: &str, contents: &[u8]) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, contents).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn the_static_name_comes_first_and_relative_folders_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        std::fs::create_dir(&one).unwrap();
        std::fs::create_dir(&two).unwrap();
        let host = tiny_elf::program(Arch::host().unwrap());
        let plain = put(&one, "qemu-aarch64", &host);
        let path = std::env::join_paths([Path::new("relative"), &one, &two]).unwrap();
        let found = || find(Arch::Arm64, &path, &[]).unwrap().map(|emulator| emulator.path);
        assert_eq!(found(), Some(plain));
        let fixed = put(&two, "qemu-aarch64-static", &host);
        assert_eq!(found(), Some(fixed));
        assert_eq!(find(Arch::S390x, &path, &[]).unwrap(), None);
        assert_eq!(find(Arch::Arm64, OsStr::new("."), &[]).unwrap(), None);
    }

    #[test]
    fn variables_that_could_harm_have_no_effect() {
        let mut program = b"\0QEMU_CPU\0QEMU_LOG_FILENAME\0see QEMU_GDB\0QEMU_SET_ENV or \0\
            MY_QEMU_GDB\0QEMU_NEW1\0QEMU_"
            .to_vec();
        disarm(&mut program);
        let expected = b"\0QEMU_CPU\0\0EMU_LOG_FILENAME\0see QEMU_GDB\0QEMU_SET_ENV or \0\
            MY_QEMU_GDB\0\0EMU_NEW1\0QEMU_";
        assert_eq!(program, expected);
    }

    #[test]
    fn what_cannot_serve_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let reason = |contents: &[u8]| {
            put(dir.path(), "qemu-riscv64", contents);
            find(Arch::Riscv64, dir.path().as_os_str(), &[]).unwrap_err().to_string()
        };
        assert!(reason(b"#!/bin/sh\n").contains("not a program of this machine"));
        assert!(reason(&tiny_elf::program(Arch::S390x)).contains("not a program of this machine"));
        let host = tiny_elf::program(Arch::host().unwrap());
        assert!(reason(&host[..30]).contains("cut off"));
        let mut dynamic = host.clone();
        dynamic[64] = 3;
        assert!(reason(&dynamic).contains("dynamically linked"));
        let mut wild = host;
        wild[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(reason(&wild).contains("not where they are expected"));
    }
}
