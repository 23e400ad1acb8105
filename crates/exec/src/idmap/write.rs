//! Writing the id map of a process that waits in its new user namespace.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use xbuild_model::ids::Id;

use super::{Extent, IdMap, Writer};
use crate::error::SandboxError;

impl IdMap {
    /// Gives the map to the user namespace of process `pid`.
    pub(crate) fn write(&self, pid: u32) -> Result<(), SandboxError> {
        match &self.writer {
            Writer::Tools { newuidmap, newgidmap } => {
                run_tool(newuidmap, pid, &self.uids)?;
                run_tool(newgidmap, pid, &self.gids)
            }
            Writer::Nobody => Ok(()),
            Writer::Own => self.write_files(pid),
            Writer::OwnWithoutGroups => {
                write_file(pid, "setgroups", "deny")?;
                self.write_files(pid)
            }
        }
    }

    fn write_files(&self, pid: u32) -> Result<(), SandboxError> {
        write_file(pid, "gid_map", &text(&self.gids))?;
        write_file(pid, "uid_map", &text(&self.uids))
    }
}

/// Returns the text of a map file.
fn text<Guest: Id, Host: Id>(extents: &[Extent<Guest, Host>]) -> String {
    let lines = extents.iter().map(Extent::numbers);
    lines.map(|[inside, outside, count]| format!("{inside} {outside} {count}\n")).collect()
}

fn write_file(pid: u32, name: &str, text: &str) -> Result<(), SandboxError> {
    let file = format!("/proc/{pid}/{name}");
    fs::write(&file, text)
        .map_err(|error| SandboxError::WriteMap { file: name.to_owned(), source: error.into() })
}

fn run_tool<Guest: Id, Host: Id>(
    tool: &Path,
    pid: u32,
    extents: &[Extent<Guest, Host>],
) -> Result<(), SandboxError> {
    let numbers = extents.iter().flat_map(Extent::numbers);
    let output = Command::new(tool)
        .arg(pid.to_string())
        .args(numbers.map(|number| number.to_string()))
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(|error| SandboxError::Start {
            attempt: tool.display().to_string(),
            source: error.into(),
        })?;
    if output.status.success() {
        return Ok(());
    }
    Err(SandboxError::MapRefused {
        program: tool.display().to_string(),
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
