//! The store, the client for registries and the fetcher, as builds and checks share them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use xbuild_exec::{Isolation, Options, Sandbox};
use xbuild_model::remote::RemoteSource;
use xbuild_model::run::Network;
use xbuild_model::seam::{Namespace, Secrets};
use xbuild_model::{Cancel, Digest, StepFailure};
use xbuild_registry::{Client, ClientOptions, Credentials, DocumentCache, RegistryWarning};
use xbuild_source::{FetchOptions, Fetcher};
use xbuild_store::{Leftover, OnWait, Store};

use crate::error::OpenError;
use crate::events::{Event, Events, Warning};
use crate::machine::Machine;
use crate::sources::Gate;
use crate::{hosts, logins};

/// Opens the store. `events` is told of long waits for other processes.
pub fn store(machine: &Machine, events: &Arc<dyn Events>) -> Result<Arc<Store>, OpenError> {
    Ok(Arc::new(Store::open_telling(machine.store_root()?, &on_wait(events))?))
}

/// Opens the store if it is there: nothing is made to look into. `events` is as for [`store`].
pub fn existing_store(
    machine: &Machine,
    events: &Arc<dyn Events>,
) -> Result<Option<Arc<Store>>, OpenError> {
    match machine.store_root() {
        Ok(root) => Ok(Store::open_existing(root, &on_wait(events))?.map(Arc::new)),
        Err(_) => Ok(None),
    }
}

fn on_wait(events: &Arc<dyn Events>) -> OnWait {
    let events = Arc::clone(events);
    Arc::new(move |waiting| events.event(Event::Warning(&Warning::Waiting(waiting.clone()))))
}

/// Keeps manifests and configurations among the blobs of the store.
#[derive(Debug)]
struct StoredDocuments(Arc<Store>);

impl DocumentCache for StoredDocuments {
    fn get(&self, digest: &Digest) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut self.0.open_blob(digest).ok()??, &mut bytes).ok()?;
        Some(bytes)
    }

    fn put(&self, _digest: &Digest, bytes: &[u8]) {
        // A failure costs only time: the document is fetched again.
        let _ = self.0.put_blob(bytes);
    }
}

/// Returns a client for registries, with the user's credentials. `events` takes its warnings,
/// `cancel` ends its requests.
pub(crate) fn client(
    machine: &Machine,
    store: Option<&Arc<Store>>,
    events: &Arc<dyn Events>,
    cancel: Cancel,
) -> Client {
    let credentials = logins::read(machine, &**events);
    let client = client_with(machine, credentials, events, cancel);
    match store {
        Some(store) => client.with_cache(Arc::new(StoredDocuments(Arc::clone(store)))),
        None => client,
    }
}

/// Returns a client for registries with these credentials.
pub(crate) fn client_with(
    machine: &Machine,
    credentials: Credentials,
    events: &Arc<dyn Events>,
    cancel: Cancel,
) -> Client {
    let on_warning = Arc::clone(events);
    let hosts::Hosts { hosts, prefixes } = hosts::read(machine, &**events);
    let options = ClientOptions {
        credentials,
        hosts,
        prefixes,
        proxies: machine.proxies.clone(),
        cancel,
        on_warning: Some(Arc::new(move |warning: &RegistryWarning| {
            on_warning.event(Event::Warning(&Warning::Registry(warning.clone())));
        })),
        ..ClientOptions::default()
    };
    Client::new(options)
}

/// What a build gives its fetcher.
#[derive(Default)]
pub(crate) struct Fetching {
    /// The secrets for servers.
    pub(crate) secrets: Option<Arc<dyn Secrets>>,
    /// The gate that sources pass.
    pub(crate) gate: Option<Arc<Gate>>,
}

/// Returns a fetcher of files and repositories. `cancel` ends its work.
pub(crate) fn fetcher(
    machine: &Machine,
    store: &Arc<Store>,
    client: &Client,
    Fetching { secrets, gate }: Fetching,
    events: Arc<dyn Events>,
    cancel: Cancel,
) -> Arc<Fetcher> {
    let options = FetchOptions {
        search_path: machine.search_path.clone(),
        environment: machine.git_environment.clone(),
        secrets,
        gate: gate.map(|gate| -> Arc<xbuild_source::Gate> {
            Arc::new(move |source: &RemoteSource| Ok(gate.remote(source)?))
        }),
        on_warning: Some(Arc::new(move |warning| {
            events.event(Event::Warning(&Warning::Fetch(warning.clone())));
        })),
        cancel,
        ..FetchOptions::default()
    };
    Arc::new(Fetcher::new(Arc::clone(store), client.clone(), options))
}

/// Removes folders with files of other ids, in a user namespace of its own.
pub fn remove_leftovers(machine: &Machine, leftovers: &[Leftover]) -> Result<(), StepFailure> {
    if leftovers.is_empty() {
        return Ok(());
    }
    remove_leftovers_in(&sandbox(machine), leftovers)
}

/// Returns a user namespace without emulators, started when it is needed.
pub(crate) fn sandbox(machine: &Machine) -> Sandbox {
    Sandbox::new(Options {
        isolation: Isolation::AUTO,
        choice: None,
        started: None,
        emulators: Vec::new(),
        intercepted: Vec::new(),
        network: Network::Default,
        search_path: machine.search_path.clone(),
        cancel: Cancel::default(),
    })
}

/// Removes folders with files of other ids, in the user namespace of a build.
pub(crate) fn remove_leftovers_in(
    namespace: &dyn Namespace,
    leftovers: &[Leftover],
) -> Result<(), StepFailure> {
    let paths: Vec<PathBuf> = leftovers.iter().map(|leftover| leftover.path.clone()).collect();
    xbuild_snapshot::remove::trees(namespace, &paths)
}
