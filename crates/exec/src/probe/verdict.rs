//! From the results of a trial to verdicts, with a reason and a remedy for each gap.

use rustix::io::Errno;

use super::executor::Ways;
use super::trial::{Outcome, Run, Seen, Subject};
use crate::arch::Arch;
use crate::binfmt::HostEntry;
use crate::diagnose;
use crate::emulator::Emulator;
use crate::gap::Gap;

pub(super) fn user_namespaces(seen: &Seen) -> Result<(), Gap> {
    let gap = |why: &str, errno: Errno| {
        let hint = diagnose::refused_setup(errno.into());
        Gap {
            why: format!("{why}: {errno}"),
            how_to_get: hint.unwrap_or_else(|| diagnose::refused_namespace("user", errno.into())),
        }
    };
    if let Some(Err(errno)) = seen.user_namespace {
        return Err(Gap {
            why: format!("cannot create a user namespace: {errno}"),
            how_to_get: diagnose::refused_namespace("user", errno.into()),
        });
    }
    if let Some(Err(errno)) = seen.id_map {
        return Err(gap("cannot map the own id into a user namespace", errno));
    }
    if let Some(Err(errno)) = seen.mounts {
        return Err(gap("cannot mount a file system in a user namespace", errno));
    }
    match (&seen.child, seen.mounts) {
        (Ok(()), Some(_)) => Ok(()),
        (child, _) => Err(Gap {
            why: match child {
                Err(error) => format!("cannot try out user namespaces: {error}"),
                Ok(()) => "cannot try out user namespaces: the process was killed".to_owned(),
            },
            how_to_get: "raise the limits on processes and memory".to_owned(),
        }),
    }
}

pub(super) fn overlay(seen: &Seen) -> Result<(), Gap> {
    user_namespaces(seen)?;
    match seen.overlay {
        Some(Err(errno)) => Err(Gap {
            why: format!("cannot mount overlayfs in a user namespace: {errno}"),
            how_to_get: diagnose::refused_setup(errno.into()).unwrap_or_else(|| {
                "use Linux 5.11 or newer, with the module overlay loaded".to_owned()
            }),
        }),
        _ => Ok(()),
    }
}

pub(super) fn private_binfmt(seen: &Seen) -> Result<(), Gap> {
    user_namespaces(seen)?;
    match seen.private_binfmt {
        Some(Ok(())) => Ok(()),
        Some(Err(Errno::NODEV)) => Err(Gap {
            why: "the kernel has no binfmt_misc".to_owned(),
            how_to_get: "load the module binfmt_misc".to_owned(),
        }),
        Some(Err(errno)) => Err(Gap {
            why: format!("cannot mount a private binfmt_misc, which is new in Linux 6.7: {errno}"),
            how_to_get: HOST_REGISTRATION.to_owned(),
        }),
        None => Err(Gap {
            why: "a private binfmt_misc could not be tried out in time".to_owned(),
            how_to_get: "try again on a less busy machine".to_owned(),
        }),
    }
}

/// Returns whether the calls that execute programs can be intercepted.
pub(super) fn interception(seen: &Seen) -> Result<(), Gap> {
    user_namespaces(seen)?;
    match seen.interception {
        Some(Ok(())) => Ok(()),
        Some(Err(errno)) => Err(Gap {
            why: format!("cannot intercept execve: {errno}"),
            how_to_get: "allow ptrace and seccomp: a system call filter of a container around \
                         xbuild, or sysctl kernel.yama.ptrace_scope=3, forbids them"
                .to_owned(),
        }),
        None => Err(Gap {
            why: "the interception of execve is not implemented for this machine's processor"
                .to_owned(),
            how_to_get: HOST_REGISTRATION.to_owned(),
        }),
    }
}

const HOST_REGISTRATION: &str = "use a newer kernel, or have the administrator register emulators \
    with the flag F for the whole machine (packages qemu-user-static and binfmt-support)";

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
    user_namespaces(seen)?;
    let emulator = subject.emulator.as_ref().map_err(|missing| missing.gap.clone())?;
    check().map(|()| emulator.clone())
}

/// Returns why the host's entries do not help.
fn host_gap(arch: Arch, seen: &Seen, entry: Option<&HostEntry>) -> Gap {
    if let Err(gap) = user_namespaces(seen) {
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
        how_to_get: HOST_REGISTRATION.to_owned(),
    }
}

/// Judges a run of the test program with the subject's emulator.
fn ran_well(subject: &Subject, registered: Option<Errno>, run: Run) -> Result<(), Gap> {
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
    Err(Gap { why, how_to_get: "install another version of QEMU, 6.0 or newer".to_owned() })
}
