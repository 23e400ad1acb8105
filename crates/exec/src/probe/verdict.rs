//! From the results of a trial to verdicts, with a reason and a remedy for each gap.

use rustix::io::Errno;
use xbuild_wording::hints;

use super::executor::Ways;
use super::programs::Subject;
use super::report::{Attempt, Outcome, Run, Seen};
use crate::arch::Arch;
use crate::binfmt::HostEntry;
use crate::diagnose;
use crate::emulator::Emulator;
use crate::error::{RunError, SandboxError, in_words};
use crate::gap::Gap;

pub(super) fn user_namespaces(seen: &Seen) -> Result<(), Gap> {
    if let Some(Err(errno)) = seen.user_namespace {
        return Err(Gap {
            why: format!("cannot create a user namespace: {errno}"),
            how_to_get: diagnose::refused_namespace("user", errno.into()),
        });
    }
    match (&seen.child, &seen.id_map) {
        (_, Some(Ok(()))) => Ok(()),
        (_, Some(Err(error))) => Err(of_sandbox(error)),
        (child, None) => Err(unfinished("user namespaces", child)),
    }
}

/// Returns whether the map with a range of ids was accepted, if one was tried out.
pub(super) fn id_range(seen: &Seen) -> Result<(), Gap> {
    match &seen.range {
        Some(Err(error)) => Err(of_sandbox(error)),
        _ => Ok(()),
    }
}

pub(super) fn chroot(seen: &Seen) -> Result<(), Gap> {
    user_namespaces(seen)?;
    match seen.chroot {
        Some(Err(errno)) => Err(Gap {
            why: format!("cannot change the root directory in a user namespace: {errno}"),
            how_to_get: diagnose::refused_namespace("user", errno.into()),
        }),
        _ => Ok(()),
    }
}

/// Returns whether a rung without mounts can run programs.
pub(super) fn alone(seen: &Seen) -> Result<(), Gap> {
    if seen.way.has_users() {
        chroot(seen)?;
    }
    of_step(&seen.folder, "a folder as root", seen)?;
    of_step(&seen.filter, "a filter of system calls", seen)?;
    program(seen)
}

/// Returns whether programs of other architectures could be tried out.
fn ground(seen: &Seen) -> Result<(), Gap> {
    if seen.way.has_mounts() { mounts(seen) } else { alone(seen) }
}

pub(super) fn mounts(seen: &Seen) -> Result<(), Gap> {
    user_namespaces(seen)?;
    if let Some(Err(error)) = &seen.mount_namespace {
        return Err(of_sandbox(error));
    }
    of_step(&seen.mounts, "mounts in user namespaces", seen)
}

pub(super) fn filter(seen: &Seen) -> Result<(), Gap> {
    mounts(seen)?;
    match &seen.filter {
        Some(Err(error)) => Err(of_run(error)),
        // Without a root file system the trial does not come so far.
        _ => Ok(()),
    }
}

pub(super) fn own_proc(seen: &Seen) -> Result<(), Gap> {
    mounts(seen)?;
    of_step(&seen.own_proc, "a /proc of the step", seen)
}

pub(super) fn overlay(seen: &Seen) -> Result<(), Gap> {
    filter(seen)?;
    of_step(&seen.overlay, "overlay mounts", seen).map_err(|gap| Gap {
        how_to_get: match &seen.overlay {
            Some(Err(error)) => error.hint().unwrap_or_else(hints::overlay_store),
            _ => gap.how_to_get,
        },
        ..gap
    })?;
    program(seen)
}

pub(super) fn folder(seen: &Seen) -> Result<(), Gap> {
    filter(seen)?;
    of_step(&seen.folder, "a folder as root", seen)?;
    // The trial runs its program on the best root file system only.
    if matches!(seen.overlay, Some(Ok(()))) { Ok(()) } else { program(seen) }
}

/// Returns whether the program ran in the place of the step.
fn program(seen: &Seen) -> Result<(), Gap> {
    of_step(&seen.program, "a program", seen)
}

/// Returns the gap of a part of a step's place.
fn of_step(attempt: &Attempt<RunError>, what: &str, seen: &Seen) -> Result<(), Gap> {
    match attempt {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(of_run(error)),
        None => Err(unfinished(what, &seen.child)),
    }
}

fn of_run(error: &RunError) -> Gap {
    let how_to_get = error.hint().unwrap_or_else(hints::doctor);
    Gap { why: in_words(error), how_to_get }
}

fn of_sandbox(error: &SandboxError) -> Gap {
    let how_to_get = error.hint().unwrap_or_else(hints::doctor);
    Gap { why: in_words(error), how_to_get }
}

/// Returns the gap of a trial that did not come so far.
fn unfinished(what: &str, child: &std::io::Result<()>) -> Gap {
    Gap {
        why: match child {
            Err(error) => format!("cannot try out {what}: {error}"),
            Ok(()) => format!("cannot try out {what}: the process was killed"),
        },
        how_to_get: hints::processes_and_memory(),
    }
}

