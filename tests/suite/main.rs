//! The suite: the real binary, as root and as ordinary users, against real registries, emulators
//! and image tools.
//!
//! What a test needs beyond a plain Linux it asks for with [`harness::need`]: where that is
//! missing the test is counted as skipped in `target/skipped.log`, or fails if `XBUILD_REQUIRE`
//! names the feature.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

#[path = "suite/architecture.rs"]
mod architecture;
#[path = "suite/cache.rs"]
mod cache;
#[path = "suite/cache_mounts.rs"]
mod cache_mounts;
#[path = "suite/command_line.rs"]
mod command_line;
#[path = "suite/compression.rs"]
mod compression;
#[path = "suite/debian.rs"]
mod debian;
#[path = "suite/digests.rs"]
mod digests;
#[path = "suite/harness.rs"]
mod harness;
#[path = "suite/image.rs"]
mod image;
#[path = "suite/kill.rs"]
mod kill;
#[path = "suite/layers_first.rs"]
mod layers_first;
#[path = "suite/lint.rs"]
mod lint;
#[path = "suite/main_job.rs"]
mod main_job;
#[path = "suite/mounts.rs"]
mod mounts;
#[path = "suite/push_ahead.rs"]
mod push_ahead;
#[path = "suite/reasons.rs"]
mod reasons;
#[path = "suite/remote.rs"]
mod remote;
#[path = "suite/run_steps.rs"]
mod run_steps;
