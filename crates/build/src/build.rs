//! [`Build`]: the value that all stages of a build share.

use std::sync::Arc;
use std::time::SystemTime;

use tracing::{Span, info_span};
use xbuild_model::{Cancel, DiffId};
use xbuild_registry::Client;
use xbuild_source::Fetcher;
use xbuild_store::Store;

use crate::batch::{Batch, Membership};
use crate::cache::{CacheTargets, Imports, MountCaches};
use crate::error::OpenError;
use crate::events::{Event, Events, Warning};
use crate::machine::Machine;
use crate::request::BuildRequest;
use crate::rescue::Shells;
use crate::secrets::GivenSecrets;
use crate::sources::Gate;
use crate::variant::{self, Variant};
use crate::wiring::{self, Fetching};

/// A build that can begin: its request, and all that its stages work with.
pub struct Build {
    pub(crate) request: BuildRequest,
    /// When the build began.
    pub(crate) started: SystemTime,
    /// The forms of the image, the main one first; at least one.
    pub(crate) variants: Vec<Variant>,
    pub(crate) machine: Machine,
    pub(crate) secrets: Arc<GivenSecrets>,
    pub(crate) store: Arc<Store>,
    pub(crate) client: Client,
    pub(crate) fetcher: Arc<Fetcher>,
    /// Passes and pins what is taken from elsewhere.
    pub(crate) gate: Arc<Gate>,
    pub(crate) events: Arc<dyn Events>,
    /// The shared caches that it reads.
    pub(crate) imports: Arc<Imports>,
    /// The shared caches that it writes.
    pub(crate) cache_targets: Arc<CacheTargets>,
    /// The shared caches that its cache mounts come from and go to.
    pub(crate) mount_caches: Arc<MountCaches>,
    /// Opens shells where steps fail; `None` if nobody wants them.
    pub(crate) shells: Option<Arc<dyn Shells>>,
    /// Ends the work under way when a step fails.
    pub(crate) cancel: Cancel,
    /// The name by which its steps are known again, if it is one of several of a Dockerfile.
    pub(crate) name: Option<String>,
    /// The builds that run at the same time; `None` if there are no others.
    pub(crate) membership: Option<Membership>,
    /// The span of the whole build, which each stage enters.
    pub(crate) span: Span,
}

impl std::fmt::Debug for Build {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Build").field("request", &self.request).finish_non_exhaustive()
    }
}

impl Build {
    /// Checks the request, opens the store and reads the secrets. No connection is made yet, and no
    /// process started.
    pub fn open(
        request: BuildRequest,
        machine: Machine,
        events: Arc<dyn Events>,
    ) -> Result<Self, OpenError> {
        Self::open_in(None, request, machine, events)
    }

    /// Does the same for a build that runs beside others; these share a store, which is open already.
    pub fn open_in(
        batch: Option<&Arc<Batch>>,
        request: BuildRequest,
        machine: Machine,
        events: Arc<dyn Events>,
    ) -> Result<Self, OpenError> {
        let span =
            info_span!("build", platforms = %platforms(&request), target = request.input.target);
        let entered = span.enter();
        let variants = variant::variants(&request)?;
        let gate = Arc::new(Gate::new(&request.sources)?);
        let mut machine = machine;
        machine.insecure_registries.extend(variant::insecure(&variants));
        if let Some(home) = &machine.closed_home {
            events.event(Event::Warning(&Warning::ClosedHome(home.clone())));
        }
        let store = match batch {
            Some(batch) => Arc::clone(batch.store()),
            None => wiring::store(&machine, &events)?,
        };
        let secrets = GivenSecrets::read(&request.steps, &machine, &store, &*events)?;
        let secrets = Arc::new(secrets);
        let cancel = Cancel::default();
        let membership = batch.map(|batch| batch.join(&cancel));
        let client = wiring::client(&machine, Some(&store), &events, cancel.clone());
        let cache = &request.cache;
        let imports = Imports::new(&cache.from, &client, &store, &events)?;
        let cache_targets = CacheTargets::open(&cache.to, &client, &events)?;
        let mount_caches = MountCaches::open(cache, &client, &events)?;
        let given = Some(Arc::clone(&secrets) as _);
        let on_warning = Arc::clone(&events);
        let rules = Fetching { secrets: given, gate: Some(Arc::clone(&gate)) };
        let fetcher = wiring::fetcher(&machine, &store, &client, rules, on_warning, cancel.clone());
        drop(entered);
        Ok(Self {
            request,
            started: SystemTime::now(),
            variants,
            machine,
            secrets,
            store,
            client,
            fetcher,
            gate,
            events,
            imports,
            cache_targets,
            mount_caches,
            shells: None,
            cancel,
            name: None,
            membership,
            span,
        })
    }

    /// Returns the size in bytes of a layer's blob; `None` if the store has none.
    pub fn layer_size(&self, layer: &DiffId) -> Option<u64> {
        // Only what is shown depends on it.
        self.store.layer(layer).ok().flatten().map(|blob| blob.size)
    }

    /// Returns whether the builds that run at the same time are to end.
    pub(crate) fn is_over(&self) -> bool {
        self.membership.as_ref().is_some_and(|one| one.batch.is_over())
    }

    /// Gives the build a name, which tells its steps from those of other builds of the same Dockerfile
    /// and context when they say why they run.
    #[must_use]
    pub fn with_name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Makes a step that fails open a shell in its place.
    #[must_use]
    pub fn with_shells(mut self, shells: Arc<dyn Shells>) -> Self {
        self.shells = Some(shells);
        self
    }
}

/// Returns the platforms of a build, joined by commas.
fn platforms(request: &BuildRequest) -> String {
    let platforms = request.input.platforms.iter().map(ToString::to_string);
    platforms.collect::<Vec<_>>().join(",")
}
