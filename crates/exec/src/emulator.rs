//! Finding QEMU's user-mode emulators.
//!
//! The kernel opens an emulator when it is registered, and runs it inside root file systems that
//! know nothing of it. So it has to be one static file: a dynamic program would look for its loader
//! and libraries in the image.
//!
//! An emulator is read once: the bytes that were hashed and tried out are those that are registered,
//! whatever happens to the file meanwhile.

mod program;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Access;
use xbuild_model::Digest;

pub use self::program::MAX_PROGRAM;
use self::program::{Program, load_error};
use crate::arch::Arch;
use crate::binfmt::Registration;
use crate::error::EmulationError;

/// An emulator that was found and loaded: a static program of the host for programs of `arch`.
#[derive(Debug, Clone)]
pub struct Emulator {
    /// The architecture whose programs it runs.
    pub arch: Arch,
    /// Its path; absolute.
    pub path: PathBuf,
    /// The name of its file, such as `qemu-aarch64`.
    pub name: String,
    /// Where it was found.
    pub origin: Origin,
    /// The SHA-256 of its file.
    pub digest: Digest,
    /// The version that it says, such as `9.2.0`.
    pub version: Option<String>,
    /// Whether the starter of twins is in front of it.
    has_starter: bool,
    /// A copy in a sealed memory file, from which it is executed.
    ///
    /// The file on disk belongs to the user, who is root inside the namespace: a step must not get
    /// at it through the `exe` link of its own, emulated processes.
    program: Arc<OwnedFd>,
}

/// The kind of place in which an emulator was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was installed for xbuild, see [`Installed`].
    Installed,
    /// A folder of `PATH`, or a file that was named.
    Path,
    /// The interpreter of an entry in the host's binfmt_misc.
    Host,
}

/// An emulator that the user installed for xbuild. It comes before all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The architecture whose programs it runs.
    pub arch: Arch,
    /// The name that its file had.
    pub name: String,
    /// The path of its file; absolute.
    pub path: PathBuf,
    /// The SHA-256 that its file had when it was installed.
    pub digest: Digest,
}

/// A file that may be an emulator.
#[derive(Debug)]
pub struct Candidate {
    /// Where it is.
    pub origin: Origin,
    /// Its path; absolute.
    pub path: PathBuf,
    /// The emulator, or why the file is none.
    pub loaded: Result<Emulator, EmulationError>,
}

/// Returns the candidates for programs of `arch`, the first that would be taken first: an installed
/// one; `qemu-ARCH-static`, then `qemu-ARCH`, in the folders of `search_path` (the format of `PATH`);
/// the files of `registered`. Each is loaded when it is asked for.
///
/// Relative folders are skipped: the working directory is often a build context, which must not
/// supply programs.
pub fn candidates<'a>(
    arch: Arch,
    installed: &'a [Installed],
    search_path: &'a OsStr,
    registered: &'a [PathBuf],
) -> impl Iterator<Item = Candidate> + 'a {
    let installed = installed.iter().filter(move |installed| installed.arch == arch);
    let installed = installed.map(|installed| Candidate {
        origin: Origin::Installed,
        path: installed.path.clone(),
        loaded: installed.load(),
    });
    let in_path = in_path(arch, search_path).map(|path| (Origin::Path, path));
    let others = registered.iter().map(|path| (Origin::Host, path.clone()));
    let is_program =
        |path: &Path| path.is_absolute() && rustix::fs::access(path, Access::EXEC_OK).is_ok();
    let others = in_path.chain(others).filter(move |(_, path)| is_program(path));
    installed.chain(others.map(move |(origin, path)| Candidate {
        origin,
        loaded: Emulator::load(arch, &path).map(|emulator| Emulator { origin, ..emulator }),
        path,
    }))
}

