//! Where text leaves the program: problems, notes and results.

use std::io::{self, Write};
use std::process::ExitCode;

use xbuild_model::FailureKind;

pub(crate) use xbuild_build::problem::{Problem, ProblemKind, printable, warning};

/// Prints a problem to standard error and returns the exit status that goes with it.
pub(crate) fn print(problem: &Problem) -> ExitCode {
    if !matches!(problem.kind(), ProblemKind::BrokenPipe | ProblemKind::Shown) {
        // Nobody is left to tell if this fails.
        let _ = io::stderr().write_all(problem.render().as_bytes());
    }
    ExitCode::from(problem.exit_code())
}

/// Writes a line to standard error. Nobody is left to tell if that fails.
pub(crate) fn note(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes to standard output. A reader that went away is a quiet end, not an error.
pub(crate) fn to_stdout(bytes: &[u8]) -> Result<(), Problem> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Problem::new(ProblemKind::BrokenPipe, ""),
        _ => Problem::failure(FailureKind::Internal, format!("cannot write output: {error}")),
    })
}
