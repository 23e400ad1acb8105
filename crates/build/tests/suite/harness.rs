//! A place to build in: a context, a store, and a folder for results.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use xbuild_build::error::BuildError;
use xbuild_build::events::Silent;
use xbuild_build::request::{
    Annotations, ContextPlace, DockerfilePlace, InputRequest, Output, StepsRequest, Target,
};
use xbuild_build::{
    Build, BuildRequest, Event, Events, Machine, Outcome, export, plan, preflight, read, run,
};
use xbuild_model::Platform;
use xbuild_solve::Event as StepEvent;

/// Folders that are removed at the end.
pub(crate) struct Place {
    folder: Arc<tempfile::TempDir>,
    store: &'static str,
}

impl Place {
    /// Makes a place whose context has this Dockerfile.
    pub(crate) fn new(dockerfile: &str) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let place = Self { folder, store: "store" };
        fs::create_dir(place.context()).unwrap();
        fs::write(place.context().join("Dockerfile"), dockerfile).unwrap();
        place
    }

    /// Returns the same place for a second machine, which has a store of its own.
    pub(crate) fn worker_of(other: &Self) -> Self {
        Self { folder: Arc::clone(&other.folder), store: "worker" }
    }

    pub(crate) fn context(&self) -> PathBuf {
        self.folder.path().join("context")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join(self.store)
    }

    pub(crate) fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join("out").join(name)
    }

    /// Returns a line of the Dockerfile as spans show it.
    pub(crate) fn dockerfile(&self, line: u32) -> String {
        format!("Dockerfile:{line}")
    }

    pub(crate) fn machine(&self) -> Machine {
        Machine { store: Some(self.store()), store_is_named: true, ..Machine::default() }
    }

    /// Returns a request for an OCI layout in the folder `out`.
    pub(crate) fn request(&self, out: &str) -> BuildRequest {
        let target = Target::OciFolder(self.out(out));
        BuildRequest {
            input: InputRequest {
                context: ContextPlace::Folder(self.context()),
                dockerfile: DockerfilePlace::InContext,
                own_dockerfiles: Vec::new(),
                contexts: Default::default(),
                build_args: vec![("SOURCE_DATE_EPOCH".to_owned(), "1600000000".to_owned())],
                platforms: vec![Platform::host()],
                platform_is_implied: false,
                target: None,
                pull: Default::default(),
            },
            steps: StepsRequest::default(),
            cache: Default::default(),
            labels: vec![("label".to_owned(), "value".to_owned())],
            annotations: Annotations::default(),
            tags: vec!["r.example/a:1".parse().unwrap()],
            attestations: Default::default(),
            sources: Default::default(),
            platform_tags: Vec::new(),
            outputs: vec![Output::new(target)],
            push: false,
        }
    }

    pub(crate) fn build(&self, request: BuildRequest) -> Result<Outcome, BuildError> {
        self.carry_out(request, Arc::new(Silent))
    }

    /// Builds and keeps the events in `told`.
    pub(crate) fn build_told(
        &self,
        request: BuildRequest,
        told: &Told,
    ) -> Result<Outcome, BuildError> {
        self.carry_out(request, Arc::new(told.clone()))
    }

    fn carry_out(
        &self,
        request: BuildRequest,
        events: Arc<dyn Events>,
    ) -> Result<Outcome, BuildError> {
        let build = Build::open(request, self.machine(), events)?;
        let main = read(&build, &mut io::empty())?;
        let plan = plan(&build, &main)?;
        let ground = preflight(&build, &main, &plan)?;
        let solved = run(&build, &main, &plan, &ground)?;
        Ok(export(&build, &solved, &mut io::sink())?)
    }
}

/// The events of a build, as words.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    /// Returns the events since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Events for Told {
    fn event(&self, event: Event<'_>) {
        let text = match event {
            Event::Warning(warning) => format!("warning {warning}"),
            Event::Lint { findings, .. } => format!("lint {}", findings.len()),
            Event::Planned(_) => "planned".to_owned(),
            Event::Step { event: StepEvent::Started(_), .. } => "started".to_owned(),
            Event::Step { event: StepEvent::Done { .. }, .. } => "done".to_owned(),
            Event::Step { event: StepEvent::Cached { .. }, .. } => "cached".to_owned(),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(text);
    }
}