/// Returns the first of these [`candidates`] that can be loaded; `None` if there is no candidate.
///
/// **Errors** — that of an installed one, which the others do not replace; else
/// [`EmulationError::Unusable`] or [`EmulationError::Load`] about the first candidate if no candidate
/// will do.
pub fn find(
    arch: Arch,
    installed: &[Installed],
    search_path: &OsStr,
    registered: &[PathBuf],
) -> Result<Option<Emulator>, EmulationError> {
    let mut first_error = None;
    for candidate in candidates(arch, installed, search_path, registered) {
        match candidate.loaded {
            Ok(emulator) => return Ok(Some(emulator)),
            Err(error) if candidate.origin == Origin::Installed => return Err(error),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    first_error.map_or(Ok(None), Err)
}

impl Installed {
    /// Loads the emulator.
    ///
    /// **Errors** — [`EmulationError::Damaged`] if its file is missing or has other bytes, and those
    /// of [`Emulator::load`].
    fn load(&self) -> Result<Emulator, EmulationError> {
        let damaged = |cause| EmulationError::Damaged {
            name: self.name.clone(),
            architecture: self.arch.oci_name(),
            path: self.path.display().to_string(),
            cause,
        };
        let emulator = Emulator::load(self.arch, &self.path);
        let emulator = emulator.map_err(|error| damaged(Some(Box::new(error))))?;
        if emulator.digest != self.digest {
            return Err(damaged(None));
        }
        Ok(Emulator { name: self.name.clone(), origin: Origin::Installed, ..emulator })
    }
}

impl Emulator {
    /// Reads the file at the absolute path `path` and copies it into memory.
    ///
    /// **Errors** — [`EmulationError::Load`]; [`EmulationError::Unusable`] for a file that is not a
    /// static program of the host.
    pub fn load(arch: Arch, path: &Path) -> Result<Self, EmulationError> {
        let program = Program::read(arch, path)?;
        let (digest, version) = (program.digest.clone(), program.version.clone());
        let (sealed, has_starter) =
            program.seal(arch).map_err(|source| load_error(path, source))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (path, program) = (path.to_owned(), Arc::new(sealed));
        Ok(Self { arch, path, name, origin: Origin::Path, digest, version, has_starter, program })
    }

    /// Returns the emulator for [`register`](crate::binfmt::register).
    ///
    /// **Errors** — [`EmulationError::Load`] if no more files can be opened.
    pub fn registration(&self) -> Result<Registration, EmulationError> {
        let program = self.program.try_clone();
        let interpreter = program.map_err(|source| load_error(&self.path, source))?;
        Ok(Registration { arch: self.arch, interpreter })
    }

    /// Returns whether it can count the programs that it runs, and run their twins. Only a file of an
    /// unusual form cannot.
    pub fn counts(&self) -> bool {
        self.has_starter
    }

    /// Returns the bytes that are executed.
    ///
    /// **Errors** — [`EmulationError::Load`].
    pub fn bytes(&self) -> Result<Vec<u8>, EmulationError> {
        let read = || {
            let file = File::from(self.program.try_clone()?);
            let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or(0)];
            file.read_exact_at(&mut bytes, 0)?;
            Ok(bytes)
        };
        read().map_err(|source| load_error(&self.path, source))
    }

    /// Returns where it is, for display.
    pub fn place(&self) -> String {
        match self.origin {
            Origin::Installed => format!("the installed {}", self.name),
            Origin::Path | Origin::Host => self.path.display().to_string(),
        }
    }

    /// Returns a memory file to execute it from.
    pub(crate) fn program(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }
}

impl PartialEq for Emulator {
    fn eq(&self, other: &Self) -> bool {
        let key = |emulator: &Self| (emulator.arch, emulator.path.clone(), emulator.digest.clone());
        key(self) == key(other)
    }
}

impl Eq for Emulator {}

impl fmt::Display for Emulator {
    /// Writes name, digest and version.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.digest)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, " (QEMU {version})"))
    }
}

/// Returns the files in the absolute folders of `search_path`, each once: `/bin` may be a link to `/usr/bin`.
fn in_path(arch: Arch, search_path: &OsStr) -> impl Iterator<Item = PathBuf> {
    let mut seen = HashSet::new();
    let paths = file_names(arch)
        .into_iter()
        .flat_map(|name| std::env::split_paths(search_path).map(move |folder| folder.join(&name)));
    paths.filter(|path| path.is_absolute()).filter(move |path| {
        let file = std::fs::metadata(path).ok();
        file.is_none_or(|file| seen.insert((file.dev(), file.ino())))
    })
}

