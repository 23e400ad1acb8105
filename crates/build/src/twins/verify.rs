//! Emulated steps that run both ways, natively as far as they can and under QEMU alone, so that the
//! results can be compared.
//!
//! The native run comes first, in a root file system of its own; the layer of the other one is the
//! step's. The solver commits that layer, so the comparison waits for it: [`Verified`] stands between
//! the solver and both the runner and the snapshots.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use xbuild_exec::Natively;
use xbuild_model::file_op::{CopyOrigin, FileOp};
use xbuild_model::records::Records;
use xbuild_model::rootfs::RootFs;
use xbuild_model::run::{ReadyMount, RunRequest};
use xbuild_model::seam::{
    CacheFolder, CacheRequest, MountFiles, Output, Purpose, Runner, Selection, Snapshots, Workspace,
};
use xbuild_model::{Chain, DiffId, Digest, FailureKind, ImageLayer, Platform, StepFailure};
use xbuild_snapshot::Engine;
use xbuild_wording::hints;

use super::Twinned;
use super::compare::compare;
use super::tail::Tail;
use crate::events::{Event, Events};

/// The heading of the native run's last lines, if it fails alone.
const TAIL: &str = "verify: the last lines of the native run:";

/// Runner and snapshots of a build that verifies.
pub(crate) struct Verified<'a> {
    twinned: &'a Twinned<'a>,
    checks: Arc<Checks>,
}

/// The comparisons to be made.
struct Checks {
    engine: Engine,
    events: Arc<dyn Events>,
    /// The layers of native runs, by the work folders of the emulated ones, until those have layers,
    /// too.
    trials: Mutex<BTreeMap<PathBuf, Trial>>,
}

/// A step that ran natively.
struct Trial {
    below: Chain,
    layer: DiffId,
    /// When it began: seconds since the epoch.
    since: i64,
}

/// The two runs of a step did not both succeed, or not both fail alike.
#[derive(Debug, thiserror::Error)]
#[error("the command depends on who runs its programs: natively {natively}, under QEMU {emulated}")]
struct OtherEnd {
    natively: String,
    emulated: String,
}

impl<'a> Verified<'a> {
    pub(crate) fn new(twinned: &'a Twinned<'a>) -> Self {
        let (engine, events) = (twinned.engine.clone(), Arc::clone(&twinned.build.events));
        Self { twinned, checks: Arc::new(Checks { engine, events, trials: Mutex::default() }) }
    }

    /// Runs a command natively on a root of its own, and returns its layer.
    fn try_natively(
        &self,
        run: impl FnOnce(&RootFs) -> Result<Records, StepFailure>,
        below: &Chain,
    ) -> Result<DiffId, StepFailure> {
        let workspace = self.checks.engine.prepare(below)?;
        let records = run(workspace.root())?;
        workspace.commit(records, Purpose::default())
    }
}

impl Checks {
    /// Compares the layer that a step made with that of its native run, if it had one.
    fn check(&self, place: &Path, emulated: &DiffId) -> Result<(), StepFailure> {
        let Some(Trial { below, layer, since }) = self.trials().remove(place) else {
            return Ok(());
        };
        let tree = |layer: &DiffId| {
            let chain = below.0.iter().chain([layer]).cloned().collect();
            self.engine.tree(&Chain(chain))
        };
        let top = u32::try_from(below.0.len()).unwrap_or(u32::MAX);
        let paths = compare(&tree(&layer)?, &tree(emulated)?, top, since).map_err(differs)?;
        self.events.event(Event::Verified { paths });
        Ok(())
    }

