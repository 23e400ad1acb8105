//! A thread that is stopped at `execve`, and the calls that it is made to make there.
//!
//! The thread itself opens files, so paths mean what they mean to it: its root, its working folder,
//! its rights, its `/proc/self`. Each call takes the place of the `execve`, which is made again at
//! the end. Signals wait meanwhile.

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::abi::{Abi, Call};
use super::memory::{self, PAGE};
use super::registers::Registers;
use super::stop::{self, Stop};
use super::sys::{self, Go};

/// The end of a session before its time.
#[derive(Debug)]
pub(super) enum Fault {
    /// The call failed; the session goes on.
    Failed(Errno),
    /// The thread is gone, or has met something else first: this.
    Lost(Option<Stop>),
}

impl From<std::io::Error> for Fault {
    /// Requests fail only if the thread is not stopped any more: it was killed.
    fn from(_: std::io::Error) -> Self {
        Self::Lost(None)
    }
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno)
    }
}

/// A stopped thread.
#[derive(Debug)]
pub(super) struct Session {
    thread: Pid,
    abi: Abi,
    original: Registers,
    /// Whether it is at the end of a call, not at the beginning of one.
    is_behind: bool,
    /// The signals that it blocked before.
    mask: u64,
    /// A stop of the whole process that came meanwhile.
    job_control: Option<i32>,
    /// Whether its memory was closed to its tracer before.
    is_opened: bool,
}

/// Every signal but those that cannot be blocked.
const ALL: u64 = !0;

impl Session {
    /// Takes over a thread at the beginning of a call.
    pub(super) fn begin(thread: Pid, abi: Abi) -> Result<Self, Fault> {
        let original = Registers::read(thread)?;
        Self::take(thread, abi, original, false)
    }

    /// Takes over a thread at the end of a call. In the end it has the registers `original`.
    pub(super) fn behind(thread: Pid, abi: Abi, original: Registers) -> Result<Self, Fault> {
        Self::take(thread, abi, original, true)
    }

    fn take(thread: Pid, abi: Abi, original: Registers, is_behind: bool) -> Result<Self, Fault> {
        let mask = sys::signal_mask(thread)?;
        sys::set_signal_mask(thread, ALL)?;
        let (job_control, is_opened) = (None, false);
        let mut session = Self { thread, abi, original, is_behind, mask, job_control, is_opened };
        session.open_memory()?;
        Ok(session)
    }

    /// Makes the thread open its memory to its tracer, if that is closed.
    fn open_memory(&mut self) -> Result<(), Fault> {
        if memory::read(self.thread, self.original.stack(), &mut [0; 8]).is_ok() {
            return Ok(());
        }
        match self.call(Call::Prctl, &[libc::PR_SET_DUMPABLE as u64, 1]) {
            Ok(_) => self.is_opened = true,
            // Then reading from it fails.
            Err(Fault::Failed(_)) => {}
            Err(lost) => return Err(lost),
        }
        Ok(())
    }

    /// Closes the memory again if it was closed before.
    fn close_memory(&mut self) -> Result<(), Fault> {
        if std::mem::take(&mut self.is_opened) {
            self.call(Call::Prctl, &[libc::PR_SET_DUMPABLE as u64, 0])?;
        }
        Ok(())
    }

    /// Returns the way in which the thread makes calls.
    pub(super) fn abi(&self) -> Abi {
        self.abi
    }

    /// Returns the thread.
    pub(super) fn thread(&self) -> Pid {
        self.thread
    }

    /// Returns an argument of the original call.
    pub(super) fn argument(&self, index: usize) -> u64 {
        self.original.argument(self.abi, index)
    }

    /// Makes the thread make a call, and returns its result.
    pub(super) fn call(&mut self, call: Call, args: &[u64]) -> Result<u64, Fault> {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        let mut registers = self.original;
        registers.set_call(self.abi, call.number(self.abi), all);
        if self.is_behind {
            registers.rewind(self.abi);
            registers.write(self.thread)?;
            self.go_to_call()?;
        } else {
            registers.write(self.thread)?;
        }
        self.go_to_call()?;
        self.is_behind = true;
        let result = Registers::read(self.thread)?.result(self.abi);
        match i32::try_from(result) {
            Ok(failure @ -4095..=-1) => Err(Errno::from_raw_os_error(-failure).into()),
            // Addresses of 32-bit programs may look negative.
            _ if self.abi == Abi::Compat => Ok(u64::from(result as u32)),
            _ => Ok(result.cast_unsigned()),
        }
    }