/// Returns the names that files of emulators have, the better one first.
pub fn file_names(arch: Arch) -> [String; 2] {
    [format!("qemu-{}-static", arch.qemu_name()), format!("qemu-{}", arch.qemu_name())]
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
        let found = || find(Arch::Arm64, &[], &path, &[]).unwrap().map(|emulator| emulator.path);
        assert_eq!(found(), Some(plain));
        let fixed = put(&two, "qemu-aarch64-static", &host);
        assert_eq!(found(), Some(fixed));
        assert_eq!(find(Arch::S390x, &[], &path, &[]).unwrap(), None);
        assert_eq!(find(Arch::Arm64, &[], OsStr::new("."), &[]).unwrap(), None);
    }

    #[test]
    fn a_file_with_two_paths_is_one_candidate() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("usr"), dir.path().join("bin"));
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink("usr", &link).unwrap();
        let first = put(&real, "qemu-aarch64-static", &tiny_elf::program(Arch::Arm64));
        std::os::unix::fs::symlink("qemu-aarch64-static", real.join("qemu-aarch64")).unwrap();
        let path = std::env::join_paths([&real, &link, &real]).unwrap();
        let found: Vec<PathBuf> =
            candidates(Arch::Arm64, &[], &path, &[]).map(|candidate| candidate.path).collect();
        assert_eq!(found, [first]);
    }

    #[test]
    fn an_installed_one_comes_first_and_must_be_what_was_installed() {
        let dir = tempfile::tempdir().unwrap();
        let host = tiny_elf::program(Arch::host().unwrap());
        let in_path = put(dir.path(), "qemu-aarch64-static", &host);
        let path = put(dir.path(), "HEX", &host);
        let (name, digest) = ("qemu-aarch64".to_owned(), Digest::of(&host));
        let installed = [Installed { arch: Arch::Arm64, name, path: path.clone(), digest }];
        let found = |arch| find(arch, &installed, dir.path().as_os_str(), &[]);
        let first = found(Arch::Arm64).unwrap().unwrap();
        assert_eq!(
            (first.origin, &*first.name, &first.path),
            (Origin::Installed, "qemu-aarch64", &path)
        );
        assert_eq!(found(Arch::S390x).unwrap(), None);
        // The one in PATH does not stand in for it.
        for damage in ["changed", "missing"] {
            match damage {
                "changed" => std::fs::write(&path, [&host[..], b"x"].concat()).unwrap(),
                _ => std::fs::remove_file(&path).unwrap(),
            }
            let error = crate::error::in_words(&found(Arch::Arm64).unwrap_err());
            assert!(error.contains("qemu-aarch64") && error.contains("damaged"), "{error}");
        }
        let all: Vec<PathBuf> = candidates(Arch::Arm64, &installed, dir.path().as_os_str(), &[])
            .map(|candidate| candidate.path)
            .collect();
        assert_eq!(all, [path, in_path]);
    }

    #[test]
    fn what_was_loaded_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let host = tiny_elf::program(Arch::host().unwrap());
        let path = put(dir.path(), "qemu-s390x", &host);
        let emulator = Emulator::load(Arch::S390x, &path).unwrap();
        std::fs::write(&path, "changed").unwrap();
        let mut bytes = Vec::new();
        let file = emulator.registration().unwrap().interpreter;
        std::io::Read::read_to_end(&mut std::fs::File::from(file), &mut bytes).unwrap();
        assert_eq!((emulator.digest, bytes), (Digest::of(&host), host));
    }

    #[test]
    fn what_cannot_serve_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let reason = |contents: &[u8]| {
            put(dir.path(), "qemu-riscv64", contents);
            find(Arch::Riscv64, &[], dir.path().as_os_str(), &[]).unwrap_err().to_string()
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
