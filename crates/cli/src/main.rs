//! `xbuild`: builds container images for many platforms from one Dockerfile.
//!
//! This package only wires: arguments to options, options to the stages of the pipeline, results
//! to what people and programs read. `docs/architecture.md` follows a build through it.

mod annotations;
mod arguments;
mod check_report;
mod commands;
mod contexts;
mod docker_config;
mod dockerfile_file;
mod environment;
mod export;
mod import;
mod linting;
mod main_context;
mod output;
mod planning;
mod preflight;
mod progress;
mod project;
mod push_ahead;
mod reasons;
mod report;
mod result;
mod secrets;
mod tasks;
mod variant;
mod wiring;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: the sandbox's helper processes are this program, started anew.
    if let Some(status) = xbuild_exec::role(&tasks::all()) {
        return status;
    }
    xbuild_exec::end_by_signals();
    arguments::run()
}
