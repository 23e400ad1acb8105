//! The fetcher against a web server in memory and repositories on this machine.
#![allow(clippy::unwrap_used)]

mod fixture;
mod git;
mod http;
mod spans;
