//! What tests are made of: servers, layers, folders and requests. Nothing outside of tests uses it.

pub mod files;
pub mod folders;
pub mod layers;
mod listener;
pub mod registry;
pub mod requests;
pub mod sample;
pub mod wire;
