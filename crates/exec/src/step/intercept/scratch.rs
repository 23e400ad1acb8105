//! Memory of a thread that nothing else uses: mapped for the purpose, never its stack.
//!
//! Some programs run on stacks of a few kilobytes, and a child of `vfork` on its parent's. So
//! arguments are never written below a stack pointer. The memory goes with the rest when the program
//! is replaced; the parent of a `vfork` keeps it for its next child.

use super::abi::Call;
use super::session::{Fault, Session};

/// The size of each of the small areas in bytes: the longest path, or one page.
const AREA: u64 = 4096;

/// The size of the memory unless more is needed: both areas and a few arguments.
const LEAST: u64 = 4 * AREA;

/// The memory, if it is mapped already.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scratch {
    address: u64,
    size: u64,
}

/// The addresses of the areas.
#[derive(Debug, Clone, Copy)]
pub(super) struct Areas {
    /// For a path.
    pub(super) path: u64,
    /// For the answers of calls.
    pub(super) buffer: u64,
    /// For arguments, up to the end.
    pub(super) rest: u64,
}

impl Scratch {
    /// Returns the areas, mapped if need be.
    pub(super) fn areas(&mut self, session: &mut Session) -> Result<Areas, Fault> {
        self.areas_with(session, LEAST - 2 * AREA)
    }

    /// Returns the areas, with room for `rest` bytes in the last one. They may be at another place
    /// than before.
    pub(super) fn areas_with(&mut self, session: &mut Session, rest: u64) -> Result<Areas, Fault> {
        let size = (2 * AREA + rest).next_multiple_of(AREA).max(LEAST);
        if self.size < size {
            let access = (libc::PROT_READ | libc::PROT_WRITE) as u64;
            let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
            let address = session.call(Call::Mmap, &[0, size, access, flags, u64::MAX, 0])?;
            *self = Self { address, size };
        }
        let path = self.address;
        Ok(Areas { path, buffer: path + AREA, rest: path + 2 * AREA })
    }
}
