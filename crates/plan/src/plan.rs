//! From a Dockerfile and the user's choices to the graph.

use std::collections::{BTreeMap, HashSet};

use xbuild_dockerfile::{Dockerfile, Instruction};
use xbuild_model::Platform;

use crate::arguments::{self, SOURCE_DATE_EPOCH};
use crate::builder::Builder;
use crate::epoch;
use crate::error::{PlanError, PlanErrorKind, PlanErrors};
use crate::graph::{Graph, Output};
use crate::idle_mounts;
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
    plan_all(&[(dockerfile, options)], images)
}

/// Plans one build of several Dockerfiles, each for the platforms of its own options, as [`plan`]
/// does for one. Steps that they share are in the graph once.
///
/// **Shape**: at least one Dockerfile; no platform in the options of two.
///
/// **Errors**: those of [`plan`]; `Epochs` if the files differ in `SOURCE_DATE_EPOCH`.
pub fn plan_all(
    files: &[(&Dockerfile, &PlanOptions)],
    images: &Images,
) -> Result<Planned, PlanErrors> {
    let mut findings = Findings::default();
    let files: Vec<File<'_>> = files
        .iter()
        .map(|(dockerfile, options)| {
            let names = Names::new(dockerfile, options, images);
            let goals = reach(&names, options, &mut findings);
            File { dockerfile, options, names, goals }
        })
        .collect();
    if !findings.errors.is_empty() {
        for file in &files {
            findings.errors.extend(guess(file.dockerfile, file.options, images, &findings.needs));
        }
    }
    let epoch = same_epoch(&files).map_err(|error| findings.errors.push(error)).ok().flatten();
    if let Some(errors) = PlanErrors::of(findings.errors) {
        return Err(errors);
    }
    if !findings.needs.is_empty() {
        return Ok(Planned::Needs(findings.needs));
    }
    let mut builder = Builder::new(files.first().map_or(&[], |file| &file.options.no_cache_stages));
    let several = files.iter().map(|file| file.goals.len()).sum::<usize>() > 1;
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for File { options, names, goals, .. } in &files {
        match outputs(names, options, (goals, several), Certainty::Sure, &mut builder) {
            Ok(outputs) => found.extend(outputs),
            Err(more) => errors.extend(more),
        }
    }
    if let Some(errors) = PlanErrors::of(errors) {
        return Err(errors);
    }
    Ok(Planned::Ready(Graph {
        vertices: builder.finish(found.iter().map(|output| output.vertex)),
        outputs: found,
        warnings: shared_warnings(&files),
        source_date_epoch: epoch,
    }))
}

/// A Dockerfile of a build, and what its platforms need.
struct File<'a> {
    dockerfile: &'a Dockerfile,
    options: &'a PlanOptions,
    names: Names<'a>,
    goals: Vec<Goal>,
}

/// Returns the `SOURCE_DATE_EPOCH` of the build.
fn same_epoch(files: &[File<'_>]) -> Result<Option<String>, PlanError> {
    let mut epochs = files.iter().filter_map(|file| source_date_epoch(file.options, &file.goals));
    let Some(first) = epochs.next() else { return Ok(None) };
    match epochs.find(|other| *other != first) {
        None => Ok(Some(first)),
        Some(second) => {
            Err(PlanError { kind: Box::new(PlanErrorKind::Epochs { first, second }), span: None })
        }
    }
}

/// Returns the warnings that hold for all files: a build argument has an effect if one of them uses
/// it.
fn shared_warnings(files: &[File<'_>]) -> Vec<Warning> {
    let mut lists = files.iter().map(|file| warnings(file.dockerfile, file.options, &file.goals));
    let mut shared = lists.next().unwrap_or_default();
    for list in lists {
        shared.retain(|warning| list.contains(warning));
    }
    shared
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
    let goals = (&goals[..], goals.len() > 1);
    let outputs = outputs(&names, options, goals, certainty, &mut Builder::default());
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

/// Returns the output of each platform, or all errors of the stages' instructions. `goals` says, too,
/// whether the build has several platforms.
fn outputs(
    names: &Names<'_>,
    options: &PlanOptions,
    (goals, several): (&[Goal], bool),
    certainty: Certainty,
    builder: &mut Builder,
) -> Result<Vec<Output>, Vec<PlanError>> {
    let given = arguments::given(options);
    let defaults = RunDefaults::new(options, &given);
    let (mut outputs, mut errors) = (Vec::new(), Vec::new());
    for goal in goals {
        let planner = Planner {
            origins: Origins::new(names, &goal.platform, several, builder),
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
    let is_known = |name: &str| {
        let mut names = dockerfile.stages.iter().filter_map(|stage| stage.from.name.as_ref());
        names.any(|stage| stage.eq_ignore_ascii_case(name))
    };
    let unknown = options.no_cache_stages.iter().filter(|name| !is_known(name));
    warnings.extend(unknown.map(|name| Warning::UnknownNoCacheStage { name: name.clone() }));
    if let Some(name) = arguments::unknown_epoch(dockerfile, options) {
        warnings.push(Warning::UnknownEpoch { name: name.to_owned() });
    }
    // Platforms share stages.
    let stages: BTreeMap<_, _> = goals.iter().flat_map(|goal| &goal.stages).collect();
    let instructions = stages.values().flat_map(|stage| &stage.instructions);
    warnings.extend(idle_mounts::warnings(instructions));
    warnings
}

fn source_date_epoch(options: &PlanOptions, goals: &[Goal]) -> Option<String> {
    let given = arguments::given(options).get(SOURCE_DATE_EPOCH).map(|value| (*value).to_owned());
    let global = || goals.first()?.globals.get(SOURCE_DATE_EPOCH).map(str::to_owned);
    given.or_else(global)
}
