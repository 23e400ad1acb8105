//! Registers of 64-bit Arm. 32-bit threads have a set of their own.

use std::io;

use rustix::process::Pid;

use crate::step::intercept::abi::Abi;
use crate::step::intercept::sys;

/// `NT_PRSTATUS`: the general registers.
const GENERAL: i32 = 1;
/// `NT_ARM_SYSTEM_CALL`: the number of the call that the thread is in.
const SYSTEM_CALL: i32 = 0x404;

/// The place of the stack pointer and of the program counter, behind `x0` to `x30`.
const STACK: usize = 31;
const COUNTER: usize = 32;
/// The same of a 32-bit thread, whose registers are `r0` to `r15`, the state, and the first
/// argument.
const COMPAT_STACK: usize = 13;
const COMPAT_COUNTER: usize = 15;
const COMPAT_STATE: usize = 16;
/// In the state: the thread executes Thumb instructions.
const THUMB: u64 = 1 << 5;

/// The bytes of both sets: 31 registers, stack pointer, program counter and state of 64 bits, or 18
/// of 32 bits.
const NATIVE_BYTES: usize = 34 * 8;
const COMPAT_BYTES: usize = 18 * 4;

/// The registers of a stopped thread.
#[derive(Debug, Clone, Copy)]
pub(in crate::step::intercept) struct Registers {
    values: [u64; 34],
    is_compat: bool,
    /// The call to make instead of the one that the thread is in.
    number: Option<i32>,
}

impl Registers {
    /// Reads those of a thread.
    pub(in crate::step::intercept) fn read(thread: Pid) -> io::Result<Self> {
        let mut bytes = [0; NATIVE_BYTES];
        let size = sys::register_set(thread, GENERAL, &mut bytes)?;
        let (is_compat, width) = match size {
            NATIVE_BYTES => (false, 8),
            COMPAT_BYTES => (true, 4),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        let mut values = [0; 34];
        for (value, part) in values.iter_mut().zip(bytes[..size].chunks(width)) {
            let mut whole = [0; 8];
            whole[..width].copy_from_slice(part);
            *value = u64::from_le_bytes(whole);
        }
        Ok(Self { values, is_compat, number: None })
    }

    /// Changes those of a thread.
    pub(in crate::step::intercept) fn write(&self, thread: Pid) -> io::Result<()> {
        let (count, width) = if self.is_compat { (18, 4) } else { (34, 8) };
        let parts = self.values[..count]
            .iter()
            .flat_map(|value| value.to_le_bytes().into_iter().take(width));
        let bytes: Vec<u8> = parts.collect();
        sys::set_register_set(thread, GENERAL, &bytes)?;
        match self.number {
            Some(number) => sys::set_register_set(thread, SYSTEM_CALL, &number.to_le_bytes()),
            None => Ok(()),
        }
    }

    /// Returns an argument of the call that the thread is in.
    pub(in crate::step::intercept) fn argument(&self, _abi: Abi, index: usize) -> u64 {
        self.values[index]
    }

    /// Puts another call in the place of the one that the thread is in, or is about to make.
    pub(in crate::step::intercept) fn set_call(&mut self, abi: Abi, number: u32, args: [u64; 6]) {
        self.values[..6].copy_from_slice(&args);
        let register = if abi == Abi::Native { 8 } else { 7 };
        self.values[register] = u64::from(number);
        self.number = Some(number.cast_signed());
    }

    /// Makes the thread, which is at the end of a call or will skip it, make a call again.
    pub(in crate::step::intercept) fn rewind(&mut self, _abi: Abi) {
        if self.is_compat {
            let thumb = self.values[COMPAT_STATE] & THUMB != 0;
            let counter = self.values[COMPAT_COUNTER];
            self.values[COMPAT_COUNTER] = counter.wrapping_sub(if thumb { 2 } else { 4 });
        } else {
            self.values[COUNTER] = self.values[COUNTER].wrapping_sub(4);
        }
    }

    /// Returns the result of the call that has just ended.
    pub(in crate::step::intercept) fn result(&self, _abi: Abi) -> i64 {
        match self.is_compat {
            false => self.values[0].cast_signed(),
            true => i64::from((self.values[0] as u32).cast_signed()),
        }
    }

    /// Makes the call that the thread is in, or has just made, end with this result.
    pub(in crate::step::intercept) fn set_result(&mut self, result: i64) {
        self.values[0] = result.cast_unsigned();
        self.number = Some(-1);
    }

    /// Returns the stack pointer.
    pub(in crate::step::intercept) fn stack(&self) -> u64 {
        self.values[if self.is_compat { COMPAT_STACK } else { STACK }]
    }
}
