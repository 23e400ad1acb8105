//! From the results of a trial to verdicts, with a reason and a remedy for each gap.

use rustix::io::Errno;

use super::executor::{Executor, Ways};
use super::trial::{Outcome, Run, Seen, Subject};
use crate::arch::Arch;
use crate::binfmt::HostEntry;
use crate::diagnose;
use crate::gap::Gap;

pub(super) fn user_namespaces(seen: &Seen) -> Result<(), Gap> {
    let gap = |why: &str, errno: Errno| {
        let hint = diagnose::refused_setup(errno.into());
        Gap {
            why: format!("{why}: {errno}"),
            how_to_get: hint.unwrap_or_else(|| diagnose::refused_namespace(errno.into())),
        }
    };
    if let Some(Err(errno)) = seen.user_namespace {
        return Err(Gap {
            why: format!("cannot create a user namespace: {errno}"),
            how_to_get: diagnose::refused_namespace(errno.into()),
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

const HOST_REGISTRATION: &str = "use a newer kernel, or have the administrator register emulators \
    with the flag F for the whole machine (packages qemu-user-static and binfmt-support)";

/// Returns the ways to run programs of the subject. The best is the first that works: the CPU, an
/// emulator of the build's own, an emulator of the host.
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
    let host_entry =
        (runs_by_host && !by_cpu).then(|| entry.map(|entry: &HostEntry| entry.name.clone()));
    let best = if by_cpu {
        Executor::Compat32
    } else {
        match (&subject.emulator, &host_entry) {
            (Ok((emulator, _)), _) if outcome.emulated == Run::Well => {
                Executor::PrivateBinfmt { emulator: emulator.clone() }
            }
            (_, Some(entry)) => Executor::HostBinfmt { entry: entry.clone() },
            _ => Executor::Missing(missing(subject, outcome, seen, entry)),
        }
    };
    Ways { best, host_entry }
}

fn missing(subject: &Subject, outcome: &Outcome, seen: &Seen, entry: Option<&HostEntry>) -> Gap {
    if let Err(gap) = user_namespaces(seen) {
        return gap;
    }
    let (emulator, _) = match &subject.emulator {
        Ok(loaded) => loaded,
        Err(gap) => return gap.clone(),
    };
    if let Err(mut gap) = private_binfmt(seen) {
        if let Some(entry) = entry.filter(|entry| !entry.is_fixed()) {
            gap.why = format!(
                "{}; the host's entry {} lacks the flag F, so it does not work in images",
                gap.why, entry.name
            );
        }
        return gap;
    }
    let path = emulator.path.display();
    let how_to_get = "install another version of QEMU, 6.0 or newer".to_owned();
    let why = match (outcome.registered, outcome.emulated) {
        (Some(errno), _) => format!("the kernel does not take {path} as an emulator: {errno}"),
        (None, Run::Refused(errno)) => format!("{path} cannot be executed: {errno}"),
        (None, Run::Badly(code)) => {
            format!("{path} does not run a test program well: exit code {code}")
        }
        (None, Run::Killed(signal)) => {
            format!("{path} does not run a test program: killed by signal {signal}")
        }
        (None, Run::Not | Run::Well) => format!("{path} could not be tried out in time"),
    };
    Gap { why, how_to_get }
}
