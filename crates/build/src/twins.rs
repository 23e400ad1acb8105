//! Twins: programs of emulated steps that run natively, from the base image's sibling.
//!
//! The sibling is the image for this machine in the index that the base image was chosen from. It is
//! looked for when the first emulated step of a base is about to run; its layers are pulled for that,
//! and the files of the twins are kept in the store.

mod compare;
mod contents;
mod cross;
mod files;
mod sibling;
mod tail;
mod verify;

use std::sync::{Arc, Mutex, PoisonError};

use tracing::info;
use xbuild_exec::arch::Arch;
use xbuild_exec::emulator::Emulator;
use xbuild_exec::twins::{Candidates, SetFile, StepTwins, TwinSet, Usage};
use xbuild_exec::{Natively, Sandbox};
use xbuild_layer::Tree;
use xbuild_model::records::Records;
use xbuild_model::rootfs::RootFs;
use xbuild_model::run::{ReadyMount, RunRequest};
use xbuild_model::seam::{Output, Runner, Snapshots as _};
use xbuild_model::{Chain, Digest, FailureKind, Platform, ResolvedImage, StepFailure};
use xbuild_plan::{Graph, Op};
use xbuild_snapshot::Engine;

use crate::build::Build;
use crate::events::{Event, Warning};
use crate::ground::Ground;
use crate::tools::Tools;

use cross::Compilers;
use sibling::{ByBase, chain};
pub(crate) use verify::Verified;

/// A runner that gives emulated steps the twins of their base images.
pub(crate) struct Twinned<'a> {
    build: &'a Build,
    engine: &'a Engine,
    sandbox: &'a Sandbox,
    emulators: &'a [Emulator],
    /// The base images of the plan.
    bases: Vec<Arc<ResolvedImage>>,
    /// The programs that were counted so far, and the number of steps.
    usage: Mutex<(Usage, usize)>,
    /// The twins by the manifests of base images, each looked for once.
    found: ByBase<Option<StepTwins>>,
    compilers: Compilers<'a>,
}

impl<'a> Twinned<'a> {
    /// Returns a runner for the steps of a plan.
    pub(crate) fn new(
        build: &'a Build,
        graph: &Graph,
        ground: &'a Ground,
        tools: &'a Tools,
    ) -> Self {
        let bases = graph.vertices.iter().filter_map(|vertex| match &vertex.op {
            Op::Image(image) => Some(Arc::clone(image)),
            _ => None,
        });
        Self {
            build,
            engine: &tools.engine,
            sandbox: &tools.sandbox,
            emulators: &ground.emulators.registered,
            bases: bases.collect(),
            usage: Mutex::default(),
            found: ByBase::default(),
            compilers: Compilers::new(build, tools),
        }
    }

    /// Returns what a step on these layers gets beside its emulator. `output` is told if that takes time.
    fn natively(
        &self,
        request: &RunRequest,
        below: &Chain,
        output: &dyn Output,
    ) -> Result<Natively, StepFailure> {
        let platform = &request.platform;
        let counted = self.takes_twins(platform) && self.emulator(platform).is_some();
        Ok(Natively { counted, ..self.uncounted(request, below, output)? })
    }

    /// Returns what a command on these layers gets if nobody wants to know how its programs ran.
    pub(crate) fn uncounted(
        &self,
        request: &RunRequest,
        below: &Chain,
        output: &dyn Output,
    ) -> Result<Natively, StepFailure> {
        let mut natively = Natively::default();
        let platform = &request.platform;
        let base = self.base(platform, below);
        let emulator = self.takes_twins(platform).then(|| self.emulator(platform)).flatten();
        if let Some((base, _)) = base.zip(emulator) {
            natively.twins.extend(self.twins(base, below));
        }
        let has_compilers = self.build.request.steps.emulation.has_compilers();
        if has_compilers && self.sandbox.is_emulated(platform) {
            let found = self.compilers.of_step(base.zip(emulator), request, output)?;
            natively.twins.extend(found);
        }
        Ok(natively)
    }

    /// Returns whether programs of a platform may have twins in this build.
    fn takes_twins(&self, platform: &Platform) -> bool {
        let is_wanted = self.build.request.steps.emulation.has_twins();
        is_wanted && self.sandbox.is_emulated(platform) && self.sandbox.takes_twins(platform)
    }

    /// Returns the build's own emulator of a platform, if it can count its programs and run their twins.
    fn emulator(&self, platform: &Platform) -> Option<&Emulator> {
        let own = self.emulators.iter().find(|own| Some(own.arch) == Arch::of(platform));
        own.filter(|own| own.counts())
    }

    /// Runs a command, and tells how its programs ran.
    fn run_step(
        &self,
        root: &RootFs,
        request: &RunRequest,
        mounts: &[ReadyMount],
        natively: Natively,
        output: &dyn Output,
    ) -> Result<Records, StepFailure> {
        let (records, usage) = self.sandbox.run_counted(root, request, mounts, natively, output)?;
        if let Some(usage) = usage {
            output.note(&format!("emulation: {usage}"));
            output.programs(usage.natively, usage.emulated);
            if let Some(compiler) = usage.compiler() {
                let compiler = compiler.to_owned();
                self.build.events.event(Event::Warning(&Warning::EmulatedCompiler { compiler }));
            }
            let mut sum = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
            sum.0.add(&usage);
            sum.1 += 1;
        }
        Ok(records)
    }

