//! How the steps of a build run.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
pub use xbuild_exec::Isolation;
use xbuild_model::run::Network;

/// How the steps of a build run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepsRequest {
    /// Whether every step runs, even if its result is in the cache.
    pub no_cache: bool,
    /// The stages whose steps run in any case, by name.
    #[serde(default)]
    pub no_cache_stages: Vec<String>,
    /// How many steps run at once; `None` for as many as the machine has processors.
    pub jobs: Option<NonZeroUsize>,
    /// The isolation of RUN steps from the machine.
    pub isolation: Isolation,
    /// The way in which programs of other processors get their emulator.
    pub emulation: Emulation,
    /// The network of RUN steps without `--network`.
    pub network: Network,
    /// Whether RUN `--security=insecure` is granted.
    pub allow_insecure: bool,
    /// Lines of `/etc/hosts` in RUN steps: name and address.
    pub extra_hosts: Vec<(String, String)>,
    /// Resource limits of RUN steps: name, soft, hard.
    pub ulimits: Vec<(String, u64, u64)>,
    /// The size of `/dev/shm` in RUN steps, in bytes; `None` for the usual one.
    pub shm_size: Option<u64>,
    /// The secrets that steps may mount; the last of an id counts.
    pub secrets: Vec<SecretSource>,
    /// The SSH agents that steps may mount, each id once.
    pub agents: Vec<AgentSource>,
}

impl Default for StepsRequest {
    /// Returns what `xbuild build` does without options.
    fn default() -> Self {
        Self {
            no_cache: false,
            no_cache_stages: Vec::new(),
            jobs: None,
            isolation: Isolation::AUTO,
            emulation: Emulation::Auto,
            network: Network::Default,
            allow_insecure: false,
            extra_hosts: Vec::new(),
            ulimits: Vec::new(),
            shm_size: None,
            secrets: Vec::new(),
            agents: Vec::new(),
        }
    }
}

/// The way in which programs of other processors get their emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Emulation {
    /// The first that works, in the order of the others.
    Auto,
    /// A binfmt_misc that only the build sees.
    Binfmt,
    /// Interception of `execve`.
    Intercept,
    /// The host's own binfmt_misc.
    Host,
    /// As [`Auto`](Self::Auto), and every program runs under the emulator, also one that this machine
    /// has in its own form.
    Qemu,
    /// As [`Auto`](Self::Auto), and the distribution's cross compilers run in place of emulated ones.
    Cross,
    /// As [`Auto`](Self::Auto), and each step with programs that run natively also runs as with
    /// [`Qemu`](Self::Qemu). The results must be equal; the latter is kept.
    Verify,
    /// The same with [`Cross`](Self::Cross) in place of [`Auto`](Self::Auto).
    VerifyCross,
}

impl Emulation {
    /// Returns whether programs may run natively.
    pub(crate) fn has_twins(self) -> bool {
        !matches!(self, Self::Intercept | Self::Host | Self::Qemu)
    }

    /// Returns whether cross compilers may run.
    pub(crate) fn has_compilers(self) -> bool {
        matches!(self, Self::Cross | Self::VerifyCross)
    }

    /// Returns whether steps run both ways.
    pub(crate) fn is_verified(self) -> bool {
        matches!(self, Self::Verify | Self::VerifyCross)
    }
}

/// A secret, by where its value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretSource {
    /// The name that steps know it by.
    pub id: String,
    /// Where its value is.
    pub place: SecretPlace,
}

/// Where the value of a secret is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecretPlace {
    /// In a file, which need not be a regular one.
    File(PathBuf),
    /// In an environment variable of that name.
    Variable(String),
}

/// An SSH agent, by where its keys are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentSource {
    /// The name that steps know it by.
    pub id: String,
    /// The socket of one agent, or files with private keys. Empty for the user's own agent.
    pub paths: Vec<PathBuf>,
}

impl fmt::Display for AgentSource {
    /// Writes `ID` or `ID=PATH,PATH`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        for (place, path) in self.paths.iter().enumerate() {
            write!(f, "{}{}", if place == 0 { "=" } else { "," }, path.display())?;
        }
        Ok(())
    }
}
