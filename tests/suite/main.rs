//! The suite: the real binary, as root and as ordinary users, against real registries, emulators
//! and image tools.
//!
//! A test names its needs beyond a plain Linux with [`harness::needs`]. Without them it is counted as
//! skipped in `target/skipped.log`, or fails if `XBUILD_REQUIRE` names the missing feature.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

mod advice;
mod architecture;
mod archives;
mod attestation_layout;
mod attestations;
mod bake;
mod buildkit;
mod cache;
mod cache_mounts;
mod call;
mod chroot;
mod ci_templates;
mod coming_from;
mod command_line;
mod completion;
mod compression;
mod config;
mod damage;
mod debian;
mod demo;
mod digests;
mod disk;
mod dockerfiles;
mod doctor;
mod documents;
mod emulation;
mod engines;
mod exporters;
mod faults;
mod folder_root;
mod guises;
mod harness;
mod hostile;
mod image;
mod images;
mod index;
mod interactive;
mod isolation;
mod kill;
mod layers_first;
mod lima;
mod lint;
mod log;
mod main_job;
mod mounts;
mod nondistributable;
mod orphans;
mod own_root;
mod owners;
mod progress;
mod push_ahead;
mod reasons;
mod registries;
mod registry_matrix;
mod remote;
mod run_steps;
mod shared_cache;
mod sources;
mod terminal;
mod threats;
mod traces;
mod verify;
