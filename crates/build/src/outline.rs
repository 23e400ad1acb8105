//! The targets of a Dockerfile, and what a target can be given, without a build.

use std::sync::Arc;

use xbuild_dockerfile::Dockerfile;
use xbuild_model::Cancel;
use xbuild_plan::{Images, Outline, PlanOptions};

use crate::check::{is_out_of_reach, open, options};
use crate::error::{BuildError, PlanningError};
use crate::events::{Event, Events, Warning};
use crate::images::Bases;
use crate::machine::Machine;
use crate::main_context::{Input, MainContext};
use crate::request::InputRequest;
use crate::{planning, wiring};

/// The answer to a question about the first Dockerfile of a request.
#[derive(Debug)]
pub struct Answer<T> {
    /// The Dockerfiles.
    pub main: MainContext,
    /// The answer, or the error that stops a build.
    pub answer: Result<T, PlanningError>,
}

/// Returns the syntax tree of the Dockerfile; [`xbuild_dockerfile::targets()`] lists its targets.
pub fn targets(
    request: &InputRequest,
    machine: &Machine,
    events: &Arc<dyn Events>,
    stdin: &mut Input<'_>,
) -> Result<Answer<Dockerfile>, BuildError> {
    let main = open(request, machine, events, stdin)?;
    let answer = planning::parse(&main.files[0].file).map_err(PlanningError::from);
    Ok(Answer { main, answer })
}

/// Returns what the target of the request can be given. A base image that is out of reach is a warning;
/// its variables count as unset.
pub fn outline(
    request: &InputRequest,
    machine: &Machine,
    events: &Arc<dyn Events>,
    stdin: &mut Input<'_>,
) -> Result<Answer<Outline>, BuildError> {
    let main = open(request, machine, events, stdin)?;
    let mut options = options(request, &main, &main.files[0]);
    let answer = match planning::parse(&main.files[0].file) {
        Ok(dockerfile) => of_file(&dockerfile, &mut options, request, machine, events)?,
        Err(errors) => Err(errors.into()),
    };
    Ok(Answer { main, answer })
}

fn of_file(
    dockerfile: &Dockerfile,
    options: &mut PlanOptions,
    request: &InputRequest,
    machine: &Machine,
    events: &Arc<dyn Events>,
) -> Result<Result<Outline, PlanningError>, BuildError> {
    if let Ok(Some((name, _))) = xbuild_plan::epoch_source(dockerfile, options) {
        // Nothing is fetched for a time.
        options.epochs.insert(name, None);
    }
    let client = wiring::client(machine, None, events, Cancel::default());
    let store = wiring::existing_store(machine, events)?;
    let bases = Bases {
        client: &client,
        store: store.as_deref(),
        pull: request.pull,
        gate: None,
        events: &**events,
    };
    let mut images = Images::default();
    match planning::resolve(&[(dockerfile, options)], &bases, &mut images) {
        Ok(_) => {}
        Err(PlanningError::Base(error)) if is_out_of_reach(&error) => {
            events.event(Event::Warning(&Warning::Base(error)));
        }
        Err(error) => return Ok(Err(error)),
    }
    Ok(xbuild_plan::outline(dockerfile, options, &images).map_err(PlanningError::from))
}
