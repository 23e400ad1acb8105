//! The text of `/proc/PID/status`.
//!
//! **Source** — `proc_pid_status(5)`.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::identity::{Identity, Ids};
use crate::supervisor::caller;

/// Reads the `status` of a process or thread, by its number for this process.
pub(super) fn read(number: u32) -> Result<String, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(number.to_string(), flags, Mode::empty())?;
    caller::read(&folder, "status")
}

/// Returns the number of a process in its own pid namespace.
pub(super) fn own_number(status: &str) -> Option<u32> {
    field(status, "NStgid")
}

/// Returns the number in a field of a `status`, for the process's own pid namespace.
pub(super) fn field(status: &str, name: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))?;
    line.split('\t').next_back()?.trim().parse().ok()
}

/// Returns the text of a `status` with an identity.
pub(super) fn changed(text: &str, identity: &Identity) -> String {
    let (effective, permitted) = identity.keeps();
    let ids = |ids: &Ids| format!("{}\t{}\t{}\t{}", ids.real, ids.effective, ids.saved, ids.files);
    let line = |line: &str| {
        let (name, value) = line.split_once(":\t").unwrap_or((line, ""));
        let none = "0".repeat(value.len());
        let value = match name {
            "Uid" => ids(&identity.uid),
            "Gid" => ids(&identity.gid),
            "Groups" => identity.groups.iter().map(|group| format!("{group} ")).collect(),
            "CapEff" if !effective => none,
            "CapPrm" if !permitted => none,
            _ => return format!("{line}\n"),
        };
        format!("{name}:\t{value}\n")
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_the_identity() {
        let text = "Name:\tsh\nNStgid:\t70\t7\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t65534 \n\
            CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\n";
        let ids = |id| Ids { real: id, effective: id, saved: id, files: id };
        let app = Identity { uid: ids(5), gid: ids(6), groups: vec![6, 7], ..Identity::default() };
        let expected = "Name:\tsh\nNStgid:\t70\t7\nUid:\t5\t5\t5\t5\nGid:\t6\t6\t6\t6\nGroups:\t6 7 \n\
            CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n";
        assert_eq!(changed(text, &app), expected);
        assert_eq!(own_number(text), Some(7));
    }
}
