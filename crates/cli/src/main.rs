//! `xbuild`: builds container images for many platforms from one Dockerfile.
//!
//! This package only wires: arguments to options, options to the stages of the pipeline, results
//! to what people and programs read. `docs/architecture.md` follows a build through it.

mod arguments;
mod check_report;
mod commands;
mod console;
mod environment;
mod progress;
mod reasons;
mod report;
mod result;
mod store_args;
mod values;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: the sandbox's helper processes are this program, started anew.
    if let Some(status) = xbuild_exec::role(&xbuild_build::tasks()) {
        return status;
    }
    xbuild_exec::end_by_signals();
    arguments::run()
}
