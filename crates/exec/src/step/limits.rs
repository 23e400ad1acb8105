//! Resource limits of the command.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::RunError;

/// Open files: programs that look at each possible descriptor take minutes under the limit of a
/// billion that some machines have. Soft for programs that use `select`, hard as on most hosts.
const OPEN_FILES: (u64, u64) = (1024, 524_288);

/// The value that stands for "no limit" in a request, as the kernel has it.
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

/// Sets the limits that every step has, then those asked for: (name, soft, hard).
pub(super) fn apply(wanted: &[(String, u64, u64)]) -> Result<(), RunError> {
    let hard = getrlimit(Resource::Nofile).maximum.map_or(OPEN_FILES.1, |m| m.min(OPEN_FILES.1));
    let files = Rlimit { current: Some(OPEN_FILES.0.min(hard)), maximum: Some(hard) };
    setrlimit(Resource::Nofile, files).map_err(RunError::setup("limit the open files"))?;
    for (name, soft, hard) in wanted {
        let resource = find(name)?;
        let value = |limit: u64| Some(limit).filter(|limit| *limit != UNLIMITED);
        let limit = Rlimit { current: value(*soft), maximum: value(*hard) };
        setrlimit(resource, limit).map_err(|errno| RunError::Limit {
            name: name.clone(),
            soft: *soft,
            hard: *hard,
            source: errno.into(),
        })?;
    }
    Ok(())
}

fn find(name: &str) -> Result<Resource, RunError> {
    let known = NAMES.iter().find(|(known, _)| *known == name);
    known.map(|(_, resource)| *resource).ok_or_else(|| RunError::Invalid {
        what: "resource limit".to_owned(),
        value: name.to_owned(),
    })
}
