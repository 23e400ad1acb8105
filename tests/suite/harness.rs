//! The harness: a place to build in, the users who build, and what a test may need around them.
//!
//! A test says what it needs, fills a [`Place`], builds, and looks at how the build ended
//! ([`Finished`]) or at the [`Image`](crate::image::Image) that came out:
//!
//! ```ignore
//! needs!(Run);
//! let place = Place::new(User::Me);
//! place.write("Dockerfile", "FROM busybox\nRUN exit 7\n");
//! place.build(&[]).fails(3, &["exit code 7"]);
//! ```

mod docker;
mod fault_proxy;
mod finished;
mod host;
mod needs;
mod place;
mod registry;
mod tls_front;
mod tmux;
mod token_server;
mod tools;
mod typed;
mod user;

pub(crate) use docker::Docker;
pub(crate) use fault_proxy::{FaultProxy, Plan, Trouble};
pub(crate) use finished::Finished;
pub(crate) use host::host_state;
pub(crate) use needs::{Need, have, needs};
pub(crate) use place::{Place, to_layout};
pub(crate) use registry::{CREDENTIALS, Registry};
pub(crate) use tls_front::TlsFront;
pub(crate) use tmux::Tmux;
pub(crate) use token_server::TokenServer;
pub(crate) use tools::{cached, checkout, found_in_path, in_path, program, quiet, tool};
pub(crate) use typed::Typed;
pub(crate) use user::{User, is_root};
