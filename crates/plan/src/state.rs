//! The state of a stage after some of its instructions.

use serde_json::Map;
use xbuild_dockerfile::Command;
use xbuild_model::image::{ContainerConfig, ImageConfig};
use xbuild_model::{History, Platform, ResolvedImage};

use crate::graph::{Output, PlannedHistory, VertexId};
use crate::options::PlanOptions;
use crate::variables::{NameSet, Variables};

/// `PATH` where no image sets it: that of container runtimes.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Members of a base's configuration that describe the build of the base, not the image.
const STALE_MEMBERS: [&str; 7] =
    ["container", "container_config", "docker_version", "id", "parent", "throwaway", "Size"];

/// The prefix of further such members: BuildKit's inline cache and build information.
const STALE_PREFIX: &str = "moby.buildkit.";

/// A stage after some of its instructions.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// The vertex with the stage's layers.
    pub(crate) vertex: VertexId,
    /// The platform of the stage.
    pub(crate) platform: Platform,
    /// The platform of the programs in it: that of the base image, if it differs from the platform
    /// of the stage.
    pub(crate) programs: Platform,
    /// ENV and ARG: the variables that instructions expand and RUN sees.
    pub(crate) variables: Variables,
    /// ENV alone: the variables that the image keeps.
    pub(crate) env: Variables,
    /// The names that ARG declared, each once, for the history.
    pub(crate) arguments: NameSet,
    /// The configuration; its `env` is in [`State::env`].
    pub(crate) config: ImageConfig,
    /// Whether CMD was set in this stage.
    pub(crate) own_cmd: bool,
    /// The history of the base image.
    pub(crate) base_history: Vec<History>,
    /// The history of this build.
    pub(crate) history: Vec<PlannedHistory>,
}

impl State {
    /// Returns the state of a stage without a base image. Its working directory is `/`, set
    /// explicitly.
    pub(crate) fn empty(vertex: VertexId, platform: &Platform) -> Self {
        let container = ContainerConfig { working_dir: "/".to_owned(), ..Default::default() };
        let config = ImageConfig { config: container, ..Default::default() };
        State::new(vertex, platform, platform, config, Vec::new())
    }

    /// Returns the state of a stage that begins from an image, without the image's triggers.
    pub(crate) fn of_image(vertex: VertexId, platform: &Platform, image: &ResolvedImage) -> Self {
        let mut config = image.config.clone();
        let history = std::mem::take(&mut config.history);
        let same_programs = image.platform.os() == platform.os()
            && image.platform.architecture() == platform.architecture();
        let programs = if same_programs { platform } else { &image.platform };
        State::new(vertex, platform, programs, config, history)
    }

    /// Returns the state of a stage that begins from this one.
    pub(crate) fn child(self) -> Self {
        State { own_cmd: false, ..self }
    }

    fn new(
        vertex: VertexId,
        platform: &Platform,
        programs: &Platform,
        mut config: ImageConfig,
        base_history: Vec<History>,
    ) -> Self {
        let mut env = Variables::default();
        for entry in std::mem::take(&mut config.config.env) {
            let (name, value) = entry.split_once('=').unwrap_or((&entry, ""));
            if !name.is_empty() {
                env.set(name, value);
            }
        }
        if env.get("PATH").is_none() && platform.os() != "windows" {
            env.set("PATH", DEFAULT_PATH);
        }
        State {
            vertex,
            platform: platform.clone(),
            programs: programs.clone(),
            variables: env.clone(),
            env,
            arguments: NameSet::default(),
            config,
            own_cmd: false,
            base_history,
            history: Vec::new(),
        }
    }

    /// Returns the working directory as it is written: `/` if none was set.
    pub(crate) fn working_dir(&self) -> &str {
        match self.config.config.working_dir.as_str() {
            "" => "/",
            folder => folder,
        }
    }

    /// Returns the arguments of a command; those of the shell form begin with the SHELL.
    pub(crate) fn argv(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(arguments) => arguments.clone(),
            Command::Shell(text) => self.in_shell(text.clone()),
        }
    }

    /// Returns the arguments that run `text` in the SHELL.
    pub(crate) fn in_shell(&self, text: String) -> Vec<String> {
        let default = || match self.platform.os() {
            "windows" => vec!["cmd".to_owned(), "/S".to_owned(), "/C".to_owned()],
            _ => vec!["/bin/sh".to_owned(), "-c".to_owned()],
        };
        let mut argv = self.config.config.shell.clone().unwrap_or_else(default);
        argv.push(text);
        argv
    }

    /// Returns the image of the stage, as a result of the build: for the platform that was asked for,
    /// else for that of its base image.
    pub(crate) fn into_output(self, asked: &Platform, options: &PlanOptions) -> Output {
        let is_implied = options.platforms.is_empty();
        let target = if is_implied { &self.programs } else { asked };
        let mut config = self.config;
        let same = config.os == target.os() && config.architecture == target.architecture();
        if !same {
            config.os_version = None;
            config.os_features = Vec::new();
        }
        if !same || !is_implied {
            config.variant = target.variant().map(str::to_owned);
        }
        config.created = None;
        config.rootfs = Default::default();
        config.history = Vec::new();
        config.os = target.os().to_owned();
        config.architecture = target.architecture().to_owned();
        config.other = std::mem::take(&mut config.other)
            .into_iter()
            .filter(|(name, _)| {
                !STALE_MEMBERS.contains(&name.as_str()) && !name.starts_with(STALE_PREFIX)
            })
            .collect::<Map<_, _>>();
        config.config.env =
            self.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        config.config.labels.extend(options.labels.iter().cloned());
        Output {
            platform: target.clone(),
            vertex: self.vertex,
            config,
            base_history: self.base_history,
            history: self.history,
        }
    }
}
