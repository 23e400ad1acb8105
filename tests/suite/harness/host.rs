//! The state of this machine, which a build must not change.

use std::fs;

/// Returns the entries of the host's binfmt_misc and the list of mounts.
pub(crate) fn host_state() -> String {
    let mut entries: Vec<String> = fs::read_dir("/proc/sys/fs/binfmt_misc")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| fs::read_to_string(entry.path()).unwrap_or_default())
        .collect();
    entries.sort();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    format!("{}\n{mounts}", entries.join("\n"))
}
