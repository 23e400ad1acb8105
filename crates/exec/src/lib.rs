//! Running the commands of a build: user and mount namespaces, the sandbox of a step, emulators.
//!
//! [`Sandbox`] is the build's user namespace: it implements the seams `Runner` and `Namespace`. The
//! processes inside are the same program, started again: [`role`] must be the first call of `main`.
//!
//! One folder for each process: `host` (the main process), `helper` (it owns the namespace), `step`
//! (one RUN), `supervisor` (it watches a step); they talk as `protocol` says. [`ladder`] chooses how
//! steps are walled off, `idmap` the ids for it. [`seccomp`] filters the system calls of steps;
//! [`emulator`] and [`binfmt`] make foreign programs run; [`probe`] tries out this machine.
//!
//! # Example
//!
//! ```no_run
//! use std::process::ExitCode;
//! use xbuild_exec::{Isolation, Options, Sandbox, Tasks};
//! use xbuild_model::run::Network;
//! use xbuild_model::seam::Namespace;
//!
//! fn main() -> ExitCode {
//!     let tasks = Tasks::new().with("shout", |request, _| Ok(request.to_ascii_uppercase()));
//!     if let Some(code) = xbuild_exec::role(&tasks) {
//!         return code;
//!     }
//!     let sandbox = Sandbox::new(Options {
//!         isolation: Isolation::AUTO,
//!         choice: None,
//!         started: None,
//!         emulators: Vec::new(),
//!         intercepted: Vec::new(),
//!         network: Network::Host,
//!         search_path: "/usr/bin".into(),
//!         cancel: Default::default(),
//!     });
//!     let answer = sandbox.start("shout", b"hello".to_vec(), Vec::new()).and_then(|task| task.wait());
//!     assert_eq!(answer.expect("this machine has user namespaces"), b"HELLO");
//!     ExitCode::SUCCESS
//! }
//! ```

pub mod arch;
pub mod binfmt;
mod capabilities;
mod container;
mod devices;
mod diagnose;
pub mod emulator;
mod error;
mod gap;
mod helper;
mod host;
mod idmap;
pub mod ladder;
mod lifeline;
mod mount;
mod network;
mod orphans;
mod own_limits;
mod own_root;
pub mod probe;
mod programs;
mod protocol;
mod remedies;
mod sealed;
pub mod seccomp;
mod step;
mod subid;
mod supervisor;
mod surroundings;
mod sys;
mod tiny_elf;
pub mod twins;
mod way;
mod wire;

pub use container::{end_by_signal, end_by_signals, end_children};
pub use error::{EmulationError, Errno, RunError, SandboxError, SeccompError};
pub use helper::{TaskFn, Tasks, role};
pub use host::{Natively, Options, Sandbox, Started, Streams, Terminal};
pub use ladder::{Isolation, Rung};
pub use network::{no_network, own_networks};
pub use orphans::{adopt_orphans, wait_for_orphans};
pub use own_limits::{StackLimit, keep_own_rights, raise_limits};
pub use own_root::OwnRoot;
pub use programs::find as find_program;
pub use step::resource_names;
pub use surroundings::{Place, Surroundings};