    fn trials(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Trial>> {
        self.trials.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn differs(error: impl std::error::Error + Send + Sync + 'static) -> StepFailure {
    StepFailure::new(FailureKind::Internal, error).with_hint(hints::report_twin())
}

impl Runner for Verified<'_> {
    fn run(
        &self,
        root: &RootFs,
        request: &RunRequest,
        mounts: &[ReadyMount],
        below: &Chain,
        output: &dyn Output,
    ) -> Result<Records, StepFailure> {
        let natively = self.twinned.natively(request, below, output)?;
        let has_any = natively.twins.iter().any(|twins| !twins.set.twins.is_empty());
        let emulate = || {
            let natively = Natively { twins: Vec::new(), ..natively.clone() };
            self.twinned.run_step(root, request, mounts, natively, output)
        };
        if !has_any {
            if self.is_emulated(&request.platform) {
                output.note("verify: none of its programs runs natively, nothing is compared");
            }
            return emulate();
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let since = i64::try_from(since).unwrap_or(i64::MAX);
        let tail = Tail::default();
        let run = |root: &RootFs| {
            let twins = natively.twins.clone();
            self.twinned.sandbox.run_with(root, request, mounts, twins, &tail)
        };
        let (natively, emulated) = (self.try_natively(run, below), emulate());
        let is_of_step = |failure: &StepFailure| failure.kind() == FailureKind::Step;
        let end = |end: Option<&StepFailure>| {
            end.map_or_else(|| "it succeeds".to_owned(), |failure| format!("\"{failure}\""))
        };
        let other = |natively: Option<&StepFailure>, emulated: Option<&StepFailure>| {
            let (natively, emulated) = (end(natively), end(emulated));
            differs(OtherEnd { natively, emulated })
        };
        match (natively, emulated) {
            (Ok(layer), Ok(records)) => {
                let trial = Trial { below: below.clone(), layer, since };
                self.checks.trials().insert(root.work().to_owned(), trial);
                Ok(records)
            }
            (Ok(_), Err(failure)) if is_of_step(&failure) => Err(other(None, Some(&failure))),
            (Err(failure), Ok(_)) if is_of_step(&failure) => {
                tail.show(TAIL, output);
                Err(other(Some(&failure), None))
            }
            (Err(natively), Err(emulated))
                if is_of_step(&natively)
                    && is_of_step(&emulated)
                    && natively.to_string() != emulated.to_string() =>
            {
                tail.show(TAIL, output);
                Err(other(Some(&natively), Some(&emulated)))
            }
            (_, Err(failure)) | (Err(failure), Ok(_)) => Err(failure),
        }
    }

    fn is_emulated(&self, platform: &Platform) -> bool {
        self.twinned.is_emulated(platform)
    }
}

impl Snapshots for Verified<'_> {
    fn add_image(&self, layers: &[ImageLayer]) {
        self.checks.engine.add_image(layers);
    }

    fn recall(
        &self,
        parent: &Chain,
        op: &FileOp,
        origin: Option<&CopyOrigin>,
    ) -> Result<Option<Digest>, StepFailure> {
        self.checks.engine.recall(parent, op, origin)
    }

    fn selects_without_pulling(
        &self,
        parent: &Chain,
        op: &FileOp,
        origin: Option<&CopyOrigin>,
    ) -> Result<bool, StepFailure> {
        self.checks.engine.selects_without_pulling(parent, op, origin)
    }

    fn select(
        &self,
        parent: &Chain,
        op: &FileOp,
        origin: Option<&CopyOrigin>,
    ) -> Result<Box<dyn Selection>, StepFailure> {
        self.checks.engine.select(parent, op, origin)
    }

    fn prepare(&self, parent: &Chain) -> Result<Box<dyn Workspace>, StepFailure> {
        let workspace = self.checks.engine.prepare(parent)?;
        Ok(Box::new(Compared { workspace, checks: Arc::clone(&self.checks) }))
    }

    fn mount_files(
        &self,
        chain: &Chain,
        writable: bool,
    ) -> Result<Box<dyn MountFiles>, StepFailure> {
        self.checks.engine.mount_files(chain, writable)
    }

    fn cache_folder(
        &self,
        request: &CacheRequest<'_>,
    ) -> Result<Box<dyn CacheFolder>, StepFailure> {
        self.checks.engine.cache_folder(request)
    }

    fn has_layer(&self, layer: &DiffId) -> bool {
        self.checks.engine.has_layer(layer)
    }
}

/// The workspace of a step, whose layer is compared once it is made.
struct Compared {
    workspace: Box<dyn Workspace>,
    checks: Arc<Checks>,
}

impl Workspace for Compared {
    fn root(&self) -> &RootFs {
        self.workspace.root()
    }

    fn commit(self: Box<Self>, records: Records, purpose: Purpose) -> Result<DiffId, StepFailure> {
        let place = self.workspace.root().work().to_owned();
        let layer = self.workspace.commit(records, purpose)?;
        self.checks.check(&place, &layer)?;
        Ok(layer)
    }
}
