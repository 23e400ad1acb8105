//! What tests are made of: servers and builders. Nothing outside of tests uses it.

pub mod files;
mod listener;
pub mod registry;
pub mod wire;
