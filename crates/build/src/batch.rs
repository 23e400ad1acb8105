//! Builds that run at the same time in one process, such as those of the targets of a bake file.
//!
//! Each is a [`Build`](crate::Build) with a request, contexts, secrets and outputs of its own. They
//! share the store, the places for steps and the layers that are being made, and each step that they
//! have in common runs once. The first build that fails ends all others.

use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use xbuild_model::Cancel;
use xbuild_snapshot::Siblings;
use xbuild_solve::SharedSteps;
use xbuild_store::Store;

use crate::error::OpenError;
use crate::events::Events;
use crate::machine::Machine;
use crate::wiring;

/// Builds that run at the same time.
#[derive(Debug)]
pub struct Batch {
    pub(crate) steps: SharedSteps,
    pub(crate) siblings: Siblings,
    pub(crate) store: Arc<Store>,
    /// Whether steps may have the root of this container.
    has_own_root: bool,
    /// Whether a build uses that root.
    own_root: Mutex<bool>,
    freed: Condvar,
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    /// Those that end the work of each build.
    cancels: Vec<Cancel>,
    is_over: bool,
}

/// A build of a batch, by its number.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    pub(crate) batch: Arc<Batch>,
    pub(crate) number: usize,
}

/// The right to the root of the container, until this is dropped.
#[derive(Debug)]
pub(crate) struct RootTurn(Arc<Batch>);

impl Batch {
    /// Opens the store for builds of which `jobs` steps run at once, all together; `None` for as many as
    /// there are processors. `events` is told of long waits for other processes.
    pub fn open(
        machine: &Machine,
        jobs: Option<NonZeroUsize>,
        events: &Arc<dyn Events>,
    ) -> Result<Arc<Self>, OpenError> {
        let store = wiring::store(machine, events)?;
        let jobs = jobs.or(machine.processors).unwrap_or(NonZeroUsize::MIN);
        Ok(Arc::new(Self {
            steps: SharedSteps::new(jobs),
            siblings: Siblings::new(&store),
            store,
            has_own_root: machine.own_root().is_some_and(|root| root.is_free()),
            own_root: Mutex::new(false),
            freed: Condvar::new(),
            members: Mutex::default(),
        }))
    }

    /// Returns the store.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Ends the work of all builds. Returns whether it was the first to do so.
    pub fn end(&self) -> bool {
        let cancels = {
            let mut members = self.members();
            if std::mem::replace(&mut members.is_over, true) {
                return false;
            }
            members.cancels.clone()
        };
        cancels.iter().for_each(Cancel::cancel);
        true
    }

    /// Returns whether the builds are to end.
    pub fn is_over(&self) -> bool {
        self.members().is_over
    }

    /// Adds a build, whose work `cancel` ends.
    pub(crate) fn join(self: &Arc<Self>, cancel: &Cancel) -> Membership {
        let mut members = self.members();
        if members.is_over {
            cancel.cancel();
        }
        members.cancels.push(cancel.clone());
        Membership { batch: Arc::clone(self), number: members.cancels.len() }
    }

    /// Waits until no other build has the root of the container, if steps may have it: it has room for
    /// the stages of one build.
    pub(crate) fn own_root(self: &Arc<Self>) -> Option<RootTurn> {
        self.has_own_root.then(|| self.root_turn())
    }

    fn root_turn(self: &Arc<Self>) -> RootTurn {
        let taken = self.own_root.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.freed.wait_while(taken, |taken| *taken);
        *taken.unwrap_or_else(PoisonError::into_inner) = true;
        RootTurn(Arc::clone(self))
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        // The value is whole at any time.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RootTurn {
    fn drop(&mut self) {
        *self.0.own_root.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Silent;

    fn silent() -> Arc<dyn Events> {
        Arc::new(Silent)
    }

    #[test]
    fn the_end_is_that_of_all_and_of_those_to_come() {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine { store: Some(folder.path().join("s")), ..Machine::default() };
        let batch = Batch::open(&machine, None, &silent()).unwrap();
        let (first, second, late) = (Cancel::default(), Cancel::default(), Cancel::default());
        let numbers = [&first, &second].map(|cancel| batch.join(cancel).number);
        assert_ne!(numbers[0], numbers[1]);
        assert!(!batch.is_over() && !first.is_cancelled());
        assert_eq!([batch.end(), batch.end()], [true, false]);
        batch.join(&late);
        assert!([first, second, late].iter().all(Cancel::is_cancelled) && batch.is_over());
    }

    #[test]
    fn one_build_at_a_time_has_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine { store: Some(folder.path().join("s")), ..Machine::default() };
        let batch = Batch::open(&machine, None, &silent()).unwrap();
        assert!(batch.own_root().is_none());
        let turn = batch.root_turn();
        std::thread::scope(|scope| {
            let next = scope.spawn(|| drop(batch.root_turn()));
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(!next.is_finished());
            drop(turn);
            next.join().unwrap();
        });
    }
}
