//! Machines whose registers are not known: no thread can be stopped there, since the filter that
//! would stop it cannot be made.

use std::io;

use rustix::process::Pid;

use crate::step::intercept::abi::Abi;

/// The registers of a stopped thread, of which there is none.
#[derive(Debug, Clone, Copy)]
pub(in crate::step::intercept) enum Registers {}

impl Registers {
    /// Refuses.
    pub(in crate::step::intercept) fn read(_thread: Pid) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Cannot be called.
    pub(in crate::step::intercept) fn write(&self, _thread: Pid) -> io::Result<()> {
        match *self {}
    }

    /// Cannot be called.
    pub(in crate::step::intercept) fn argument(&self, _abi: Abi, _index: usize) -> u64 {
        match *self {}
    }

    /// Cannot be called.
    pub(in crate::step::intercept) fn set_call(&mut self, _: Abi, _: u32, _: [u64; 6]) {
        match *self {}
    }

    /// Cannot be called.
    pub(in crate::step::intercept) fn rewind(&mut self, _abi: Abi) {
        match *self {}
    }

    /// Cannot be called.
    pub(in crate::step::intercept) fn result(&self, _abi: Abi) -> i64 {
        match *self {}
    }

    /// Cannot be called.
    pub(in crate::step::intercept) fn set_result(&mut self, _result: i64) {
        match *self {}
    }

    /// Cannot be called.
    pub(in crate::step::intercept) fn stack(&self) -> u64 {
        match *self {}
    }
}
