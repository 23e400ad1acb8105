//! Joins the stages: each is given what it needs of the others as a trait of `model`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use xbuild_exec::emulator::Emulator;
use xbuild_exec::{Isolation, Options, Sandbox};
use xbuild_files::Context;
use xbuild_files::copy::CopyWarning;
use xbuild_layer::{Encoding, Mtime};
use xbuild_model::run::Network;
use xbuild_model::seam::{Namespace, Secrets, Sources};
use xbuild_model::{Digest, StepFailure};
use xbuild_registry::{Client, ClientOptions, Credentials, DocumentCache};
use xbuild_snapshot::{Engine, EngineOptions};
use xbuild_source::{FetchOptions, FetchWarning, Fetcher};
use xbuild_store::{GrowingBlob, Leftover, Store};

use crate::docker_config::{self, ConfigText};
use crate::events::Events;
use crate::machine::Machine;
use crate::preflight;
use crate::problem::Problem;

/// Opens the store.
pub fn store(root: &Path) -> Result<Arc<Store>, Problem> {
    let store = Store::open(root).map_err(|error| Problem::store(&error))?;
    Ok(Arc::new(store))
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
        // Only a cache: without room for it the document is fetched again.
        let _ = self.0.put_blob(bytes);
    }
}

/// Returns a client for registries, with the user's credentials.
pub fn client(machine: &Machine, store: Option<&Arc<Store>>) -> Result<Client, Problem> {
    let options = ClientOptions {
        credentials: credentials(machine)?,
        proxies: machine.proxies.clone(),
        ..ClientOptions::default()
    };
    let client = Client::new(options);
    Ok(match store {
        Some(store) => client.with_cache(Arc::new(StoredDocuments(Arc::clone(store)))),
        None => client,
    })
}

fn credentials(machine: &Machine) -> Result<Credentials, Problem> {
    let path = machine.docker_config.as_deref();
    let Some(ConfigText { path, text }) = docker_config::read(path)? else {
        return Ok(Credentials::default());
    };
    let folders = std::env::split_paths(&machine.search_path).collect();
    Credentials::from_docker_config(&text)
        .map(|credentials| credentials.with_search_path(folders))
        .map_err(|error| Problem::input(format!("{}: {error}", path.display())))
}

/// The choices that a build makes for its sandbox.
#[derive(Debug)]
pub struct SandboxOptions<'a> {
    /// Which ids it has.
    pub isolation: Isolation,
    /// What runs programs of other processors.
    pub emulators: &'a [Emulator],
    /// The network of RUN steps.
    pub network: Network,
    /// Where programs are looked for, as in `PATH`.
    pub search_path: &'a OsStr,
}

/// Returns the namespace that a build's steps run in; it is started by the first that needs it.
pub fn namespace(options: &SandboxOptions<'_>) -> Result<Arc<Sandbox>, Problem> {
    Ok(Arc::new(Sandbox::new(Options {
        isolation: options.isolation,
        emulators: preflight::load(options.emulators)?,
        network: options.network,
        search_path: options.search_path.to_owned(),
    })))
}

/// Returns what fetches files and repositories. Git is given what it needs to reach them: where
/// proxies and the SSH agent are.
pub fn fetcher(
    machine: &Machine,
    store: &Arc<Store>,
    client: &Client,
    secrets: Option<Arc<dyn Secrets>>,
    events: Arc<dyn Events>,
) -> Arc<Fetcher> {
    let options = FetchOptions {
        search_path: machine.search_path.clone(),
        environment: machine.git_environment.clone(),
        secrets,
        on_warning: Some(Arc::new(move |warning| warn_of_source(&*events, warning))),
        ..FetchOptions::default()
    };
    Arc::new(Fetcher::new(Arc::clone(store), client.clone(), options))
}

/// What the layer engine of a build is told.
#[allow(missing_debug_implementations, reason = "it is taken apart at once")]
pub struct EngineSetup {
    /// The folders that steps copy from.
    pub contexts: BTreeMap<String, Arc<Context>>,
    /// What an ADD takes from elsewhere.
    pub sources: Arc<dyn Sources>,
    /// How new layers are compressed.
    pub encoding: Encoding,
    /// `SOURCE_DATE_EPOCH`.
    pub epoch: Option<u64>,
    /// Takes warnings.
    pub events: Arc<dyn Events>,
    /// Gets the layers of the result as they are made.
    pub on_blob: Option<Arc<dyn Fn(GrowingBlob) + Send + Sync>>,
}

/// Returns the layer engine of a build. Without an epoch, what has no time of its own has now's.
pub fn engine(
    store: &Arc<Store>,
    client: &Client,
    namespace: Arc<dyn Namespace>,
    setup: EngineSetup,
) -> Engine {
    let EngineSetup { contexts, sources, encoding, epoch, events, on_blob } = setup;
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let secs = i64::try_from(epoch.unwrap_or_else(now)).unwrap_or(i64::MAX);
    let options = EngineOptions {
        contexts,
        sources: Some(sources),
        default_mtime: Mtime { secs, nanos: 0 },
        encoding,
        on_blob,
        on_warning: Arc::new(move |warning| warn(&*events, warning)),
    };
    Engine::new(Arc::clone(store), Arc::new(client.clone()), namespace, options)
}

fn warn_of_source(events: &dyn Events, warning: &FetchWarning) {
    let text = match warning {
        FetchWarning::Submodules { remote } => format!(
            "{remote} has submodules, which are not fetched: ask for them with \
             ?submodules=true, or silence this with ?submodules=false"
        ),
        other => format!("{other:?}"),
    };
    events.warning(&text);
}

fn warn(events: &dyn Events, warning: &CopyWarning) {
    let text = match warning {
        CopyWarning::UnknownOwner { name } => {
            format!("the image has no user or group {name:?}: the files belong to 0")
        }
        other => format!("{other:?}"),
    };
    events.warning(&text);
}

/// Removes folders that hold files of other ids, from inside a user namespace.
pub fn remove_leftovers(machine: &Machine, leftovers: &[Leftover]) -> Result<(), Problem> {
    if leftovers.is_empty() {
        return Ok(());
    }
    let options = SandboxOptions {
        isolation: Isolation::Auto,
        emulators: &[],
        network: Network::Default,
        search_path: &machine.search_path,
    };
    remove_leftovers_in(&*namespace(&options)?, leftovers)
        .map_err(|failure| Problem::step(&failure))
}

/// Removes folders that hold files of other ids, from inside the namespace of a build.
pub fn remove_leftovers_in(namespace: &Sandbox, leftovers: &[Leftover]) -> Result<(), StepFailure> {
    let paths: Vec<PathBuf> = leftovers.iter().map(|leftover| leftover.path.clone()).collect();
    xbuild_snapshot::remove::trees(namespace, &paths)
}
