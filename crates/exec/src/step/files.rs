//! Files that exist only while the command runs: the resolver's configuration, the list of hosts,
//! scripts.
//!
//! The step may change `/etc/hosts` and `/etc/resolv.conf`, as `chmod -R g=u /etc` does: these are
//! copies of its own, and its changes are thrown away with them.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;

use xbuild_model::run::{Network, RunRequest};

use super::own_network::RESOLVER;
use crate::error::RunError;

/// The most bytes of the host's resolver configuration that are taken over.
const RESOLV_LIMIT: u64 = 1 << 20;

/// The list of hosts.
pub(super) const HOSTS: &str = "/etc/hosts";

/// A file for the command, owned by root.
#[derive(Debug)]
pub(super) struct Generated {
    /// Its path, as the command sees it.
    pub(super) path: String,
    pub(super) contents: Vec<u8>,
    pub(super) mode: u32,
    /// Whether the step may not change it.
    pub(super) read_only: bool,
}

/// Returns the files of a step.
pub(super) fn generate(run: &RunRequest) -> Result<Vec<Generated>, RunError> {
    let own = |path: &str, contents: Vec<u8>| Generated {
        path: path.to_owned(),
        contents,
        mode: 0o644,
        read_only: false,
    };
    let resolv = match run.network {
        Network::None => Vec::new(),
        Network::Default | Network::Host => resolver_configuration()?,
        Network::Private => with_own_resolver(&resolver_configuration()?),
    };
    let hosts = hosts(run)?.into_bytes();
    let mut files = vec![own("/etc/resolv.conf", resolv), own(HOSTS, hosts)];
    files.extend(run.scripts.iter().map(|script| Generated {
        path: script.path.clone(),
        contents: script.contents.clone().into_bytes(),
        mode: script.mode & 0o777,
        read_only: true,
    }));
    Ok(files)
}

/// Returns the host's resolver configuration. It is empty if the host has none, which means a
/// server on this machine.
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

/// Returns a resolver configuration for a network of the step's own: pasta passes questions on to the
/// host's first server, wherever that is. Servers on the host's loopback are out of reach.
fn with_own_resolver(contents: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(contents);
    let is_kept = |line: &&str| {
        let mut words = line.split_whitespace();
        let server = words.next().filter(|word| *word == "nameserver").and(words.next());
        let address = server.map(|server| server.parse::<IpAddr>());
        !address.is_some_and(|address| address.is_ok_and(|address| address.is_loopback()))
    };
    let mut own = format!("nameserver {RESOLVER}\n");
    for line in text.lines().filter(is_kept) {
        own.push_str(line);
        own.push('\n');
    }
    own.into_bytes()
}

/// Returns the list of hosts: this one, and those that the request adds.
fn hosts(run: &RunRequest) -> Result<String, RunError> {
    check(&run.hostname, "host name", &run.hostname)?;
    let mut text = format!(
        "127.0.0.1\tlocalhost {}\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        run.hostname
    );
    for (name, address) in &run.extra_hosts {
        for word in [name, address] {
            check(word, "extra host", &format!("{name}:{address}"))?;
        }
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{address}\t{name}");
    }
    Ok(text)
}

/// Refuses a word that could smuggle other lines into the list.
fn check(word: &str, what: &str, value: &str) -> Result<(), RunError> {
    if word.is_empty() || word.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(RunError::Invalid { what: what.to_owned(), value: value.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_its_own_has_a_resolver_of_its_own() {
        let host =
            b"# c\nnameserver 127.0.0.53\nnameserver ::1\nnameserver 10.0.0.1\nsearch a.example\n";
        let own = String::from_utf8(with_own_resolver(host)).unwrap();
        let expected = "nameserver 169.254.1.1\n# c\nnameserver 10.0.0.1\nsearch a.example\n";
        assert_eq!(own, expected);
        assert_eq!(with_own_resolver(b""), b"nameserver 169.254.1.1\n");
    }
}
