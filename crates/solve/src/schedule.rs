//! The order of the work: a vertex is ready when its inputs are done, and up to `jobs` vertices are
//! worked on at once.
//!
//! Emulated steps take ten times as long as others. So they come last among the ready ones, and one
//! job is kept free of them as long as there is work that does not wait for an emulated step.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use xbuild_model::{StepFailure, thread};
use xbuild_plan::{Graph, Vertex, VertexId};

use crate::error::SolveError;
use crate::event::Events;
use crate::failures::Failures;
use crate::finish::{self, BuiltImage};
use crate::lookup::Lookup;
use crate::memory::Memory;
use crate::options::{SolveOptions, Stages};
use crate::result::{Done, Layers};
use crate::spans::Spans;
use crate::step::Step;

/// Solves the graph and returns an image for each of its outputs, in their order.
///
/// **Errors** — the first step that failed; the first that was ended, if somebody else ended the build
/// with its [`Stages::cancel`]. Steps in progress are told to end and waited for, and no
/// further step is begun. Results so far are in the cache.
pub fn solve(
    graph: &Graph,
    stages: &Stages<'_>,
    options: &SolveOptions,
    events: &dyn Events,
) -> Result<Vec<BuiltImage>, Box<SolveError>> {
    let emulated = |vertex: &Vertex| {
        vertex.op.programs().is_some_and(|platform| stages.runner.is_emulated(platform))
    };
    let schedule = Schedule::new(graph, options.jobs.get(), emulated);
    let memory = Memory::new(graph, stages.last_runs, &options.project);
    let lookup = Lookup::new(stages, options);
    let spans = Spans::new(graph);
    let expected = stages.beside.map(|beside| {
        beside.steps.claims.renew(beside.build);
        beside.steps.places.expect(schedule.lock().native_left)
    });
    let failures = Failures::new(stages.cancel);
    thread::share("step", options.jobs.get().min(graph.vertices.len()), || {
        let _release = ReleaseOnPanic(&schedule);
        while let Some(id) = schedule.take() {
            let vertex = graph.vertex(id);
            let step = Step { vertex, id, lookup, events, memory: &memory, failures: &failures };
            let perform = || step.perform(|input| schedule.result(input));
            match spans.within(vertex, perform) {
                Ok(done) => {
                    if let (Speed::Native, Some(expected)) = (schedule.speeds[id.0], &expected) {
                        expected.one_less();
                    }
                    schedule.put(id, done);
                }
                Err(failure) => schedule.end(failures.is_told(id).then_some((id, failure))),
            }
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

/// Ends the other threads when this one panics, so that the panic is passed on instead of waited
/// for.
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
    /// By vertex.
    speeds: Vec<Speed>,
    /// The most emulated steps at once while native work is left.
    emulated_limit: usize,
}

/// The relation of a vertex to emulated steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speed {
    /// Neither it nor anything that it stands on is emulated.
    Native,
    /// It stands on something emulated.
    Mixed,
    /// It is emulated itself.
    Emulated,
}

struct State {
    /// Results by vertex.
    done: Vec<Option<Done>>,
    /// The number of unfinished inputs of each vertex.
    missing: Vec<usize>,
    /// Ready vertices that are not emulated; the first in the file comes first.
    ready: BTreeSet<VertexId>,
    /// Ready vertices that are emulated.
    ready_emulated: BTreeSet<VertexId>,
    /// The number of emulated vertices in progress.
    emulated: usize,
    /// The number of unfinished vertices; none once one has failed.
    left: usize,
    /// The number of unfinished vertices that are [`Speed::Native`].
    native_left: usize,
    failure: Option<(VertexId, StepFailure)>,
}

impl Schedule {
    fn new(graph: &Graph, jobs: usize, emulated: impl Fn(&Vertex) -> bool) -> Self {
        let count = graph.vertices.len();
        let mut users = vec![Vec::new(); count];
        let mut missing = vec![0; count];
        let mut speeds: Vec<Speed> = Vec::with_capacity(count);
        for (id, vertex) in graph.iter() {
            // A vertex that is both parent and origin is waited for once.
            let inputs: BTreeSet<VertexId> = vertex.op.inputs().collect();
            missing[id.0] = inputs.len();
            inputs.iter().for_each(|input| users[input.0].push(id));
            // Inputs come before their users.
            let native = inputs.iter().all(|input| speeds[input.0] == Speed::Native);
            speeds.push(match emulated(vertex) {
                true => Speed::Emulated,
                false if native => Speed::Native,
                false => Speed::Mixed,
            });
        }
        let mut state = State {
            done: vec![None; count],
            missing,
            ready: BTreeSet::new(),
            ready_emulated: BTreeSet::new(),
            emulated: 0,
            left: count,
            native_left: speeds.iter().filter(|speed| **speed == Speed::Native).count(),
            failure: None,
        };
        for (id, _) in graph.iter().filter(|(id, _)| state.missing[id.0] == 0).collect::<Vec<_>>() {
            state.add_ready(id, speeds[id.0]);
        }
        let emulated_limit = jobs.saturating_sub(1).max(1);
        let (state, changed) = (Mutex::new(state), Condvar::new());
        Self { state, changed, users, speeds, emulated_limit }
    }

    /// Waits for a ready vertex. Returns `None` when there is no more to begin.
    fn take(&self) -> Option<VertexId> {
        let mut state = self.lock();
        loop {
            if state.left == 0 {
                return None;
            }
            if let Some(id) = state.ready.pop_first() {
                return Some(id);
            }
            if (state.native_left == 0 || state.emulated < self.emulated_limit)
                && let Some(id) = state.ready_emulated.pop_first()
            {
                state.emulated += 1;
                return Some(id);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes the result of a vertex.
    fn put(&self, id: VertexId, done: Done) {
        let mut state = self.lock();
        // None is left if another vertex has failed meanwhile.
        state.left = state.left.saturating_sub(1);
        match self.speeds[id.0] {
            Speed::Native => state.native_left -= 1,
            Speed::Mixed => {}
            Speed::Emulated => state.emulated -= 1,
        }
        state.done[id.0] = Some(done);
        for user in &self.users[id.0] {
            state.missing[user.0] -= 1;
            if state.missing[user.0] == 0 {
                state.add_ready(*user, self.speeds[user.0]);
            }
        }
        self.changed.notify_all();
    }

    /// Lets no more vertices begin; `first` is the failure to report, if this is the first.
    fn end(&self, first: Option<(VertexId, StepFailure)>) {
        let mut state = self.lock();
        state.left = 0;
        state.failure = state.failure.take().or(first);
        self.changed.notify_all();
    }

    fn result(&self, id: VertexId) -> Layers {
        self.lock().done[id.0].as_ref().map(|done| done.layers.clone()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The scope passes on a panic of another thread; the state itself stays whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add_ready(&mut self, id: VertexId, speed: Speed) {
        let ready = match speed {
            Speed::Native | Speed::Mixed => &mut self.ready,
            Speed::Emulated => &mut self.ready_emulated,
        };
        ready.insert(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{graph, run, vertex};
    use xbuild_plan::Op;

    /// Two chains on one base: `slow` emulated steps, then a native one; and two native steps.
    fn schedule(jobs: usize) -> Schedule {
        let labels = ["slow 1", "slow 2", "on slow", "native 1", "native 2"];
        let parents = [0, 0, 2, 0, 4];
        let steps = labels.iter().zip(parents).map(|(label, parent)| run(label, parent));
        let graph = graph(std::iter::once(vertex("base", Op::Scratch)).chain(steps).collect());
        Schedule::new(&graph, jobs, |vertex| vertex.label.starts_with("slow"))
    }

    fn done(schedule: &Schedule, id: usize) {
        schedule.put(VertexId(id), Done::default());
    }

    #[test]
    fn one_job_does_native_work_first() {
        let schedule = schedule(1);
        let order: Vec<usize> = std::iter::from_fn(|| schedule.take().map(|id| id.0))
            .inspect(|id| done(&schedule, *id))
            .collect();
        assert_eq!(order, [0, 4, 5, 1, 2, 3]);
    }

    #[test]
    fn emulated_steps_leave_a_job_to_native_work() {
        let schedule = schedule(2);
        assert_eq!(schedule.take(), Some(VertexId(0)));
        done(&schedule, 0);
        assert_eq!(schedule.take(), Some(VertexId(4)));
        assert_eq!(schedule.take(), Some(VertexId(1)));
        // The second emulated step is ready, but a native one soon is, too.
        std::thread::scope(|scope| {
            let next = scope.spawn(|| schedule.take());
            done(&schedule, 4);
            assert_eq!(next.join().unwrap(), Some(VertexId(5)));
        });
        // All remaining native work waits for an emulated step.
        done(&schedule, 5);
        assert_eq!(schedule.take(), Some(VertexId(2)));
        done(&schedule, 2);
        assert_eq!(schedule.take(), Some(VertexId(3)));
        done(&schedule, 1);
        done(&schedule, 3);
        assert_eq!(schedule.take(), None);
    }
}