pub(super) fn private_binfmt(seen: &Seen) -> Result<(), Gap> {
    if !seen.way.has_mounts() {
        return Err(Gap {
            why: "a private binfmt_misc needs mounts, which are refused or not wanted here"
                .to_owned(),
            how_to_get: hints::rung_with_mounts(),
        });
    }
    mounts(seen)?;
    match seen.private_binfmt {
        Some(Ok(())) => Ok(()),
        Some(Err(Errno::NODEV)) => Err(Gap {
            why: "the kernel has no binfmt_misc".to_owned(),
            how_to_get: hints::load_binfmt(),
        }),
        Some(Err(errno)) => Err(Gap {
            why: format!("cannot mount a private binfmt_misc, which is new in Linux 6.7: {errno}"),
            how_to_get: hints::host_registration(),
        }),
        None => Err(Gap {
            why: "a private binfmt_misc could not be tried out in time".to_owned(),
            how_to_get: hints::less_busy(),
        }),
    }
}

/// Returns whether the calls that execute programs can be intercepted.
pub(super) fn interception(seen: &Seen) -> Result<(), Gap> {
    ground(seen)?;
    match seen.interception {
        Some(Ok(())) => Ok(()),
        Some(Err(errno)) => Err(Gap {
            why: format!("cannot intercept execve: {errno}"),
            how_to_get: hints::allow_ptrace(),
        }),
        None => Err(Gap {
            why: "the interception of execve is not implemented for this machine's processor"
                .to_owned(),
            how_to_get: hints::host_registration(),
        }),
    }
}

/// Returns the ways to run programs of the subject.
pub(super) fn ways(
    host: Option<Arch>,
    subject: &Subject,
    outcome: &Outcome,
    seen: &Seen,
    entries: &[HostEntry],
) -> Ways {
    let entry = entries.iter().find(|entry| entry.serves(&crate::tiny_elf::program(subject.arch)));
    let runs_by_host = outcome.by_host == Run::Well;
    let is_compat = host.and_then(Arch::compat) == Some(subject.arch);
    // Without a private instance for the trial, only the absence of an entry speaks for the CPU.
    let by_cpu = match seen.private_binfmt {
        Some(Ok(())) => outcome.by_cpu == Run::Well,
        _ => is_compat && runs_by_host && entry.is_none(),
    };
    let by_host = if runs_by_host && !by_cpu {
        Ok(entry.map(|entry: &HostEntry| entry.name.clone()))
    } else {
        Err(host_gap(subject.arch, seen, entry))
    };
    let private = by_emulator(subject, seen, || {
        private_binfmt(seen)?;
        ran_well(subject, outcome.registered, outcome.emulated)
    });
    let intercepted = by_emulator(subject, seen, || {
        interception(seen)?;
        match outcome.emulated {
            Run::Well => Ok(()),
            _ => ran_well(subject, None, outcome.direct),
        }
    });
    let gap = match (&private, &intercepted) {
        (Err(private), Err(intercepted)) if private.why != intercepted.why => Gap {
            why: format!("{}; {}", private.why, intercepted.why),
            how_to_get: private.how_to_get.clone(),
        },
        (Err(gap), _) | (_, Err(gap)) => gap.clone(),
        (Ok(_), Ok(_)) => host_gap(subject.arch, seen, entry),
    };
    let is_refused = subject.emulator.as_ref().is_err_and(|missing| missing.is_installed);
    Ways { by_cpu, private, intercepted, by_host, is_refused, gap }
}

/// Returns the subject's emulator, if there is one and `check` has no objection.
fn by_emulator(
    subject: &Subject,
    seen: &Seen,
    check: impl FnOnce() -> Result<(), Gap>,
) -> Result<Emulator, Gap> {
    ground(seen)?;
    let emulator = subject.emulator.as_ref().map_err(|missing| missing.gap.clone())?;
    check().map(|()| emulator.clone())
}

/// Returns why the host's entries do not help.
fn host_gap(arch: Arch, seen: &Seen, entry: Option<&HostEntry>) -> Gap {
    if let Err(gap) = ground(seen) {
        return gap;
    }
    Gap {
        why: match entry {
            Some(entry) if !entry.is_fixed() => format!(
                "the host's entry {} lacks the flag F, so it does not work in images",
                entry.name
            ),
            Some(entry) => format!("the host's entry {} does not work in images", entry.name),
            None => format!("the host's binfmt_misc has no entry for {} programs", arch.oci_name()),
        },
        how_to_get: hints::host_registration(),
    }
}

/// Judges a run of the test program with the subject's emulator.
pub(super) fn ran_well(subject: &Subject, registered: Option<Errno>, run: Run) -> Result<(), Gap> {
    let Ok(emulator) = &subject.emulator else { return Ok(()) };
    let path = emulator.path.display();
    let why = match (registered, run) {
        (Some(errno), _) => format!("the kernel does not take {path} as an emulator: {errno}"),
        (None, Run::Well) => return Ok(()),
        (None, Run::Refused(errno)) => format!("{path} cannot be executed: {errno}"),
        (None, Run::Badly(code)) => {
            format!("{path} does not run a test program well: exit code {code}")
        }
        (None, Run::Killed(signal)) => {
            format!("{path} does not run a test program: killed by signal {signal}")
        }
        (None, Run::Not) => format!("{path} could not be tried out in time"),
    };
    Err(Gap { why, how_to_get: hints::other_qemu() })
}