    /// Returns the programs that were counted, and in how many steps.
    pub(crate) fn usage(&self) -> (Usage, usize) {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the base image of a step on these layers.
    fn base(&self, platform: &Platform, below: &Chain) -> Option<&ResolvedImage> {
        let is_base = |image: &&Arc<ResolvedImage>| {
            let layers = image.layers.iter().map(|layer| &layer.diff_id);
            Arch::of(&image.platform) == Arch::of(platform)
                && below.0.iter().take(image.layers.len()).eq(layers)
        };
        let bases = self.bases.iter().filter(is_base);
        bases.max_by_key(|image| image.layers.len()).map(|base| &**base)
    }

    /// Returns the twins of a step on these layers: those of its base image whose programs are still
    /// the base image's own.
    fn twins(&self, base: &ResolvedImage, below: &Chain) -> Option<StepTwins> {
        let all = self.of_base(base)?;
        let own = u32::try_from(base.layers.len()).ok()?;
        let tree = self.engine.tree(below).ok()?;
        let is_own = |path: &str| is_own(&tree, path, own);
        let twins = all.set.twins.into_iter().filter(|twin| is_own(&twin.path)).collect();
        Some(StepTwins { set: TwinSet { twins, ..all.set }, ..all })
    }

    /// Returns the twins of a base image. Without them its steps are emulated as a whole.
    fn of_base(&self, base: &ResolvedImage) -> Option<StepTwins> {
        self.found.get(base, || {
            let found = self.find(base).unwrap_or_else(|failure| {
                let warning = Warning::NoTwins { image: base.name.clone(), failure };
                self.build.events.event(Event::Warning(&warning));
                None
            });
            let count = found.as_ref().map_or(0, |found| found.set.count());
            let (image, platform) = (&base.name, &base.platform);
            info!(image, %platform, count, "twins");
            if count > 0 {
                self.build.events.event(Event::Twins { image, platform, count });
            }
            // A step needs to know the programs only by their paths.
            found.map(|mut found| {
                found.set.twins.iter_mut().for_each(|twin| twin.magic.clear());
                found
            })
        })
    }

    /// Finds or makes the twins of a base image, and registers them.
    fn find(&self, base: &ResolvedImage) -> Result<Option<StepTwins>, StepFailure> {
        let Some(emulator) = self.emulator(&base.platform) else { return Ok(None) };
        let Some(sibling) = sibling::sibling(self.build, base)? else { return Ok(None) };
        let parts = [&base.manifest.digest, &sibling.manifest.digest, &emulator.digest];
        let version = xbuild_exec::twins::version();
        let key =
            Digest::of(format!("{version} {} {} {}", parts[0], parts[1], parts[2]).as_bytes());
        let found = files::kept(&self.build.store, &key, |_| {
            self.engine.add_image(&sibling.layers);
            self.make(base, &sibling, emulator)
        })?;
        if let Some(StepTwins { folder, set }) = &found {
            self.sandbox.register_twins(folder, set)?;
        }
        Ok(found)
    }

    /// Makes the files of the twins from the layers of both images.
    fn make(
        &self,
        base: &ResolvedImage,
        sibling: &ResolvedImage,
        emulator: &Emulator,
    ) -> Result<Option<(TwinSet, Vec<SetFile>)>, StepFailure> {
        let (base, sibling) = (chain(base), chain(sibling));
        let trees = (self.engine.tree(&base)?, self.engine.tree(&sibling)?);
        let (ours, theirs) = (contents::Files(&trees.0), contents::Files(&trees.1));
        let Some(candidates) = Candidates::find(emulator.arch, &ours, &theirs) else {
            return Ok(None);
        };
        let ours = contents::read(self.engine, &base, &trees.0, &candidates.image_paths())?;
        let theirs = contents::read(self.engine, &sibling, &trees.1, &candidates.sibling_paths())?;
        let program = emulator.bytes();
        let program = program.map_err(|e| StepFailure::new(FailureKind::Environment, e))?;
        Ok(candidates.make(&ours, &theirs, program))
    }
}

impl Runner for Twinned<'_> {
    fn run(
        &self,
        root: &RootFs,
        request: &RunRequest,
        mounts: &[ReadyMount],
        below: &Chain,
        output: &dyn Output,
    ) -> Result<Records, StepFailure> {
        let natively = self.natively(request, below, output)?;
        self.run_step(root, request, mounts, natively, output)
    }

    fn is_emulated(&self, platform: &Platform) -> bool {
        self.sandbox.is_emulated(platform)
    }
}

/// Returns whether the file at a path is one of the lowest `layers` layers, and no link leads to it.
fn is_own(tree: &Tree, path: &str, layers: u32) -> bool {
    let Ok(found) = tree.resolve(path.as_bytes(), false) else { return false };
    found.path == path.as_bytes() && found.node.is_some_and(|node| node.layer < layers)
}
