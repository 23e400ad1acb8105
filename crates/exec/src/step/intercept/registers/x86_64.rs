//! Registers of x86-64. The kernel shows those of 32-bit threads in the same form.

use std::io;

use rustix::process::Pid;

use crate::step::intercept::abi::Abi;
use crate::step::intercept::sys;

/// `syscall`, `int 0x80` and `sysenter` all return behind an instruction of two bytes that makes
/// the same call again; the kernel restarts calls in this way, too.
const INSTRUCTION: u64 = 2;

/// The registers of a stopped thread.
#[derive(Debug, Clone, Copy)]
pub(in crate::step::intercept) struct Registers(libc::user_regs_struct);

impl Registers {
    /// Reads those of a thread.
    pub(in crate::step::intercept) fn read(thread: Pid) -> io::Result<Self> {
        sys::registers(thread).map(Self)
    }

    /// Changes those of a thread.
    pub(in crate::step::intercept) fn write(&self, thread: Pid) -> io::Result<()> {
        sys::set_registers(thread, &self.0)
    }

    /// Returns an argument of the call that the thread is in.
    pub(in crate::step::intercept) fn argument(&self, abi: Abi, index: usize) -> u64 {
        let registers = &self.0;
        match abi {
            Abi::Native => {
                let list = [
                    registers.rdi,
                    registers.rsi,
                    registers.rdx,
                    registers.r10,
                    registers.r8,
                    registers.r9,
                ];
                list[index]
            }
            Abi::Compat => {
                let list = [
                    registers.rbx,
                    registers.rcx,
                    registers.rdx,
                    registers.rsi,
                    registers.rdi,
                    registers.rbp,
                ];
                list[index] & u64::from(u32::MAX)
            }
        }
    }

    /// Puts another call in the place of the one that the thread is in, or is about to make.
    pub(in crate::step::intercept) fn set_call(&mut self, abi: Abi, number: u32, args: [u64; 6]) {
        let registers = &mut self.0;
        registers.orig_rax = u64::from(number);
        registers.rax = u64::from(number);
        let places = match abi {
            Abi::Native => [
                &mut registers.rdi,
                &mut registers.rsi,
                &mut registers.rdx,
                &mut registers.r10,
                &mut registers.r8,
                &mut registers.r9,
            ],
            Abi::Compat => [
                &mut registers.rbx,
                &mut registers.rcx,
                &mut registers.rdx,
                &mut registers.rsi,
                &mut registers.rdi,
                &mut registers.rbp,
            ],
        };
        for (place, value) in places.into_iter().zip(args) {
            *place = if abi == Abi::Native { value } else { value & u64::from(u32::MAX) };
        }
    }

    /// Makes the thread, which is at the end of a call or will skip it, make a call again.
    pub(in crate::step::intercept) fn rewind(&mut self, _abi: Abi) {
        self.0.rip = self.0.rip.wrapping_sub(INSTRUCTION);
        self.0.rax = self.0.orig_rax;
    }

    /// Returns the result of the call that has just ended.
    pub(in crate::step::intercept) fn result(&self, abi: Abi) -> i64 {
        match abi {
            Abi::Native => self.0.rax.cast_signed(),
            Abi::Compat => i64::from((self.0.rax as u32).cast_signed()),
        }
    }

    /// Makes the call that the thread is in, or has just made, end with this result.
    pub(in crate::step::intercept) fn set_result(&mut self, result: i64) {
        self.0.orig_rax = u64::MAX;
        self.0.rax = result.cast_unsigned();
    }

    /// Returns the stack pointer.
    pub(in crate::step::intercept) fn stack(&self) -> u64 {
        self.0.rsp
    }
}
