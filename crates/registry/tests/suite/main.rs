//! The client against a registry in memory that can be made to fail, and against a real one.
#![allow(clippy::unwrap_used)]

mod auth;
mod download;
mod drip;
mod faults;
mod fixture;
mod foreign;
mod hosts;
mod indexes;
mod logins;
mod mirrors;
mod passwords;
mod pull;
mod push;
mod push_quirks;
mod ranges;
mod reach;
mod real;
mod spans;
mod tags;
mod tls;
mod tokens;
mod waits;
