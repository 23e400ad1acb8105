//! The order of the work: a vertex is ready when its inputs are done, and as many as may be are
//! under way at a time.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use xbuild_model::{Chain, StepFailure};
use xbuild_plan::{Graph, VertexId};

use crate::error::SolveError;
use crate::event::Events;
use crate::finish::{self, BuiltImage};
use crate::options::{SolveOptions, Stages};
use crate::step::{Done, Step};

/// Solves the graph and returns an image for each of its outputs, in their order.
///
/// **Errors** — the first step that failed. Steps under way are waited for, none is begun after
/// it. What was done until then is in the cache.
pub fn solve(
    graph: &Graph,
    stages: &Stages<'_>,
    options: &SolveOptions,
    events: &dyn Events,
) -> Result<Vec<BuiltImage>, Box<SolveError>> {
    let schedule = Schedule::new(graph);
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.get().min(graph.vertices.len()) {
            scope.spawn(|| {
                let _release = ReleaseOnPanic(&schedule);
                while let Some(id) = schedule.take() {
                    let step = Step { graph, stages, options, events, id };
                    schedule.put(id, step.perform(|input| schedule.chain(input)));
                }
            });
        }
    });
    let state = schedule.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    match state.failure {
        Some((id, failure)) => {
            let vertex = graph.vertex(id);
            Err(Box::new(SolveError {
                label: vertex.label.clone(),
                span: vertex.span.clone(),
                platform: vertex.platform.clone(),
                failure,
            }))
        }
        None => Ok(finish::images(graph, &state.done, options)),
    }
}

/// Lets the other threads go when this one panics, so that the panic is passed on, not waited for.
struct ReleaseOnPanic<'a>(&'a Schedule);

impl Drop for ReleaseOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().left = 0;
            self.0.changed.notify_all();
        }
    }
}

struct Schedule {
    state: Mutex<State>,
    changed: Condvar,
    users: Vec<Vec<VertexId>>,
}

struct State {
    /// Results by vertex.
    done: Vec<Option<Done>>,
    /// How many inputs of each vertex are not done.
    missing: Vec<usize>,
    /// Vertices that can be begun: the first of the file first.
    ready: BTreeSet<VertexId>,
    /// How many vertices are not done.
    left: usize,
    failure: Option<(VertexId, StepFailure)>,
}

impl Schedule {
    fn new(graph: &Graph) -> Self {
        let count = graph.vertices.len();
        let mut users = vec![Vec::new(); count];
        let mut missing = vec![0; count];
        for (id, vertex) in graph.iter() {
            // A vertex may be both parent and origin: it is waited for once.
            let inputs: BTreeSet<VertexId> = vertex.op.inputs().collect();
            missing[id.0] = inputs.len();
            inputs.iter().for_each(|input| users[input.0].push(id));
        }
        let ready = graph.iter().map(|(id, _)| id).filter(|id| missing[id.0] == 0).collect();
        let state = State { done: vec![None; count], missing, ready, left: count, failure: None };
        Self { state: Mutex::new(state), changed: Condvar::new(), users }
    }

    /// Waits for a vertex that is ready; `None` when there is nothing more to begin.
    fn take(&self) -> Option<VertexId> {
        let mut state = self.lock();
        loop {
            if state.failure.is_some() || state.left == 0 {
                return None;
            }
            if let Some(id) = state.ready.pop_first() {
                return Some(id);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn put(&self, id: VertexId, result: Result<Done, StepFailure>) {
        let mut state = self.lock();
        state.left = state.left.saturating_sub(1);
        match result {
            Ok(done) => {
                state.done[id.0] = Some(done);
                for user in &self.users[id.0] {
                    state.missing[user.0] -= 1;
                    if state.missing[user.0] == 0 {
                        state.ready.insert(*user);
                    }
                }
            }
            // The first failure is the one to tell: later ones are often its echo.
            Err(failure) if state.failure.is_none() => state.failure = Some((id, failure)),
            Err(_) => {}
        }
        self.changed.notify_all();
    }

    fn chain(&self, id: VertexId) -> Chain {
        self.lock().done[id.0].as_ref().map(|done| done.chain.clone()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of another thread is passed on by the scope; the state itself stays whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
