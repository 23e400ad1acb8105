//! The helper's side: the process that owns the build's user and mount namespaces.
//!
//! ```text
//! xbuild (namespaces of the host)
//!   │ sockets: set-up, then tasks and steps, each with a pipe for its answer
//! helper (user and mount namespace of the build, root there)
//!   ├─ child: a task such as unpacking a layer
//!   └─ child: the watcher of a RUN step
//!        └─ pid 1 of the step's namespaces
//!             └─ the command, and what it starts
//! ```
//!
//! The helper ends when xbuild closes the socket or dies, each child when the helper does, a
//! step's processes when their pid 1 does. Mounts go with their namespace, so nothing is left.

mod join;
mod lanes;
mod role;
mod serve;
mod tasks;
mod twins;

pub use role::role;
pub(crate) use serve::{become_root, own_mounts};
pub use tasks::{TaskFn, Tasks};
