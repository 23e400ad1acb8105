//! The process that watches a step from outside: it collects events, and answers system calls that
//! the kernel refuses to the step.
//!
//! The filter of the step passes such a call on to here, where it is done in another way, with no
//! right that the caller lacks: [`guise`] makes the process act from the caller's place and with
//! the caller's ids, which [`caller`] reads. The process is in neither the step's pid namespace nor
//! its mount namespace, so the step cannot reach it. It never lets the kernel continue such a
//! call after a look at its arguments, which could change meanwhile.
//!
//! Where nothing can be mounted it also stands in for files (`scene`): processes in `/proc`, devices,
//! secrets. The kernel gets the calls for all other paths as they are; a caller that changes its path
//! meanwhile gains nothing but the kernel's answer.
//!
//! Where there is one id it records the owners of files (`owners`), for the step and for the layer.
//!
//! `watch` is the loop, `desk` the thread beside it; `answers` has a file for each system call that is answered.
//!
//! **Source** — `seccomp_unotify(2)`.

mod answers;
mod caller;
mod desk;
mod guise;
mod memory;
mod nearness;
mod owners;
mod reply;
mod scene;
mod step_place;
mod thread;
mod watch;

pub(crate) use owners::ground::Ground;
pub(crate) use scene::{Machine, ProcFolder, Scene, Shown};
pub(crate) use step_place::StepPlace;
pub(crate) use watch::{Stop, attend};
