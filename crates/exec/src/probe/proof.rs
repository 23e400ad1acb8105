//! Trials of single emulators, apart from a build.

use std::ffi::OsStr;
use std::path::Path;

use super::programs::Subject;
use super::report::{Outcome, Run};
use super::trial::Place;
use super::{trial, verdict};
use crate::capabilities;
use crate::emulator::Emulator;
use crate::gap::Gap;
use crate::idmap::{Caller, IdMap};
use crate::way::Way;

/// The end of a trial of an emulator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// It ran a test program.
    Works,
    /// It did not run the test program well.
    Fails(Gap),
    /// Nothing can be tried out here.
    Untried(Gap),
}

/// Lets each emulator run a test program, as a build would. Nothing is executed outside of a root
/// directory with test programs alone, and of a user namespace where there can be one. `folder` is
/// one that other root directories can be made in.
pub fn prove(emulators: &[Emulator], folder: &Path) -> Vec<Proof> {
    let subjects: Vec<Subject> = emulators
        .iter()
        .map(|emulator| Subject::new(emulator.arch, Ok(emulator.clone())))
        .collect();
    // One id is enough for a program that looks at nothing.
    let caller = Caller::current(OsStr::new(""));
    let map = IdMap::single(&caller);
    let mut seen = trial::run(&subjects, &map, None);
    if let Err(gap) = verdict::mounts(&seen) {
        let (way, map) = match verdict::chroot(&seen) {
            Ok(()) => (Way::Users, map),
            Err(_) => (Way::Caller, IdMap::host(&caller)),
        };
        let is_allowed = way.has_users() || capabilities::for_chroot(caller.uid).is_ok();
        let Some(place) = is_allowed.then(|| Place::new(folder).ok()).flatten() else {
            return subjects.iter().map(|_| Proof::Untried(gap.clone())).collect();
        };
        seen = trial::run_alone(&subjects, way, &map, &place);
    }
    let judge = |(subject, outcome): (&Subject, &Outcome)| {
        let runs = [outcome.emulated, outcome.direct];
        if runs.contains(&Run::Well) {
            return Proof::Works;
        }
        let last = runs.into_iter().rfind(|run| *run != Run::Not);
        match verdict::ran_well(subject, None, last.unwrap_or(Run::Not)) {
            Ok(()) => Proof::Works,
            Err(gap) if last.is_none() => {
                Proof::Untried(verdict::interception(&seen).err().unwrap_or(gap))
            }
            Err(gap) => Proof::Fails(gap),
        }
    };
    subjects.iter().zip(&seen.outcomes).map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;
    use crate::tiny_elf;

    #[test]
    fn a_program_that_is_no_emulator_fails() {
        let host = Arch::host().unwrap();
        let foreign = if host == Arch::S390x { Arch::Riscv64 } else { Arch::S390x };
        let dir = tempfile::tempdir().unwrap();
        // It ends with the number of its arguments, of which an emulator has more than its program.
        let path = dir.path().join("qemu-foreign");
        std::fs::write(&path, tiny_elf::program(host)).unwrap();
        let emulator = Emulator::load(foreign, &path).unwrap();
        match &prove(&[emulator], dir.path())[..] {
            [Proof::Fails(gap)] => assert!(gap.why.contains("test program"), "{gap}"),
            [Proof::Untried(gap)] => println!("skipped: {gap}"),
            other => panic!("{other:?}"),
        }
    }
}
