//! Material for tests: servers, layers, images, folders, requests and spans. Only tests use it.

pub mod files;
pub mod folders;
pub mod images;
pub mod layers;
mod listener;
mod quirks;
pub mod registry;
pub mod requests;
pub mod sample;
pub mod spans;
mod tag_list;
pub mod wire;
