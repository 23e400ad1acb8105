//! The secrets and SSH agents of a build. Only the steps that name them see them.

mod agent;
mod bounded;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use xbuild_model::run::SecretBytes;
use xbuild_model::seam::Secrets;
use xbuild_model::{Digest, StepFailure};
use xbuild_store::Store;

use crate::error::{OpenError, RequestError, SecretError};
use crate::events::{Event, Events, Warning};
use crate::machine::Machine;
use crate::request::{SecretPlace, SecretSource, StepsRequest};
use agent::Agent;
use bounded::read_bounded;

/// The largest secret in bytes, as in BuildKit. It bounds the memory that cannot be swapped out.
const MAX_SECRET: u64 = 500 << 10;

/// The secrets and agents of a build. Dropping this ends the agents that were started.
#[derive(Debug)]
pub struct GivenSecrets {
    secrets: BTreeMap<String, SecretBytes>,
    agents: BTreeMap<String, Agent>,
}

impl GivenSecrets {
    /// Reads the secrets and the private keys that `request` names. No agent is started before a
    /// step needs it.
    pub fn read(
        request: &StepsRequest,
        machine: &Machine,
        store: &Arc<Store>,
        events: &dyn Events,
    ) -> Result<Self, OpenError> {
        let mut given = Self { secrets: BTreeMap::new(), agents: BTreeMap::new() };
        for source in &request.secrets {
            given.secrets.insert(source.id.clone(), read(source, machine, events)?);
        }
        for source in &request.agents {
            let agent = Agent::read(source, machine, store)?;
            if given.agents.insert(source.id.clone(), agent).is_some() {
                return Err(RequestError::AgentTwice { id: source.id.clone() }.into());
            }
        }
        if !given.secrets.is_empty() || !given.agents.is_empty() {
            forbid_core_dumps();
        }
        Ok(given)
    }

    /// Returns a digest of a secret's value, which never leaves this process; `None` if the secret was
    /// not given.
    pub(crate) fn identity_of_secret(&self, id: &str) -> Option<Digest> {
        self.secrets.get(id).map(|value| Digest::of(&value.0))
    }

    /// Returns a digest of the keys or the socket of an agent; `None` if it was not given.
    pub(crate) fn identity_of_agent(&self, id: &str) -> Option<Digest> {
        self.agents.get(id).map(Agent::identity)
    }
}

impl Secrets for GivenSecrets {
    fn secret(&self, id: &str) -> Result<Option<SecretBytes>, StepFailure> {
        Ok(self.secrets.get(id).cloned())
    }

    fn agent(&self, id: &str) -> Result<Option<PathBuf>, StepFailure> {
        self.agents.get(id).map(Agent::socket).transpose()
    }
}

/// Keeps the memory of this process, and of those that it starts, out of core files.
fn forbid_core_dumps() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Core).maximum;
    // Lowering a limit is always allowed.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
}

fn read(
    source: &SecretSource,
    machine: &Machine,
    events: &dyn Events,
) -> Result<SecretBytes, SecretError> {
    let id = &source.id;
    let value = match &source.place {
        SecretPlace::File(path) => {
            let bytes = read_bounded(path, MAX_SECRET);
            SecretBytes(bytes.map_err(|error| SecretError::File {
                id: id.clone(),
                path: path.clone(),
                error,
            })?)
        }
        SecretPlace::Variable(name) => {
            let value = machine.secret_variables.get(name).cloned();
            value.unwrap_or_else(|| {
                let warning = Warning::EmptySecret { id: id.clone(), variable: name.clone() };
                events.event(Event::Warning(&warning));
                SecretBytes(Vec::new())
            })
        }
    };
    if value.0.len() as u64 > MAX_SECRET {
        return Err(SecretError::TooLarge { id: id.clone(), limit: MAX_SECRET >> 10 });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Silent;

    #[test]
    fn secrets_are_read_whole_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let source = SecretSource { id: "id".into(), place: SecretPlace::File(path.clone()) };
        let read = || super::read(&source, &Machine::default(), &Silent);
        assert!(read().unwrap_err().to_string().contains("\"id\""));
        std::fs::write(&path, b"\xff\0\n").unwrap();
        assert_eq!(read().unwrap().0, b"\xff\0\n");
        std::fs::write(&path, vec![b'x'; MAX_SECRET as usize]).unwrap();
        assert_eq!(read().unwrap().0.len(), 500 << 10);
        std::fs::write(&path, vec![b'x'; MAX_SECRET as usize + 1]).unwrap();
        assert!(read().unwrap_err().to_string().contains("larger than 500 KiB"));
    }

    #[test]
    fn a_variable_has_the_value_that_the_machine_gives() {
        let place = SecretPlace::Variable("V".into());
        let source = SecretSource { id: "id".into(), place };
        let mut machine = Machine::default();
        assert_eq!(read(&source, &machine, &Silent).unwrap().0, b"");
        machine.secret_variables.insert("V".into(), SecretBytes(b"x".to_vec()));
        assert_eq!(read(&source, &machine, &Silent).unwrap().0, b"x");
    }
}
