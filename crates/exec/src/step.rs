//! One RUN step: the processes from the helper down to the command.
//!
//! The process of the task ([`Standby`]) makes the namespaces, waits, and cleans up afterwards;
//! while the command runs it is the `supervisor` of its system calls. Its child is pid 1 of the
//! step (`init`): it builds the root file system, starts the command (`command`), and reaps. Both
//! processes are there before the request comes, with everything that does not depend on it.
//!
//! In steps of platforms that need it, pid 1 also puts emulators in front of programs (`intercept`).
//!
//! The parts that need mounts are in `userns`: namespaces, mounts, the root file system. `chroot` has
//! what takes their place where nothing can be mounted. Everything else serves any way of running a
//! step.

pub(crate) mod chroot;
mod command;
mod files;
mod init;
pub(crate) mod intercept;
mod limits;
mod own_network;
mod sampler;
mod standby;
mod streams;
mod stubs;
mod user;
pub(crate) mod userns;
mod walk;

pub use limits::resource_names;
pub(crate) use standby::Standby;
