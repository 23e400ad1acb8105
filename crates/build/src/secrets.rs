//! `--secret` and `--ssh`: what only the steps that name it may see.

mod agent;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use xbuild_model::StepFailure;
use xbuild_model::run::SecretBytes;
use xbuild_model::seam::Secrets;

use crate::events::Events;
use crate::machine::Machine;
use crate::output::split_csv;
use crate::problem::Problem;
use agent::Agent;

/// The largest secret in bytes: BuildKit's, so that what is built here is built there. It bounds
/// the memory that cannot be swapped out.
const MAX_SECRET: u64 = 500 << 10;

/// The secrets and agents of a build. What agents had to be started ends with this.
#[derive(Debug)]
pub struct GivenSecrets {
    secrets: BTreeMap<String, SecretBytes>,
    agents: BTreeMap<String, Agent>,
}

impl GivenSecrets {
    /// Reads the secrets; of two with the same id the last counts. Keys are read, too, but no
    /// agent is started before a step needs it.
    pub fn read(
        secrets: &[String],
        agents: &[String],
        machine: &Machine,
        events: &dyn Events,
    ) -> Result<Self, Problem> {
        let mut given = Self { secrets: BTreeMap::new(), agents: BTreeMap::new() };
        for text in secrets {
            let SecretArg { id, place } = SecretArg::parse(text, is_set)?;
            let value = place.read(&id, events)?;
            given.secrets.insert(id, value);
        }
        for text in agents {
            let (id, agent) = Agent::parse(text, machine)?;
            if given.agents.insert(id.clone(), agent).is_some() {
                return Err(Problem::command_line(format!("--ssh {id} is given twice")));
            }
        }
        if !given.secrets.is_empty() || !given.agents.is_empty() {
            forbid_core_dumps();
        }
        Ok(given)
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

/// Keeps what is in memory out of a file if this process, or one that it starts, should crash.
fn forbid_core_dumps() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Core).maximum;
    // Lowering a limit is always allowed.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
}

/// A value of `--secret`.
#[derive(Debug, PartialEq, Eq)]
struct SecretArg {
    id: String,
    place: SecretPlace,
}

#[derive(Debug, PartialEq, Eq)]
enum SecretPlace {
    File(PathBuf),
    Variable(String),
}

impl SecretArg {
    /// Reads `id=ID[,src=FILE|,env=VARIABLE][,type=file|env]`.
    ///
    /// **Source** — `docker buildx build` reference, § --secret: an id alone is the variable of
    /// that name if it is set, else the file; with `type=env`, `src` names the variable.
    fn parse(text: &str, is_set: impl Fn(&str) -> bool) -> Result<Self, Problem> {
        let fail = |reason: &str| {
            Problem::command_line(format!("invalid --secret {text:?}: {reason}"))
                .with_hint("write id=ID,src=FILE or id=ID,env=VARIABLE")
        };
        let (mut id, mut file, mut variable) = (String::new(), String::new(), String::new());
        let mut is_variable = false;
        for part in split_csv(text) {
            let Some((key, value)) = part.split_once('=') else {
                return Err(fail("each part is key=value"));
            };
            match key.to_ascii_lowercase().as_str() {
                "id" => id = value.to_owned(),
                "src" | "source" => file = value.to_owned(),
                "env" => variable = value.to_owned(),
                "type" => match value {
                    "env" => is_variable = true,
                    "file" => is_variable = false,
                    _ => return Err(fail("the type is file or env")),
                },
                _ => return Err(fail(&format!("{key}= is unknown"))),
            }
        }
        if id.is_empty() {
            return Err(fail("id= is missing"));
        }
        if is_variable && variable.is_empty() {
            variable = std::mem::take(&mut file);
        }
        let place = match (file.is_empty(), variable.is_empty()) {
            (false, false) => return Err(fail("src and env exclude each other")),
            (false, true) => SecretPlace::File(file.into()),
            (true, false) => SecretPlace::Variable(variable),
            (true, true) if is_variable || is_set(&id) => SecretPlace::Variable(id.clone()),
            (true, true) => SecretPlace::File(id.clone().into()),
        };
        Ok(Self { id, place })
    }
}

impl SecretPlace {
    fn read(&self, id: &str, events: &dyn Events) -> Result<SecretBytes, Problem> {
        let bytes = match self {
            Self::File(path) => read_bounded(path, MAX_SECRET).map_err(|error| {
                let path = path.display();
                Problem::input(format!("cannot read the secret {id:?} from {path}: {error}"))
            })?,
            Self::Variable(name) => {
                let value = std::env::var_os(name);
                if value.is_none() {
                    let text = format!("the secret {id:?} is empty: the variable {name} is unset");
                    events.warning(&text);
                }
                value.map(OsString::into_vec).unwrap_or_default()
            }
        };
        if bytes.len() as u64 > MAX_SECRET {
            return Err(Problem::input(format!(
                "the secret {id:?} is larger than {} KiB",
                MAX_SECRET >> 10
            )));
        }
        Ok(SecretBytes(bytes))
    }
}

/// Returns whether there is an environment variable of that name, which may be anything.
fn is_set(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && std::env::var_os(name).is_some()
}

/// Reads a file, or a little more than `limit` bytes of a larger one. It need not be a regular
/// file: shells give a command's output as a pipe.
fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Silent;

    impl Events for Silent {
        fn warning(&self, _: &str) {}
        fn note(&self, _: &str) {}
    }

    #[test]
    fn reads_what_buildx_reads() {
        let file = |path: &str| SecretPlace::File(path.into());
        let variable = |name: &str| SecretPlace::Variable(name.to_owned());
        for (text, id, place) in [
            ("id=a,src=f", "a", file("f")),
            ("id=a,source=f,type=file", "a", file("f")),
            ("ID=a,\"src=f,g\"", "a", file("f,g")),
            ("id=a,env=V", "a", variable("V")),
            ("type=env,id=a,src=V", "a", variable("V")),
            ("type=env,id=a,env=V", "a", variable("V")),
            ("id=SET", "SET", variable("SET")),
            ("id=unset", "unset", file("unset")),
            ("id=unset,type=env", "unset", variable("unset")),
        ] {
            let parsed = SecretArg::parse(text, |name| name == "SET").unwrap();
            assert_eq!(parsed, SecretArg { id: id.to_owned(), place }, "{text}");
        }
        for (text, word) in [
            ("a", "key=value"),
            ("src=f", "id="),
            ("id=a,type=other", "type"),
            ("id=a,src=f,env=V", "exclude"),
            ("id=a,dst=f", "dst="),
        ] {
            let problem = SecretArg::parse(text, |_| false).unwrap_err();
            assert!(problem.message().contains(word), "{text}: {}", problem.message());
        }
    }

    #[test]
    fn secrets_are_read_whole_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let place = SecretPlace::File(path.clone());
        assert!(place.read("id", &Silent).unwrap_err().message().contains("\"id\""));
        std::fs::write(&path, b"\xff\0\n").unwrap();
        assert_eq!(place.read("id", &Silent).unwrap().0, b"\xff\0\n");
        std::fs::write(&path, vec![b'x'; MAX_SECRET as usize]).unwrap();
        assert_eq!(place.read("id", &Silent).unwrap().0.len(), 500 << 10);
        std::fs::write(&path, vec![b'x'; MAX_SECRET as usize + 1]).unwrap();
        assert!(place.read("id", &Silent).unwrap_err().message().contains("larger than 500 KiB"));
    }
}
