//! The arguments of [`crate::solve`] beside the graph.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime};

use xbuild_model::seam::{LastRuns, Runner, Secrets, Snapshots, StepCache};
use xbuild_model::{Cancel, Digest};

use crate::beside::Beside;

/// The stages that do the work.
#[derive(Clone, Copy)]
pub struct Stages<'a> {
    /// Remembers the results of steps.
    pub cache: &'a dyn StepCache,
    /// Keeps the parts of steps that ran.
    pub last_runs: &'a dyn LastRuns,
    /// Makes layers.
    pub snapshots: &'a dyn Snapshots,
    /// Runs commands.
    pub runner: &'a dyn Runner,
    /// Gives secrets and agents to the steps that name them.
    pub secrets: &'a dyn Secrets,
    /// Ends the work of the other stages. [`crate::solve`] does so when a step fails.
    pub cancel: &'a Cancel,
    /// The builds that are solved at the same time; `None` if there are no others.
    pub beside: Option<Beside<'a>>,
}

impl fmt::Debug for Stages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stages").finish_non_exhaustive()
    }
}

/// How to solve.
#[derive(Debug, Clone)]
pub struct SolveOptions {
    /// A digest of the names of the Dockerfile and the main build context. With its place in them,
    /// a step is known from build to build.
    pub project: Digest,
    /// The most steps that run at once.
    pub jobs: NonZeroUsize,
    /// Whether every step runs even if its result is known; the new results are remembered.
    pub no_cache: bool,
    /// `SOURCE_DATE_EPOCH`: the time of everything new, in seconds since 1970.
    pub epoch: Option<u64>,
}

impl SolveOptions {
    /// Returns the time to record for a step that runs now, RFC 3339 in whole seconds.
    pub(crate) fn now(&self) -> String {
        match self.epoch {
            Some(seconds) => rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
            None => rfc3339(SystemTime::now()),
        }
    }
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
