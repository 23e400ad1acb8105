//! The file of an emulator: its check, its version, and its copy in memory.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use xbuild_model::Digest;

use crate::arch::{Arch, IDENTITY};
use crate::error::EmulationError;
use crate::sealed::sealed_copy;

/// The largest file in bytes that is taken for an emulator. QEMU's have 4 to 20 MiB.
pub const MAX_PROGRAM: u64 = 256 << 20;

/// The longest version that is shown, in bytes.
const MAX_VERSION: usize = 40;

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

/// A program that can serve as an emulator.
pub(super) struct Program {
    /// The SHA-256 of its file.
    pub(super) digest: Digest,
    /// The version that it says.
    pub(super) version: Option<String>,
    bytes: Vec<u8>,
}

impl Program {
    /// Reads a file and checks that it can serve as an emulator of `arch`.
    ///
    /// **Errors** — [`EmulationError::Load`] and [`EmulationError::Unusable`].
    pub(super) fn read(arch: Arch, path: &Path) -> Result<Self, EmulationError> {
        let file = File::open(path).map_err(|source| load_error(path, source))?;
        Self::of_file(arch, path, file)
    }

    fn of_file(arch: Arch, path: &Path, file: File) -> Result<Self, EmulationError> {
        let failed = |source| load_error(path, source);
        let unusable = |reason| unusable(path, reason);
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(unusable("it is not a file"));
        }
        let mut bytes = Vec::new();
        file.take(MAX_PROGRAM + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_PROGRAM {
            return Err(unusable("it is larger than 256 MiB"));
        }
        let host = Arch::host().ok_or_else(|| unusable("the host's architecture is unknown"))?;
        check_static(&bytes, host).map_err(unusable)?;
        Ok(Self { digest: Digest::of(&bytes), version: version(&bytes, arch), bytes })
    }

    /// Copies the program into a sealed memory file, with the starter of twins in front of it; the second
    /// value is whether it could be put there. Most variables that steer QEMU have no effect on the
    /// copy, see [`TAKEN`].
    pub(super) fn seal(mut self, arch: Arch) -> io::Result<(OwnedFd, bool)> {
        disarm(&mut self.bytes);
        let processor = self.processor(arch).unwrap_or_default();
        let started = crate::twins::graft(&self.bytes, processor);
        let copy = sealed_copy(c"emulator", started.as_deref().unwrap_or(&self.bytes))?;
        Ok((copy, started.is_some()))
    }

    /// Returns the processor to emulate where the emulator's own choice is slow.
    ///
    /// QEMU up to version 9 computes pointer authentication of `linux/arm64` by the algorithm of the
    /// architecture, for each function call of Debian 13 and others. Its own one is for programs the
    /// same, and the default from version 10 on.
    fn processor(&self, arch: Arch) -> Option<&'static str> {
        let major: u32 = self.version.as_ref()?.split('.').next()?.parse().ok()?;
        let has_choice = || memchr::memmem::find(&self.bytes, b"\0pauth-impdef\0").is_some();
        (arch == Arch::Arm64 && major < 10 && has_choice()).then_some("max,pauth-impdef=on")
    }
}

/// Returns the version that an emulator of `arch` prints when it is asked, without asking it: the
/// program has the line as a constant.
fn version(program: &[u8], arch: Arch) -> Option<String> {
    let start = format!("qemu-{} version ", arch.qemu_name());
    let at = memchr::memmem::find(program, start.as_bytes())? + start.len();
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || b".-+~_".contains(byte);
    let text: Vec<u8> =
        program[at..].iter().take(MAX_VERSION).take_while(is_part).copied().collect();
    String::from_utf8(text).ok().filter(|text| !text.is_empty())
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

pub(super) fn load_error(path: &Path, source: io::Error) -> EmulationError {
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
    use super::*;

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
    fn a_slow_choice_of_the_emulator_is_replaced() {
        let of = |arch, version: Option<&str>, bytes: &[u8]| {
            let version = version.map(str::to_owned);
            let program = Program { digest: Digest::of(b""), version, bytes: bytes.to_vec() };
            program.processor(arch)
        };
        let (option, quick) = (b"x\0pauth-impdef\0", Some("max,pauth-impdef=on"));
        assert_eq!(of(Arch::Arm64, Some("7.2.22"), option), quick);
        assert_eq!(of(Arch::Arm64, Some("9.2.0-rc1"), option), quick);
        for (arch, version, bytes) in [
            (Arch::Arm64, Some("10.0.0"), &option[..]),
            (Arch::Arm64, Some("5.2.0"), b"x\0pauth\0"),
            (Arch::Arm64, None, option),
            (Arch::Arm, Some("7.2.22"), option),
        ] {
            assert_eq!(of(arch, version, bytes), None, "{arch:?} {version:?}");
        }
    }

    #[test]
    fn the_version_is_read_from_the_constants() {
        let of = |program: &[u8]| version(program, Arch::Arm64);
        assert_eq!(of(b"x\0qemu-aarch64 version 9.2.0 (Debian 1:9)\nC"), Some("9.2.0".to_owned()));
        assert_eq!(of(b"qemu-aarch64 version 10.0.0-rc1\0"), Some("10.0.0-rc1".to_owned()));
        assert_eq!(of(b"qemu-aarch64 version \x1b[31m"), None);
        assert_eq!(of(b"qemu-arm version 9.2.0\0"), None);
        let long = [b"qemu-aarch64 version ", &[b'1'; 1000][..]].concat();
        assert_eq!(of(&long), Some("1".repeat(MAX_VERSION)));
    }
}
