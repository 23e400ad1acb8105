//! A build from end to end: from what was asked for to images in stores, files and registries.
//!
//! The crate joins the stages of the pipeline and knows no terminal: what it finds out it returns
//! or tells as [`events::Events`].

pub mod annotations;
pub mod contexts;
pub mod docker_config;
pub mod dockerfile_file;
pub mod events;
pub mod export;
pub mod import;
pub mod linting;
pub mod machine;
pub mod main_context;
pub mod output;
pub mod planning;
pub mod preflight;
pub mod problem;
pub mod project;
pub mod push_ahead;
pub mod secrets;
pub mod tasks;
pub mod variant;
pub mod wiring;
