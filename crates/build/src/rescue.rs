//! A shell in the place of a step that failed, before that place is thrown away.

use std::io;
use std::sync::{Mutex, PoisonError};

use xbuild_exec::{Natively, Sandbox, Streams};
use xbuild_model::records::Records;
use xbuild_model::rootfs::RootFs;
use xbuild_model::run::{ReadyMount, RunRequest};
use xbuild_model::seam::{Output, Runner};
use xbuild_model::{Cancel, Chain, FailureKind, Platform, StepFailure};

/// Gives a terminal to the shell of a failed step. Implemented by whoever knows a terminal.
pub trait Shells: Send + Sync {
    /// Says that the command `argv` failed, and returns the streams of a shell in its place. What the
    /// build shows waits until [`close`](Self::close) is called.
    ///
    /// **Errors** — there is no terminal any more.
    fn open(&self, argv: &[String], failure: &StepFailure) -> io::Result<Streams>;

    /// The shell has ended, or did not start for this reason.
    fn close(&self, failure: Option<&StepFailure>);
}

/// A runner that opens a shell where a command failed. The step fails all the same.
pub(crate) struct Rescued<'a> {
    /// Runs the steps.
    pub(crate) runner: &'a dyn Runner,
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) shells: &'a dyn Shells,
    pub(crate) cancel: &'a Cancel,
    /// Held while there is a shell: there is one terminal.
    pub(crate) terminal: Mutex<()>,
}

impl Runner for Rescued<'_> {
    fn run(
        &self,
        root: &RootFs,
        request: &RunRequest,
        mounts: &[ReadyMount],
        below: &Chain,
        output: &dyn Output,
    ) -> Result<Records, StepFailure> {
        let result = self.runner.run(root, request, mounts, below, output);
        let Err(failure) = &result else { return result };
        let _terminal = self.terminal.lock().unwrap_or_else(PoisonError::into_inner);
        // Steps that end because another one failed are not what the user wants to look at.
        if failure.kind() != FailureKind::Step || self.cancel.is_cancelled() {
            return result;
        }
        if let Ok(streams) = self.shells.open(&request.argv, failure) {
            let shell = RunRequest { argv: shell(&request.argv), ..request.clone() };
            // Without twins: the command may have replaced programs of the base image.
            let natively = Natively::default();
            let ended = self.sandbox.attach(root, &shell, mounts, streams, natively);
            self.shells.close(ended.err().as_ref());
        }
        result
    }

    fn is_emulated(&self, platform: &Platform) -> bool {
        self.sandbox.is_emulated(platform)
    }
}

/// Returns the shell that ran the command, or the usual one.
fn shell(argv: &[String]) -> Vec<String> {
    let known = |path: &&String| {
        let name = path.rsplit('/').next().unwrap_or_default();
        matches!(name, "ash" | "bash" | "dash" | "ksh" | "mksh" | "sh" | "yash" | "zsh" | "fish")
    };
    vec![argv.first().filter(known).map_or_else(|| "/bin/sh".to_owned(), String::clone)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_of_the_step_is_taken() {
        for (argv, expected) in [
            (&["/bin/bash", "-c", "false"][..], "/bin/bash"),
            (&["sh", "-c", "false"], "sh"),
            (&["python3", "x.py"], "/bin/sh"),
            (&[], "/bin/sh"),
        ] {
            let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
            assert_eq!(shell(&argv), [expected]);
        }
    }
}
