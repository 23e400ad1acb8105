//! Files that say what to build and are somewhere else: those of a remote bake definition.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use xbuild_files::Root;
use xbuild_model::Cancel;
use xbuild_model::remote::RemoteSource;
use xbuild_store::TempFolder;

use crate::dockerfile_file::{bounded, failed};
use crate::error::ContextError;
use crate::events::{Events, Silent};
use crate::machine::Machine;
use crate::main_context::{self, Elsewhere, Kind};
use crate::request::{SecretSource, StepsRequest};
use crate::secrets::GivenSecrets;
use crate::wiring;

/// The files of a repository or of a web server, as long as this lives.
#[derive(Debug)]
pub struct RemoteDefinition {
    folder: PathBuf,
    /// The text, if the web server has a single file instead of an archive.
    single: Option<Vec<u8>>,
    _temp: Option<TempFolder>,
    /// Nothing is pruned while its store is open.
    _elsewhere: Elsewhere,
}

impl RemoteDefinition {
    /// Fetches a source with the secrets for its server.
    pub fn fetch(
        source: &RemoteSource,
        machine: &Machine,
        secrets: &[SecretSource],
        events: &Arc<dyn Events>,
    ) -> Result<Self, ContextError> {
        let store = wiring::store(machine, events)?;
        let request = StepsRequest { secrets: secrets.to_vec(), ..StepsRequest::default() };
        let secrets = GivenSecrets::read(&request, machine, &store, &**events)?;
        let client = wiring::client(machine, Some(&store), events, Cancel::default());
        let rules = wiring::Fetching { secrets: Some(Arc::new(secrets)), gate: None };
        let (silent, cancel) = (Arc::new(Silent), Cancel::default());
        let fetcher = wiring::fetcher(machine, &store, &client, rules, silent, cancel);
        let elsewhere = Elsewhere { store, fetcher };
        let opened = main_context::remote(source, &elsewhere)?;
        let single = match opened.kind {
            Kind::Dockerfile { text, .. } => Some(text),
            Kind::Local | Kind::Foreign => None,
        };
        Ok(Self { folder: opened.folder, single, _temp: opened.temp, _elsewhere: elsewhere })
    }

    /// Returns the text of the source if it is a single file, which no other files come with.
    pub fn single(&self) -> Option<&[u8]> {
        self.single.as_deref()
    }

    /// Reads the file of that name; `None` if there is none. No link leads out of the files.
    pub fn read(&self, name: &Path) -> Result<Option<Vec<u8>>, ContextError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let open = || {
            let file = Root::open(&self.folder)?;
            let file = file.open_in_root(name.as_os_str().as_encoded_bytes(), flags)?;
            let file = std::fs::File::from(file);
            match file.metadata()?.is_file() {
                true => bounded(file),
                false => Err(io::Error::other("not a regular file")),
            }
        };
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some).map_err(failed("read the remote file", name)),
        }
    }
}
