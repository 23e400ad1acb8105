//! The tracer's loop: it lets every process of the step go on, and steps in at `execve`.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::process::{Pid, WaitStatus};

use super::abi::{Abi, Call};
use super::delivery;
use super::emulators::Emulators;
use super::name::{Name, Place};
use super::program::{self, Request};
use super::registers::Registers;
use super::scratch::Scratch;
use super::session::{Fault, Session};
use super::stop::{self, Stop};
use super::sys::{self, Go};
use super::vector;
use crate::seccomp::Traced;

/// The events that stop a process, besides the ends of calls and signals.
const OPTIONS: i32 = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACESECCOMP
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_EXITKILL;

/// The most bytes of pointers to arguments: the kernel allows fewer bytes for arguments in all.
const ARGUMENT_BYTES: usize = 8 << 20;

/// `ERESTARTNOINTR`: a signal came first, and the call is to be made again after it.
const INTERRUPTED: i32 = -513;

/// The facts about a thread.
#[derive(Debug, Default)]
struct Thread {
    /// The thread that waits in `vfork` for this one to execute something.
    parent: Option<i32>,
    scratch: Scratch,
    /// The emulator is about to be executed.
    attempt: Option<Attempt>,
    /// The emulator is executed, and its process still lacks its name.
    name: Option<Name>,
}

/// A thread on its way from `execve` to the emulator.
#[derive(Debug)]
struct Attempt {
    abi: Abi,
    /// The registers to go back to if that fails.
    original: Registers,
    /// The emulator, as the thread has it open.
    emulator: u64,
    name: Place,
}

/// Becomes the tracer of `command`, a child of this process, and of all that it starts.
pub(in crate::step) fn attach(command: Pid) -> std::io::Result<()> {
    sys::seize(command, OPTIONS)
}

/// Traces until `command` ends, and returns its end.
pub(in crate::step) fn run(
    command: Pid,
    emulators: &Emulators,
    tell: &mut dyn FnMut(String),
) -> Result<WaitStatus, Errno> {
    let mut tracer = Tracer { threads: BTreeMap::new(), emulators, tell };
    let mut next = None;
    loop {
        let (thread, stop) = match next.take() {
            Some(change) => change,
            None => stop::wait_for_any()?,
        };
        if let Stop::Ended(status) = stop {
            tracer.threads.remove(&key(thread));
            if thread == command {
                return Ok(status);
            }
            continue;
        }
        // A thread that is gone needs nothing; its end is still to be reported.
        if let Err(Fault::Lost(Some(other))) = tracer.meet(thread, stop) {
            next = Some((thread, other));
        }
    }
}

struct Tracer<'a> {
    threads: BTreeMap<i32, Thread>,
    emulators: &'a Emulators,
    tell: &'a mut dyn FnMut(String),
}

fn key(thread: Pid) -> i32 {
    thread.as_raw_nonzero().get()
}

