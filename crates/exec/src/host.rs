//! The main process's side of the sandbox: it starts the helper, hands tasks over, and passes the
//! output of steps on.

mod agent;
mod arguments;
mod launch;
mod output;
mod run;
mod sandbox;
mod task;

pub use sandbox::{Options, Sandbox};