    fn go_to_call(&mut self) -> Result<(), Fault> {
        self.go(Go::ToCall, |stop| matches!(stop, Stop::AtCall))
    }

    /// Lets the thread go on to a stop of the kind that is expected. Stops by job control are made
    /// up for later.
    fn go(&mut self, go: Go, is_expected: impl Fn(Stop) -> bool) -> Result<(), Fault> {
        loop {
            sys::resume(self.thread, go, 0)?;
            match stop::wait_for(self.thread) {
                Ok(stop) if is_expected(stop) => return Ok(()),
                Ok(stop @ Stop::Event(libc::PTRACE_EVENT_STOP, _)) => {
                    self.job_control = stop.job_control().or(self.job_control);
                }
                Ok(stop) => return Err(Fault::Lost(Some(stop))),
                Err(_) => return Err(Fault::Lost(None)),
            }
        }
    }

    /// Brings the thread to the beginning of its original call.
    fn return_to_call(&mut self) -> Result<(), Fault> {
        if self.is_behind {
            let mut registers = self.original;
            registers.rewind(self.abi);
            registers.write(self.thread)?;
            let at_execve = |stop| matches!(stop, Stop::Event(libc::PTRACE_EVENT_SECCOMP, _));
            self.go(Go::On, at_execve)?;
            self.is_behind = false;
        }
        Ok(())
    }

    /// Lets the thread make its original call.
    pub(super) fn pass(mut self) -> Result<(), Fault> {
        self.close_memory()?;
        self.return_to_call()?;
        self.finish(Go::On)
    }

    /// Lets the thread make another call instead, and returns the registers that it must have if
    /// that call returns; it stops then.
    pub(super) fn replace(mut self, call: Call, args: [u64; 6]) -> Result<Registers, Fault> {
        self.close_memory()?;
        self.return_to_call()?;
        let mut registers = self.original;
        registers.set_call(self.abi, call.number(self.abi), args);
        registers.write(self.thread)?;
        let original = self.original;
        self.finish(Go::ToCall)?;
        Ok(original)
    }

    /// Makes the original call fail.
    pub(super) fn refuse(mut self, errno: Errno) -> Result<(), Fault> {
        self.close_memory()?;
        let mut registers = self.original;
        registers.set_result(-i64::from(errno.raw_os_error()));
        registers.write(self.thread)?;
        self.finish(Go::On)
    }

    /// Lets the thread begin the call that it was about to begin, from before the instruction.
    pub(super) fn redo(mut self) -> Result<(), Fault> {
        self.close_memory()?;
        let mut registers = self.original;
        registers.rewind(self.abi);
        registers.write(self.thread)?;
        self.finish(Go::On)
    }

    fn finish(self, go: Go) -> Result<(), Fault> {
        sys::set_signal_mask(self.thread, self.mask)?;
        sys::resume(self.thread, go, 0)?;
        if let Some(signal) = self.job_control.and_then(Signal::from_named_raw) {
            // A process that is gone does not stop.
            let _ = rustix::process::kill_process(self.thread, signal);
        }
        Ok(())
    }

    /// Reads from the thread's memory.
    pub(super) fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        let length = buffer.len();
        let done = memory::read(self.thread, address, buffer)?;
        if done == length { Ok(()) } else { Err(Errno::FAULT.into()) }
    }

    /// Writes to the thread's memory.
    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        Ok(memory::write(self.thread, address, bytes)?)
    }

    /// Reads a text that ends in NUL, without that.
    ///
    /// **Errors** — `ENAMETOOLONG` for one of `limit` bytes or more.
    pub(super) fn read_text(&self, address: u64, limit: usize) -> Result<Vec<u8>, Fault> {
        Ok(memory::read_text(self.thread, address, limit)?)
    }

    /// Reads pointers, up to the end of a page.
    pub(super) fn read_list(&self, address: u64) -> Result<Vec<u64>, Fault> {
        let width = self.abi.pointer() as u64;
        // One that lies across the end is read whole.
        let size = (PAGE - address % PAGE).next_multiple_of(width);
        let mut bytes = vec![0; size as usize];
        self.read(address, &mut bytes)?;
        let number = |part: &[u8]| part.iter().rev().fold(0, |value, b| value << 8 | u64::from(*b));
        Ok(bytes.chunks(width as usize).map(number).collect())
    }
}
