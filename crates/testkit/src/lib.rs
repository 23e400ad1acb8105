//! What tests are made of: servers, layers, images, folders, requests and spans. Nothing outside of
//! tests uses it.

pub mod files;
pub mod folders;
pub mod images;
pub mod layers;
mod listener;
pub mod registry;
pub mod requests;
pub mod sample;
pub mod spans;
pub mod wire;
