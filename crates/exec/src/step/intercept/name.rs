//! Naming the process of an emulator after the program, as the kernel does with binfmt_misc: `ps`,
//! `pidof` and `killall` know programs by this name.

use rustix::process::Pid;

use super::abi::{Abi, Call};
use super::memory;
use super::registers::Registers;
use super::session::{Fault, Session};

/// A name among the arguments of an emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The number of the argument.
    index: u64,
    /// The bytes of it before the name.
    offset: u64,
}

impl Place {
    /// Returns the place of the name of a program whose path is the argument `index`.
    pub(super) fn new(index: usize, path: &[u8]) -> Self {
        let offset = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        Self { index: index as u64, offset: offset as u64 }
    }
}

/// A name that a new process is still to get, at its first call: only the process itself can change
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    address: u64,
    is_past_execve: bool,
}

impl Name {
    /// Finds the name in the memory of a thread that has just executed the emulator.
    pub(super) fn find(thread: Pid, place: Place) -> Result<Self, Fault> {
        let stack = Registers::read(thread)?.stack();
        // The number of arguments, then their addresses.
        let at = stack.wrapping_add(8 * (1 + place.index));
        let mut pointer = [0; 8];
        memory::read(thread, at, &mut pointer)?;
        let address = u64::from_le_bytes(pointer).wrapping_add(place.offset);
        Ok(Self { address, is_past_execve: false })
    }

    /// Deals with a thread that is at the end of `execve`, then at the beginning of its next call.
    /// Returns the name if it is still to be given, and the thread is to go on.
    pub(super) fn meet(self, thread: Pid) -> Result<Option<Self>, Fault> {
        if !self.is_past_execve {
            return Ok(Some(Self { is_past_execve: true, ..self }));
        }
        let mut session = Session::begin(thread, Abi::Native)?;
        match session.call(Call::Prctl, &[libc::PR_SET_NAME as u64, self.address]) {
            // Without it the process is only harder to find.
            Ok(_) | Err(Fault::Failed(_)) => session.redo().map(|()| None),
            Err(lost) => Err(lost),
        }
    }
}
