//! Checking a Dockerfile, for errors and broken rules, without a build.

use std::sync::Arc;

use xbuild_dockerfile::{Diagnostics, Dockerfile};
use xbuild_model::{Cancel, FailureKind};
use xbuild_plan::{Images, PlanOptions};

use crate::error::{BaseError, BuildError, ErrorKind, Fault as _, PlanningError};
use crate::events::{Event, Events, Silent, Warning};
use crate::images::Bases;
use crate::machine::Machine;
use crate::main_context::{Elsewhere, Input, MainContext, MainFile};
use crate::request::{InputRequest, Pull};
use crate::{linting, planning, wiring};

/// The result of a check.
#[derive(Debug)]
pub struct Checked {
    /// The Dockerfiles.
    pub main: MainContext,
    /// The result of each, in the order of [`MainContext::files`].
    pub files: Vec<CheckedFile>,
}

/// The result of a check of one Dockerfile.
#[derive(Debug)]
pub struct CheckedFile {
    /// The rules that it breaks.
    pub findings: Diagnostics,
    /// The error that stops a build of it.
    pub error: Option<PlanningError>,
}

/// Checks all stages, or those that the target of the request needs. The store keeps only contexts
/// that had to be fetched or unpacked.
pub fn check(
    request: &InputRequest,
    machine: &Machine,
    events: &Arc<dyn Events>,
    stdin: &mut Input<'_>,
) -> Result<Checked, BuildError> {
    let main = open(request, machine, events, stdin)?;
    let files = main.files.iter().map(|file| check_file(request, &main, file, machine, events));
    let files = files.collect::<Result<_, _>>()?;
    Ok(Checked { main, files })
}

/// Reads the Dockerfiles of a request.
pub(crate) fn open(
    request: &InputRequest,
    machine: &Machine,
    events: &Arc<dyn Events>,
    stdin: &mut Input<'_>,
) -> Result<MainContext, BuildError> {
    let elsewhere = || {
        let store = wiring::store(machine, events)?;
        let client = wiring::client(machine, Some(&store), events, Cancel::default());
        let rules = wiring::Fetching::default();
        let fetcher =
            wiring::fetcher(machine, &store, &client, rules, Arc::new(Silent), Cancel::default());
        Ok(Elsewhere { store, fetcher })
    };
    Ok(MainContext::open(request, &elsewhere, stdin)?)
}

/// Returns the options to look at a Dockerfile with; nothing runs.
pub(crate) fn options(request: &InputRequest, main: &MainContext, file: &MainFile) -> PlanOptions {
    PlanOptions { allow_insecure: true, ..planning::input_options(request, main, file) }
}

fn check_file(
    request: &InputRequest,
    main: &MainContext,
    file: &MainFile,
    machine: &Machine,
    events: &Arc<dyn Events>,
) -> Result<CheckedFile, BuildError> {
    let mut options =
        PlanOptions { every_stage: request.target.is_none(), ..options(request, main, file) };
    let (findings, error) = match planning::parse(&file.file) {
        Ok(dockerfile) => {
            if let Ok(Some((name, _))) = xbuild_plan::epoch_source(&dockerfile, &options) {
                // A check fetches nothing for a time.
                options.epochs.insert(name, None);
            }
            inspect((&dockerfile, &options), request.pull, file, machine, events)?
        }
        Err(errors) => (linting::above(&errors, &options), Some(errors.into())),
    };
    Ok(CheckedFile { findings, error })
}

/// Returns the rules that a Dockerfile breaks, and the error that stops a build of it.
fn inspect(
    (dockerfile, options): (&Dockerfile, &PlanOptions),
    pull: Pull,
    file: &MainFile,
    machine: &Machine,
    events: &Arc<dyn Events>,
) -> Result<(Diagnostics, Option<PlanningError>), BuildError> {
    let checks = linting::checks(dockerfile, options).map_err(PlanningError::from)?;
    let client = wiring::client(machine, None, events, Cancel::default());
    let store = wiring::existing_store(machine, events)?;
    let bases =
        Bases { client: &client, store: store.as_deref(), pull, gate: None, events: &**events };
    let mut images = Images::default();
    let error = match planning::resolve(&[(dockerfile, options)], &bases, &mut images) {
        Ok(graph) => planning::epoch(&graph).err().map(PlanningError::from),
        Err(PlanningError::Base(error)) => {
            let other = xbuild_plan::check(dockerfile, options, &images).err();
            if other.is_none() && !is_out_of_reach(&error) {
                Some(PlanningError::Base(error))
            } else {
                // The check goes on without this base image.
                events.event(Event::Warning(&Warning::Base(error)));
                other.map(PlanningError::from)
            }
        }
        Err(error) => Some(error),
    };
    let ignore = file.file.ignore.as_ref();
    let findings = linting::all(dockerfile, options, &images, &checks, ignore)?;
    Ok((findings, error))
}

/// Returns whether another machine, or the same one later, may well have the image.
pub(crate) fn is_out_of_reach(error: &BaseError) -> bool {
    matches!(error.kind(), ErrorKind::Stage(FailureKind::Remote | FailureKind::Environment))
}