impl Tracer<'_> {
    /// Deals with a stopped thread and lets it go on.
    fn meet(&mut self, thread: Pid, stop: Stop) -> Result<(), Fault> {
        match stop {
            Stop::Ended(_) => Ok(()),
            Stop::AtCall => self.at_call(thread),
            Stop::Signal(signal) => self.go_on(thread, signal),
            Stop::Event(libc::PTRACE_EVENT_SECCOMP, _) => self.at_execve(thread),
            Stop::Event(libc::PTRACE_EVENT_VFORK, _) => {
                if let Ok(child) = i32::try_from(sys::event_message(thread)?) {
                    self.threads.entry(child).or_default().parent = Some(key(thread));
                }
                self.go_on(thread, 0)
            }
            Stop::Event(libc::PTRACE_EVENT_EXEC, _) => self.executed(thread),
            Stop::Event(..) if stop.job_control().is_some() => {
                Ok(sys::resume(thread, Go::Listen, 0)?)
            }
            Stop::Event(..) => self.go_on(thread, 0),
        }
    }

    /// Lets a thread go on, to the next call if something is to be done there.
    fn go_on(&self, thread: Pid, signal: i32) -> Result<(), Fault> {
        let waits = |thread: &Thread| thread.attempt.is_some() || thread.name.is_some();
        let is_awaited = self.threads.get(&key(thread)).is_some_and(waits);
        let go = if is_awaited { Go::ToCall } else { Go::On };
        Ok(sys::resume(thread, go, signal)?)
    }

    /// Returns the thread that answers for the scratch memory of this one: one that waits in `vfork`,
    /// if it shares all memory.
    fn owner_of_memory(&self, thread: i32) -> i32 {
        let parent = |thread: &i32| {
            let parent = self.threads.get(thread)?.parent?;
            sys::share_memory(*thread, parent).then_some(parent)
        };
        std::iter::successors(Some(thread), parent).last().unwrap_or(thread)
    }

    fn at_execve(&mut self, thread: Pid) -> Result<(), Fault> {
        let Some(call) = Traced::of_data(sys::event_message(thread)?) else {
            return self.go_on(thread, 0);
        };
        let abi = if call.is_compat { Abi::Compat } else { Abi::Native };
        let owner = self.owner_of_memory(key(thread));
        let mut scratch = self.threads.entry(owner).or_default().scratch;
        let mut session = Session::begin(thread, abi)?;
        let request = Request::read(&session, call.is_execveat);
        let prepared = self.prepare(&mut session, &mut scratch, &request);
        self.threads.entry(owner).or_default().scratch = scratch;
        match prepared {
            Ok(Some(Prepared { args, emulator, name })) => {
                let original = session.replace(Call::Execveat, args)?;
                let attempt = Attempt { abi, original, emulator, name };
                self.threads.entry(key(thread)).or_default().attempt = Some(attempt);
                Ok(())
            }
            Ok(None) => session.pass(),
            Err(Fault::Failed(errno)) => session.refuse(errno),
            Err(lost) => Err(lost),
        }
    }

    /// Prepares the execution of an emulator, if the program needs one.
    fn prepare(
        &mut self,
        session: &mut Session,
        scratch: &mut Scratch,
        request: &Request,
    ) -> Result<Option<Prepared>, Fault> {
        let emulated = self.emulators.architectures();
        let Some(foreign) = program::look_up(session, scratch, request, &emulated)? else {
            return Ok(None);
        };
        let Some(arguments) = read_arguments(session, request.argv)? else { return Ok(None) };
        let (argv0, rest) = match arguments.split_first() {
            Some((first, rest)) => (Some(*first), rest),
            None => (None, &[][..]),
        };
        let words = foreign.words(argv0);
        let Some(file) = self.emulators.emulator(foreign.arch) else { return Ok(None) };
        let emulator = delivery::deliver(session, scratch, file.as_fd())?;
        let areas = scratch.areas_with(session, vector::size(&words, rest.len()))?;
        let vector = vector::lay_out(areas.rest, session.abi(), &words, rest);
        session.write(areas.rest, &vector.bytes)?;
        if foreign.has_rights {
            (self.tell)(foreign.lost_rights());
        }
        let empty_path = libc::AT_EMPTY_PATH as u64;
        Ok(Some(Prepared {
            args: [emulator, vector.empty, vector.list, request.envp, empty_path, 0],
            emulator,
            name: Place::new(words.len() - 1, &foreign.path),
        }))
    }

    /// A thread is at the end of an `execve` that failed, or at a call of a new emulator.
    fn at_call(&mut self, thread: Pid) -> Result<(), Fault> {
        let Some(known) = self.threads.get_mut(&key(thread)) else {
            return self.go_on(thread, 0);
        };
        if let Some(Attempt { abi, original, emulator, .. }) = known.attempt.take() {
            let result = Registers::read(thread)?.result(abi);
            let mut session = Session::behind(thread, abi, original)?;
            session.call(Call::Close, &[emulator])?;
            return match i32::try_from(result) {
                Ok(INTERRUPTED) => session.redo(),
                Ok(failure) => session.refuse(Errno::from_raw_os_error(-failure)),
                Err(_) => session.refuse(Errno::IO),
            };
        }
        let Some(name) = known.name.take() else { return self.go_on(thread, 0) };
        let name = name.meet(thread)?;
        if name.is_some() {
            self.threads.entry(key(thread)).or_default().name = name;
            self.go_on(thread, 0)?;
        }
        Ok(())
    }

    /// A process has executed a program, an emulator or one of the machine's own.
    fn executed(&mut self, thread: Pid) -> Result<(), Fault> {
        let former = i32::try_from(sys::event_message(thread)?).unwrap_or_default();
        let of_leader = self.threads.remove(&key(thread));
        let of_caller =
            if former == key(thread) { of_leader } else { self.threads.remove(&former) };
        if let Some(attempt) = of_caller.and_then(|known| known.attempt) {
            match Name::find(thread, attempt.name) {
                Ok(name) => {
                    let known = Thread { name: Some(name), ..Thread::default() };
                    self.threads.insert(key(thread), known);
                }
                Err(Fault::Failed(_)) => {}
                Err(lost) => return Err(lost),
            }
        }
        self.go_on(thread, 0)
    }
}

/// Everything for the execution of an emulator.
struct Prepared {
    /// The arguments of `execveat`.
    args: [u64; 6],
    emulator: u64,
    name: Place,
}

/// Reads the list of arguments: their addresses. `None` for a list that the kernel will refuse.
fn read_arguments(session: &Session, list: u64) -> Result<Option<Vec<u64>>, Fault> {
    let width = session.abi().pointer();
    let mut pointers = Vec::new();
    if list == 0 {
        return Ok(Some(pointers));
    }
    while pointers.len() * width < ARGUMENT_BYTES {
        let Some(at) = list.checked_add((pointers.len() * width) as u64) else { return Ok(None) };
        match session.read_list(at) {
            Ok(part) => {
                let end = part.iter().position(|pointer| *pointer == 0);
                pointers.extend_from_slice(&part[..end.unwrap_or(part.len())]);
                if end.is_some() {
                    return Ok(Some(pointers));
                }
            }
            Err(Fault::Failed(_)) => return Ok(None),
            Err(lost) => return Err(lost),
        }
    }
    Ok(None)
}
