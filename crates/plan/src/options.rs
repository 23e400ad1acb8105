//! The planner's arguments beside the Dockerfile, and its answers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use xbuild_dockerfile::Span;
use xbuild_model::run::Network;
use xbuild_model::{Descriptor, Digest, ImageConfig, Platform, ResolvedImage};

use crate::graph::Graph;

/// The choices of the user.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// The platforms to build for, in order; a platform given twice counts once. No platform means
    /// `build_platform`; the image then has the platform of its base image, whatever that is.
    pub platforms: Vec<Platform>,
    /// The platform of this machine: `BUILDPLATFORM`.
    pub build_platform: Platform,
    /// `--build-arg`: name and value; the last one of a name counts.
    pub build_args: Vec<(String, String)>,
    /// The times of places in seconds since 1970, by the value of `SOURCE_DATE_EPOCH` that stands for
    /// them: `context` for the main context, others as [`crate::epoch_source()`] asks for them.
    /// `None` if a place has no time; the value then has no effect, nor has `context` without an entry.
    pub epochs: BTreeMap<String, Option<String>>,
    /// `--target`: the name of the last stage to build; `None` for the last one of the file.
    pub target: Option<String>,
    /// `--no-cache-filter`: names of stages whose steps are done anew; letter case does not count.
    pub no_cache_stages: Vec<String>,
    /// Whether all stages above the target are planned, needed or not: to check a file, not to
    /// build it.
    pub every_stage: bool,
    /// `--label`: name and value, which replace those of the Dockerfile; the last one of a name
    /// counts.
    pub labels: Vec<(String, String)>,
    /// The name of the main context in [`crate::Origin::Context`]: empty, or [`main_context`] of
    /// another number, if Dockerfiles of one build have ignore files that differ.
    pub main_context: String,
    /// `--build-context`, by the name as given.
    pub contexts: BTreeMap<String, NamedContext>,
    /// The network of a RUN without `--network`.
    pub network: Network,
    /// Whether RUN `--security=insecure` was granted (`--allow security.insecure`).
    pub allow_insecure: bool,
    /// `--add-host`: name and address.
    pub extra_hosts: Vec<(String, String)>,
    /// `--ulimit`: name, soft, hard.
    pub ulimits: Vec<(String, u64, u64)>,
    /// `--shm-size` in bytes.
    pub shm_size: u64,
    /// The host name of RUN; `None` for [`DEFAULT_HOSTNAME`]. The build argument
    /// `BUILDKIT_SANDBOX_HOSTNAME` takes precedence.
    pub hostname: Option<String>,
}

/// The default host name of RUN. It is BuildKit's, so that builds that keep it in a file have the
/// same result with both.
pub const DEFAULT_HOSTNAME: &str = "buildkitsandbox";

/// The default size of `/dev/shm` in bytes: the 64 MiB of container runtimes.
pub const DEFAULT_SHM_SIZE: u64 = 64 << 20;

impl PlanOptions {
    /// Returns the default options of a build for `platform` on a machine of that platform.
    pub fn new(platform: Platform) -> Self {
        PlanOptions {
            platforms: vec![platform.clone()],
            build_platform: platform,
            build_args: Vec::new(),
            epochs: BTreeMap::new(),
            target: None,
            no_cache_stages: Vec::new(),
            every_stage: false,
            labels: Vec::new(),
            main_context: String::new(),
            contexts: BTreeMap::new(),
            network: Network::Default,
            allow_insecure: false,
            extra_hosts: Vec::new(),
            ulimits: Vec::new(),
            shm_size: DEFAULT_SHM_SIZE,
            hostname: None,
        }
    }

    /// Returns the platforms to build for, in order.
    pub(crate) fn asked(&self) -> &[Platform] {
        match self.platforms.as_slice() {
            [] => std::slice::from_ref(&self.build_platform),
            platforms => platforms,
        }
    }
}

/// Returns the name of the main context as the ignore file with this number shows it: empty for the
/// first one. No name of a user's context has a `=`.
pub fn main_context(number: usize) -> String {
    match number {
        0 => String::new(),
        number => format!("={number}"),
    }
}

/// Returns whether a name is one that [`main_context`] gives.
pub fn is_main_context(name: &str) -> bool {
    name.is_empty() || name.starts_with('=')
}

/// The meaning of a name given with `--build-context`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedContext {
    /// A folder on this machine.
    Folder,
    /// An image. An [`ImageRequest`] for it carries this text; nothing else here reads it.
    Image(String),
}

/// A request for an image whose manifest and configuration the plan depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRequest {
    /// The reference: as written in the Dockerfile after expansion, or the text of a
    /// [`NamedContext::Image`].
    pub name: String,
    /// The platform of the request.
    pub platform: Platform,
    /// The FROM or COPY that asks for it.
    pub span: Span,
}

/// The images resolved so far, by name and platform as in an [`ImageRequest`].
#[derive(Clone, Debug, Default)]
pub struct Images(HashMap<(String, Platform), Arc<ResolvedImage>>);

impl Images {
    /// Adds the answer to `request`.
    pub fn insert(&mut self, request: &ImageRequest, image: ResolvedImage) {
        self.0.insert((request.name.clone(), request.platform.clone()), Arc::new(image));
    }

    /// Returns these images and the `missing` ones, which are empty.
    pub(crate) fn with_empty(&self, missing: &[ImageRequest]) -> Self {
        let mut images = self.clone();
        for request in missing {
            let image = ResolvedImage {
                name: request.name.clone(),
                platform: request.platform.clone(),
                root: Digest::of(&[]),
                manifest: Descriptor::of("", &[]),
                config: ImageConfig::default(),
                layers: Vec::new(),
            };
            images.insert(request, image);
        }
        images
    }

    /// Returns the image that answers a request for `name` and `platform`.
    pub fn get(&self, name: &str, platform: &Platform) -> Option<&Arc<ResolvedImage>> {
        self.0.get(&(name.to_owned(), platform.clone()))
    }
}

/// The answer of [`crate::plan()`].
#[derive(Clone, Debug, PartialEq)]
pub enum Planned {
    /// These images must be resolved first, each once, in the order of the file. The triggers of
    /// base images may lead to further requests.
    Needs(Vec<ImageRequest>),
    /// The graph.
    Ready(Graph),
}
