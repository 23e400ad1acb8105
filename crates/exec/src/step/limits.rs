//! Resource limits of the command.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::RunError;

/// Open files, soft and hard: some machines have a limit of a billion, under which programs that look
/// at each possible descriptor take minutes. The soft limit suits programs that use `select`, the
/// hard limit is that of most hosts.
const OPEN_FILES: (u64, u64) = (1024, 524_288);

/// Core files: none, unless the command raises the soft limit.
const NO_CORE: (Resource, u64, u64) = (Resource::Core, 0, UNLIMITED);

/// The value that stands for "no limit" in a request, as for the kernel.
const UNLIMITED: u64 = u64::MAX;

const NAMES: &[(&str, Resource)] = &[
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

/// Sets the limits of `wanted` (name, soft, hard), and the usual limits for all other resources.
pub(super) fn apply(wanted: &[(String, u64, u64)]) -> Result<(), RunError> {
    for (resource, soft, hard) in [(Resource::Nofile, OPEN_FILES.0, OPEN_FILES.1), NO_CORE] {
        let most = getrlimit(resource).maximum.map_or(hard, |most| most.min(hard));
        let limit = Rlimit { current: Some(soft.min(most)), maximum: limit(most) };
        if wanted.iter().all(|(name, ..)| find(name).ok() != Some(resource)) {
            setrlimit(resource, limit).map_err(RunError::setup("limit resources"))?;
        }
    }
    for (name, soft, hard) in wanted {
        let value = Rlimit { current: limit(*soft), maximum: limit(*hard) };
        setrlimit(find(name)?, value).map_err(|errno| RunError::Limit {
            name: name.clone(),
            soft: *soft,
            hard: *hard,
            source: errno.into(),
        })?;
    }
    Ok(())
}

/// Returns the names of the resources that a step can have a limit of.
pub fn resource_names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

fn limit(value: u64) -> Option<u64> {
    Some(value).filter(|value| *value != UNLIMITED)
}

fn find(name: &str) -> Result<Resource, RunError> {
    let known = NAMES.iter().find(|(known, _)| *known == name);
    known.map(|(_, resource)| *resource).ok_or_else(|| RunError::Invalid {
        what: "resource limit".to_owned(),
        value: name.to_owned(),
    })
}
