//! The main process's side of the sandbox: it starts the helper, hands tasks over, and passes the
//! output of steps on.

mod agent;
mod arguments;
pub(crate) mod launch;
mod output;
mod run;
mod sandbox;
mod streams;
mod task;

pub use launch::Started;
pub use run::Natively;
pub use sandbox::{Options, Sandbox};
pub use streams::{Streams, Terminal};
