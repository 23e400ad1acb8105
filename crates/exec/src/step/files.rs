//! Files that exist only while the command runs: the resolver's configuration, the list of hosts,
//! scripts. They are mounted over files of the image, or over mount points that go again.
//!
//! The step may write to `/etc/hosts` and `/etc/resolv.conf`, as `chmod -R g=u /etc` does: these are
//! copies of its own, and its changes are thrown away with them.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::fd::AsFd;

use rustix::mount::MountAttrFlags;

use super::standby::Spec;
use super::userns::mounts;
use super::userns::root::Root;
use super::userns::stubs::Recorder;
use super::walk::{self, Missing};
use crate::error::RunError;
use crate::mount;

/// The most bytes of the host's resolver configuration that are taken over.
const RESOLV_LIMIT: u64 = 1 << 20;

/// Binds all of them. What is to be undone later goes to `recorder`.
pub(crate) fn bind_all(root: &Root, spec: &Spec, recorder: &mut Recorder) -> Result<(), RunError> {
    let mut number = 0;
    let own = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let read_only = own | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let mut bind = |path: &str, contents: &[u8], mode: u32, attributes: MountAttrFlags| {
        number += 1;
        let file = Generated { name: format!("file-{number}"), contents, mode, attributes };
        bind_file(root, recorder, path, &file)
    };
    let resolv = if spec.isolated { Vec::new() } else { resolver_configuration()? };
    bind("/etc/resolv.conf", &resolv, 0o644, own)?;
    bind("/etc/hosts", hosts(spec)?.as_bytes(), 0o644, own)?;
    for script in &spec.scripts {
        bind(&script.path, script.contents.as_bytes(), script.mode & 0o777, read_only)?;
    }
    Ok(())
}

/// A file to be made in memory and mounted.
struct Generated<'a> {
    /// Its name in the staging folder.
    name: String,
    contents: &'a [u8],
    mode: u32,
    /// Of the mount.
    attributes: MountAttrFlags,
}

fn bind_file(
    root: &Root,
    recorder: &mut Recorder,
    path: &str,
    generated: &Generated<'_>,
) -> Result<(), RunError> {
    let Generated { name, contents, mode, attributes } = generated;
    let mut bind = || -> Result<(), std::io::Error> {
        let place = walk::locate(root.fd.as_fd(), path.as_bytes(), Missing::MakeFile)?;
        recorder.add(root.fd.as_fd(), place.made)?;
        let mut file = File::from(mounts::make_file(&root.staging, name, *mode)?);
        file.write_all(contents)?;
        // A program that is open for writing cannot be executed.
        drop(file);
        let mount = mount::clone_of(mounts::open_path(&root.staging, name)?, false)?;
        mount::restrict(&mount, *attributes, false)?;
        Ok(mounts::attach(mount, place.fd)?)
    };
    bind().map_err(RunError::mount(path))
}

/// Returns the host's resolver configuration; empty, which means a server on this machine, if it
/// has none.
fn resolver_configuration() -> Result<Vec<u8>, RunError> {
    let mut contents = Vec::new();
    match File::open("/etc/resolv.conf") {
        Ok(file) => file
            .take(RESOLV_LIMIT)
            .read_to_end(&mut contents)
            .map(|_| contents)
            .map_err(RunError::setup("read /etc/resolv.conf of the host")),
        Err(_) => Ok(contents),
    }
}

/// Returns the list of hosts: this one, and those that the request adds.
fn hosts(spec: &Spec) -> Result<String, RunError> {
    check(&spec.hostname, "host name", &spec.hostname)?;
    let mut text = format!(
        "127.0.0.1\tlocalhost {}\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        spec.hostname
    );
    for (name, address) in &spec.extra_hosts {
        for word in [name, address] {
            check(word, "extra host", &format!("{name}:{address}"))?;
        }
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{address}\t{name}");
    }
    Ok(text)
}

/// Refuses what could smuggle other lines into the list.
fn check(word: &str, what: &str, value: &str) -> Result<(), RunError> {
    if word.is_empty() || word.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(RunError::Invalid { what: what.to_owned(), value: value.to_owned() });
    }
    Ok(())
}
