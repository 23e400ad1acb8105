//! Twins: programs of an emulated step that this machine's own processor can run in place of the
//! emulator, with the same result.
//!
//! The base image of a step for another platform often comes from an index that has an image for
//! this machine's platform, too: its *sibling*, with the same programs in the same versions. A
//! *twin* is the sibling's program at the path of one whose result does not depend on the processor
//! ([`programs`](self) lists these).
//!
//! ```text
//! trees of both images ── Candidates ── names of files to read
//! contents             ── Candidates::make ── SetFile ... and TwinSet
//!                         one emulator with the starter in front, a name for each program
//!                         the twins, their loader, its cache of libraries
//! TwinSet              ── Sandbox::register_twins ── an entry of binfmt_misc for each program
//! TwinSet, a step      ── /dev/.twin, /dev/.twin-table ── read by the starter
//! ```
//!
//! The kernel finds the entry by the program's first bytes and starts the emulator for it; the
//! starter in front of the emulator looks whether the file is the base image's own, and maps the
//! twin. The file in the step's root stays the foreign one, whoever reads it.

mod apt;
#[cfg(test)]
#[path = "../starter/asked.rs"]
mod asked;
#[cfg(test)]
mod asked_tests;
#[cfg(test)]
#[path = "../starter/awk.rs"]
mod awk;
#[cfg(test)]
mod awk_tests;
mod candidates;
pub mod cross;
mod elf;
mod graft;
mod library_cache;
mod make;
mod packages;
mod programs;
mod set;
mod table;
mod usage;

use xbuild_model::Digest;

pub use candidates::{Candidates, Facts, ImageFiles};
pub(crate) use elf::MAGIC_START;
pub(crate) use graft::graft;
pub use make::Contents;
pub use set::{Arguments, Origin, ProgramBuild, SetFile, Source, StepTwins, Twin, TwinSet};
pub(crate) use set::{NAMES, ROOT};
pub(crate) use table::{FileId, Row, Stamp, Table};
pub use usage::Usage;

/// Returns a digest of the lists of programs and of the starter: a set that was made with others is
/// another set.
pub fn version() -> Digest {
    Digest::of(&[graft::STARTER, programs::LIST.as_bytes(), programs::APPLETS.as_bytes()].concat())
}

/// The table's name in `/dev`.
pub(crate) const TABLE_IN_DEV: &str = ".twin-table";

/// The pipe in `/dev` that counts programs: a byte for each that starts, [`NATIVELY`] or another one.
pub(crate) const COUNT_IN_DEV: &str = ".twin-count";

/// The byte that counts a program that runs natively.
pub(crate) const NATIVELY: u8 = b'n';
