//! From a Dockerfile and the user's choices to the graph.

use std::collections::{BTreeMap, HashSet};

use xbuild_dockerfile::{Dockerfile, Instruction};
use xbuild_model::Platform;

use crate::arguments::{self, SOURCE_DATE_EPOCH};
use crate::builder::Builder;
use crate::epoch;
use crate::error::{PlanError, PlanErrors};
use crate::graph::{Graph, Output};
use crate::options::{ImageRequest, Images, PlanOptions, Planned};
use crate::origins::Origins;
use crate::planner::{Certainty, Planner};
use crate::reach::{Findings, Names, Reached};
use crate::run::RunDefaults;
use crate::variables::Variables;
use crate::warning::Warning;

/// Plans a build for all platforms that the options ask for.
///
/// Stages that the target does not need are left out: their images are not asked for, their
/// variables not expanded. Steps that several platforms share are in the graph once.
///
/// **Shape**: `Needs` until `images` has all images that the plan depends on; each answer may lead
/// to more, because base images have triggers. The same arguments give the same graph.
///
/// **Errors**: all errors of the stages reached, as far as they can be found without the missing
/// images. Errors of FROM, COPY `--from` and mounts come before needs, others after them.
///
/// **Source**: Dockerfile reference; where it is silent, BuildKit (2026-08) as measured. Stage
/// names ignore case in FROM, too.
///
/// ```
/// use xbuild_plan::{Images, PlanOptions, Planned, plan};
///
/// let file = xbuild_dockerfile::parse("Dockerfile", b"FROM scratch\nCOPY a /b\n")?;
/// let options = PlanOptions::new("linux/arm64".parse()?);
/// let Planned::Ready(graph) = plan(&file, &options, &Images::default())? else {
///     unreachable!("there is no image to resolve")
/// };
/// assert_eq!(graph.vertices[1].label, "[1/1] COPY a /b");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn plan(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    images: &Images,
) -> Result<Planned, PlanErrors> {
    let names = Names::new(dockerfile, options, images);
    let mut findings = Findings::default();
    let reached = reach(&names, options, &mut findings);
    if !findings.errors.is_empty() {
        findings.errors.extend(guess(dockerfile, options, images, &findings.needs));
    }
    if let Some(errors) = PlanErrors::of(findings.errors) {
        return Err(errors);
    }
    if !findings.needs.is_empty() {
        return Ok(Planned::Needs(findings.needs));
    }
    let mut builder = Builder::default();
    let outputs = outputs(&names, options, &reached, Certainty::Sure, &mut builder);
    let outputs = outputs.map_err(|errors| {
        PlanErrors::of(errors).expect("a platform without an output has an error")
    })?;
    Ok(Planned::Ready(Graph {
        vertices: builder.finish(outputs.iter().map(|output| output.vertex)),
        outputs,
        warnings: warnings(dockerfile, options, &reached),
        source_date_epoch: source_date_epoch(options, &reached),
    }))
}

/// Looks for errors that do not depend on images that `images` lacks. For use when such images
/// cannot be resolved.
///
/// **Errors**: those of [`plan`], except for errors that may come from an unset variable, since the
/// base image may set it.
pub fn check(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    images: &Images,
) -> Result<(), PlanErrors> {
    let names = Names::new(dockerfile, options, images);
    let mut findings = Findings::default();
    reach(&names, options, &mut findings);
    let mut errors = findings.errors;
    errors.extend(guess(dockerfile, options, images, &findings.needs));
    PlanErrors::of(errors).map_or(Ok(()), Err)
}

/// Returns the errors of instructions in stages whose FROM is sound, as if the missing images were
/// empty.
fn guess(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    images: &Images,
    missing: &[ImageRequest],
) -> Vec<PlanError> {
    let images = images.with_empty(missing);
    let names = Names::new(dockerfile, options, &images);
    // These errors are already known.
    let mut goals = reach(&names, options, &mut Findings::default());
    goals.iter_mut().for_each(|goal| names.retain_sound(&mut goal.stages));
    let certainty = if missing.is_empty() { Certainty::Sure } else { Certainty::Guess };
    let outputs = outputs(&names, options, &goals, certainty, &mut Builder::default());
    outputs.err().unwrap_or_default()
}

/// A platform and the stages that it needs.
#[derive(Debug)]
pub(crate) struct Goal {
    pub(crate) platform: Platform,
    pub(crate) globals: Variables,
    pub(crate) stages: BTreeMap<usize, Reached>,
}

/// Returns the stages that each platform needs, platforms in the order asked for, each once.
pub(crate) fn reach(
    names: &Names<'_>,
    options: &PlanOptions,
    findings: &mut Findings,
) -> Vec<Goal> {
    if let Err(error) = epoch::source(names, options) {
        findings.errors.push(error);
    }
    let target = match names.target() {
        Ok(target) => target,
        Err(error) => {
            findings.errors.push(error);
            return Vec::new();
        }
    };
    let mut goals: Vec<Goal> = Vec::new();
    for platform in options.asked() {
        if goals.iter().any(|goal| goal.platform == *platform) {
            continue;
        }
        match arguments::globals(names.dockerfile, options, platform) {
            Ok(globals) => {
                let stages = names.reach(target, platform, &globals, findings);
                goals.push(Goal { platform: platform.clone(), globals, stages });
            }
            Err(error) => findings.errors.push(error),
        }
    }
    goals
}

/// Returns the output of each platform, or all errors of the stages' instructions.
fn outputs(
    names: &Names<'_>,
    options: &PlanOptions,
    goals: &[Goal],
    certainty: Certainty,
    builder: &mut Builder,
) -> Result<Vec<Output>, Vec<PlanError>> {
    let given = arguments::given(options);
    let defaults = RunDefaults::new(options, &given);
    let (mut outputs, mut errors) = (Vec::new(), Vec::new());
    for goal in goals {
        let planner = Planner {
            origins: Origins::new(names, &goal.platform, goals.len() > 1, builder),
            globals: &goal.globals,
            given: &given,
            defaults: &defaults,
            certainty,
            errors: Vec::new(),
        };
        match planner.stages(&goal.stages) {
            Ok(state) => {
                outputs.extend(state.map(|state| state.into_output(&goal.platform, options)))
            }
            Err(more) => errors.extend(more),
        }
    }
    if errors.is_empty() { Ok(outputs) } else { Err(errors) }
}

fn warnings(dockerfile: &Dockerfile, options: &PlanOptions, goals: &[Goal]) -> Vec<Warning> {
    let mut declared = HashSet::new();
    for stage in goals.iter().flat_map(|goal| goal.stages.values()) {
        for instruction in &stage.instructions {
            if let Instruction::Arg(arg) = &instruction.value {
                declared.extend(arg.declarations.iter().map(|d| d.name.clone()));
            }
        }
    }
    let names = arguments::unused(dockerfile, options, &declared);
    let warning = |name: &str| Warning::UnusedBuildArg { name: name.to_owned() };
    let mut warnings: Vec<Warning> = names.into_iter().map(warning).collect();
    if let Some(name) = arguments::unknown_epoch(dockerfile, options) {
        warnings.push(Warning::UnknownEpoch { name: name.to_owned() });
    }
    warnings
}

fn source_date_epoch(options: &PlanOptions, goals: &[Goal]) -> Option<String> {
    let given = arguments::given(options).get(SOURCE_DATE_EPOCH).map(|value| (*value).to_owned());
    let global = || goals.first()?.globals.get(SOURCE_DATE_EPOCH).map(str::to_owned);
    given.or_else(global)
}
