//! Putting the starter in front of an emulator.
//!
//! The starter becomes a segment of its own, behind those of the emulator; the header of a note,
//! which no program reads about itself, becomes the header of that segment.

use super::elf::{Elf, PT_LOAD, PT_NOTE, Segment};

/// The starter, as `build.rs` compiled it; empty if this machine's processor has no twins.
pub(super) static STARTER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/starter"));

/// What the starter calls its own data, see `starter/sys.rs`.
const MARK: &[u8; 16] = b"xbuild's starter";

const PAGE: u64 = 4096;
/// Emulators may want larger pages than the machine's.
const DISTANCE: u64 = 64 << 10;
const READ_AND_EXECUTE: u32 = 5;
/// Where `e_entry` is.
const ENTRY: usize = 24;
/// Bytes of a processor's name and options, with the zero at the end.
const PROCESSOR: usize = 32;

/// Returns the emulator with the starter in front of it, which looks for twins, counts programs where the
/// step has a pipe for that, and tells the emulator the `processor`, if that is not empty. `None` if the
/// emulator is not of the usual form.
pub(crate) fn graft(emulator: &[u8], processor: &str) -> Option<Vec<u8>> {
    let (elf, starter) = (Elf::parse(emulator)?, Elf::parse(STARTER)?);
    if elf.machine != starter.machine || elf.is_fixed {
        return None;
    }
    let note = elf.header_of(PT_NOTE)?;
    let loaded = elf.segments().filter(|segment| segment.kind == PT_LOAD);
    let end = loaded.map(|segment| segment.address.saturating_add(segment.memory_size)).max()?;
    let address = end.checked_next_multiple_of(DISTANCE)?;
    let mut image = image(&starter)?;
    let mark = image.windows(MARK.len()).position(|part| part == MARK)? + MARK.len();
    let code = address.checked_add(starter.entry)?;
    image.get_mut(mark..mark + 8)?.copy_from_slice(&code.to_le_bytes());
    image.get_mut(mark + 8..mark + 16)?.copy_from_slice(&elf.entry.to_le_bytes());
    let name = Some(processor.as_bytes()).filter(|name| name.len() < PROCESSOR)?;
    image.get_mut(mark + 16..mark + 16 + name.len())?.copy_from_slice(name);
    let mut out = emulator.to_vec();
    out.resize(emulator.len().checked_next_multiple_of(PAGE as usize)?, 0);
    let segment = Segment {
        kind: PT_LOAD,
        flags: READ_AND_EXECUTE,
        offset: out.len() as u64,
        address,
        file_size: image.len() as u64,
        memory_size: image.len() as u64,
        alignment: PAGE,
    };
    out.extend_from_slice(&image);
    let header = segment.to_bytes();
    out.get_mut(note..note + header.len())?.copy_from_slice(&header);
    out.get_mut(ENTRY..ENTRY + 8)?.copy_from_slice(&code.to_le_bytes());
    Some(out)
}

/// Returns the starter as it lies in memory.
fn image(starter: &Elf<'_>) -> Option<Vec<u8>> {
    let mut image = Vec::new();
    for segment in starter.segments().filter(|segment| segment.kind == PT_LOAD) {
        let (start, offset) =
            (usize::try_from(segment.address).ok()?, usize::try_from(segment.offset).ok()?);
        let (size, memory) =
            (usize::try_from(segment.file_size).ok()?, usize::try_from(segment.memory_size).ok()?);
        image.resize(start + memory, 0);
        image[start..start + size].copy_from_slice(STARTER.get(offset..offset + size)?);
    }
    Some(image)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};

    use super::*;

    /// Writes a program with the starter in front of it, and returns its path.
    fn put(folder: &Path, program: &[u8], processor: &str) -> PathBuf {
        let path = folder.join("program");
        std::fs::write(&path, graft(program, processor).unwrap()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// A program that is this machine's own runs with the starter in front of it as before: without
    /// binfmt_misc the starter hands over.
    #[test]
    fn a_program_goes_on_behind_the_starter() {
        let folder = tempfile::tempdir().unwrap();
        let program =
            ["/bin/true", "/usr/bin/true"].map(std::fs::read).into_iter().find_map(Result::ok);
        let path = put(folder.path(), &program.unwrap(), "");
        let output = std::process::Command::new(&path).arg("--version").output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("true"), "{output:?}");
    }

    /// The processor comes first, unless a variable names one.
    #[test]
    fn an_emulator_is_told_the_processor() {
        let folder = tempfile::tempdir().unwrap();
        let program = std::fs::read("/bin/echo").unwrap();
        let path = put(folder.path(), &program, "max,x=on");
        let said = |variables: &[(&str, &str)]| {
            let mut command = std::process::Command::new(&path);
            command.args(["one", "two"]).env_clear().envs(variables.iter().copied());
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        };
        assert_eq!(said(&[]), "-cpu max,x=on one two\n");
        assert_eq!(said(&[("QEMU_CP", "U=x"), ("A", "QEMU_CPU=")]), "-cpu max,x=on one two\n");
        assert_eq!(said(&[("A", "b"), ("QEMU_CPU", "any")]), "one two\n");
        assert_eq!(graft(&program, &"x".repeat(PROCESSOR)), None);
    }

    #[test]
    fn other_files_are_refused() {
        assert_eq!(graft(b"", ""), None);
        assert_eq!(graft(b"#!/bin/sh\n", ""), None);
        let mut foreign = STARTER.to_vec();
        foreign[18] ^= 1;
        assert_eq!(graft(&foreign, ""), None);
    }

    #[test]
    fn the_starter_has_no_relocations() {
        let elf = Elf::parse(STARTER).unwrap();
        // DT_NEEDED, DT_RELA, DT_REL, DT_JMPREL, DT_RELR: nobody would do them.
        let dynamic = elf.dynamic().unwrap();
        assert!(dynamic.iter().all(|(tag, _)| ![1, 7, 17, 23, 36].contains(tag)), "{dynamic:?}");
        assert!(image(&elf).unwrap().len() < 64 << 10);
    }
}
