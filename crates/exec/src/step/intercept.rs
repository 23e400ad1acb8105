//! Emulators without binfmt_misc: `execve` is intercepted, and the emulator put in front.
//!
//! A system call filter stops the processes of a step at `execve` and `execveat`, and nowhere else.
//! Pid 1 of the step is their tracer (`tracer`). It makes the stopped thread itself look at the file
//! (`session`, `program`), follows the first lines of scripts (`header`), and leaves everything to
//! the kernel that needs no emulator or that the kernel would refuse. Otherwise it gives the thread
//! a descriptor of the emulator (`delivery`) and other arguments (`vector`, in `scratch` memory).
//!
//! Processes are traced from their beginning to their end, whatever user they become. A process has
//! one tracer, so debuggers in such a step find theirs taken.
//!
//! Source: `ptrace(2)`, `seccomp(2)` § SECCOMP_RET_TRACE, `execve(2)`.

mod abi;
mod delivery;
mod emulators;
mod header;
mod memory;
mod name;
mod program;
mod registers;
mod scratch;
mod session;
mod stop;
mod sys;
mod tracer;
mod trial;
mod vector;

pub(crate) use emulators::Emulators;
pub(super) use tracer::{attach, run};
pub(crate) use trial::attempt;
