//! Joins the stages: each is given what it needs of the others as a trait of `model`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use xbuild_exec::emulator::Emulator;
use xbuild_exec::{Isolation, Options, Parent};
use xbuild_model::run::Network;
use xbuild_model::seam::{Namespace, Secrets, Sources};
use xbuild_model::{Digest, FailureKind, StepFailure};
use xbuild_registry::{Client, ClientOptions, Credentials, DocumentCache, Proxies};
use xbuild_snapshot::copy::CopyWarning;
use xbuild_snapshot::{Context, Encoding, Engine, EngineOptions, Mtime};
use xbuild_source::{FetchOptions, FetchWarning, Fetcher};
use xbuild_store::{GrowingBlob, Leftover, Store};

use crate::docker_config::{self, ConfigText};
use crate::progress::ProgressMode;
use crate::report::{Problem, note, printable};
use crate::{environment, preflight};

/// Opens the store.
pub(crate) fn store(root: &Path) -> Result<Arc<Store>, Problem> {
    let store = Store::open(root).map_err(|error| Problem::of(FailureKind::Internal, &error))?;
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
pub(crate) fn client(store: Option<&Arc<Store>>) -> Result<Client, Problem> {
    let proxy = |upper: &str, lower: &str| {
        environment::variable(lower).or_else(|| environment::variable(upper))
    };
    let options = ClientOptions {
        credentials: credentials()?,
        proxies: Proxies {
            http: proxy("HTTP_PROXY", "http_proxy"),
            https: proxy("HTTPS_PROXY", "https_proxy"),
            bypass: proxy("NO_PROXY", "no_proxy").unwrap_or_default(),
        },
        ..ClientOptions::default()
    };
    let client = Client::new(options);
    Ok(match store {
        Some(store) => client.with_cache(Arc::new(StoredDocuments(Arc::clone(store)))),
        None => client,
    })
}

fn credentials() -> Result<Credentials, Problem> {
    let Some(ConfigText { path, text }) = docker_config::read()? else {
        return Ok(Credentials::default());
    };
    let folders = std::env::split_paths(&preflight::search_path()).collect();
    Credentials::from_docker_config(&text)
        .map(|credentials| credentials.with_search_path(folders))
        .map_err(|error| Problem::input(format!("{}: {error}", path.display())))
}

/// What the user namespace of a build shall be like.
#[derive(Debug)]
pub(crate) struct Sandbox<'a> {
    pub(crate) isolation: Isolation,
    pub(crate) emulators: &'a [Emulator],
    pub(crate) network: Network,
}

/// Returns the namespace that a build's steps run in; it is started by the first that needs it.
pub(crate) fn namespace(sandbox: &Sandbox<'_>) -> Result<Arc<Parent>, Problem> {
    Ok(Arc::new(Parent::new(Options {
        isolation: sandbox.isolation,
        emulators: preflight::load(sandbox.emulators)?,
        network: sandbox.network,
        search_path: preflight::search_path(),
    })))
}

/// Returns what fetches files and repositories. Git is given what it needs to reach them: where
/// proxies and the SSH agent are.
pub(crate) fn fetcher(
    store: &Arc<Store>,
    client: &Client,
    secrets: Option<Arc<dyn Secrets>>,
    mode: ProgressMode,
) -> Arc<Fetcher> {
    const NAMES: &[&str] = &[
        "http_proxy",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
        "no_proxy",
        "NO_PROXY",
        "SSH_AUTH_SOCK",
    ];
    let variable = |name: &&str| Some(((*name).to_owned(), environment::variable(name)?));
    let options = FetchOptions {
        search_path: preflight::search_path(),
        environment: NAMES.iter().filter_map(variable).collect(),
        secrets,
        on_warning: Some(Arc::new(move |warning| warn_of_source(mode, warning))),
        ..FetchOptions::default()
    };
    Arc::new(Fetcher::new(Arc::clone(store), client.clone(), options))
}

/// What the layer engine of a build is told.
pub(crate) struct EngineSetup {
    pub(crate) contexts: BTreeMap<String, Arc<Context>>,
    pub(crate) sources: Arc<dyn Sources>,
    pub(crate) encoding: Encoding,
    pub(crate) epoch: Option<u64>,
    pub(crate) mode: ProgressMode,
    /// Gets the layers of the result as they are made.
    pub(crate) on_blob: Option<Arc<dyn Fn(GrowingBlob) + Send + Sync>>,
}

/// Returns the layer engine of a build. Without an epoch, what has no time of its own has now's.
pub(crate) fn engine(
    store: &Arc<Store>,
    client: &Client,
    namespace: Arc<dyn Namespace>,
    setup: EngineSetup,
) -> Engine {
    let EngineSetup { contexts, sources, encoding, epoch, mode, on_blob } = setup;
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let secs = i64::try_from(epoch.unwrap_or_else(now)).unwrap_or(i64::MAX);
    let options = EngineOptions {
        contexts,
        sources: Some(sources),
        default_mtime: Mtime { secs, nanos: 0 },
        encoding,
        on_blob,
        on_warning: Arc::new(move |warning| warn(mode, warning)),
    };
    Engine::new(Arc::clone(store), Arc::new(client.clone()), namespace, options)
}

fn warn_of_source(mode: ProgressMode, warning: &FetchWarning) {
    if mode == ProgressMode::None {
        return;
    }
    let text = match warning {
        FetchWarning::Submodules { remote } => format!(
            "{remote} has submodules, which are not fetched: ask for them with \
             ?submodules=true, or silence this with ?submodules=false"
        ),
        other => format!("{other:?}"),
    };
    note(format_args!("warning: {}", printable(&text)));
}

fn warn(mode: ProgressMode, warning: &CopyWarning) {
    if mode == ProgressMode::None {
        return;
    }
    let text = match warning {
        CopyWarning::UnknownOwner { name } => {
            format!("the image has no user or group {name:?}: the files belong to 0")
        }
        other => format!("{other:?}"),
    };
    note(format_args!("warning: {}", printable(&text)));
}

/// Removes folders that hold files of other ids, from inside a user namespace.
pub(crate) fn remove_leftovers(leftovers: &[Leftover]) -> Result<(), Problem> {
    if leftovers.is_empty() {
        return Ok(());
    }
    let sandbox = Sandbox { isolation: Isolation::Auto, emulators: &[], network: Network::Default };
    remove_leftovers_in(&*namespace(&sandbox)?, leftovers)
        .map_err(|failure| Problem::step(&failure))
}

/// Removes folders that hold files of other ids, from inside the namespace of a build.
pub(crate) fn remove_leftovers_in(
    namespace: &Parent,
    leftovers: &[Leftover],
) -> Result<(), StepFailure> {
    let paths: Vec<PathBuf> = leftovers.iter().map(|leftover| leftover.path.clone()).collect();
    xbuild_snapshot::remove::trees(namespace, &paths)
}
