//! From a Dockerfile and the choices of whoever builds to the graph.

use std::collections::{BTreeMap, HashSet};

use xbuild_dockerfile::{Dockerfile, Instruction};
use xbuild_model::Platform;

use crate::arguments::{self, SOURCE_DATE_EPOCH};
use crate::builder::Builder;
use crate::error::{PlanError, PlanErrors};
use crate::graph::{Graph, Output};
use crate::options::{Images, PlanOptions, Planned};
use crate::planner::Planner;
use crate::reach::{Findings, Names, Reached};
use crate::run::RunDefaults;
use crate::variables::Variables;
use crate::warning::{Rule, Warning};

/// Plans a build for all platforms asked for.
///
/// Stages that the target does not need are left out: their images are not asked for, their
/// variables not expanded. What several platforms have in common is in the graph once.
///
/// **Shape**: `Needs` until `images` has all that the plan depends on; each answer may lead to
/// more, because base images have triggers. The same arguments give the same graph.
///
/// **Errors**: all that is wrong with FROM and COPY `--from` in any stage reached; else the first
/// error of each platform. Errors come before needs.
///
/// **Source**: Dockerfile reference; where it is silent, what BuildKit (2026-08) was measured to
/// do. Stage names ignore case in FROM, too.
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
    if let Some(errors) = PlanErrors::of(findings.errors) {
        return Err(errors);
    }
    if !findings.needs.is_empty() {
        return Ok(Planned::Needs(findings.needs));
    }
    let mut warnings = findings.warnings;
    let mut builder = Builder::default();
    let outputs = outputs(&names, options, &reached, &mut builder);
    let outputs = outputs.map_err(|errors| {
        PlanErrors::of(errors).expect("a platform without an output has an error")
    })?;
    warnings.extend(unused_arguments(dockerfile, options, &reached));
    Ok(Planned::Ready(Graph {
        vertices: builder.finish(),
        outputs,
        warnings: without_repeats(warnings),
        source_date_epoch: source_date_epoch(options, &reached),
    }))
}

/// A platform and what it needs.
struct Goal {
    platform: Platform,
    globals: Variables,
    stages: BTreeMap<usize, Reached>,
}

/// Returns the stages that each platform needs, platforms in the order asked for, each once.
fn reach(names: &Names<'_>, options: &PlanOptions, findings: &mut Findings) -> Vec<Goal> {
    let target = match names.target() {
        Ok(target) => target,
        Err(error) => {
            findings.errors.push(error);
            return Vec::new();
        }
    };
    let default = std::slice::from_ref(&options.build_platform);
    let asked = if options.platforms.is_empty() { default } else { &options.platforms };
    let mut goals: Vec<Goal> = Vec::new();
    for platform in asked {
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

/// Returns what each platform results in, or the first error of each.
fn outputs(
    names: &Names<'_>,
    options: &PlanOptions,
    goals: &[Goal],
    builder: &mut Builder,
) -> Result<Vec<Output>, Vec<PlanError>> {
    let given = arguments::given(options);
    let defaults = RunDefaults::new(options, &given);
    let (mut outputs, mut errors) = (Vec::new(), Vec::new());
    for goal in goals {
        let planner = Planner {
            names,
            target: &goal.platform,
            several: goals.len() > 1,
            globals: &goal.globals,
            given: &given,
            defaults: &defaults,
            builder,
        };
        match planner.stages(&goal.stages) {
            Ok(state) => {
                outputs.extend(state.map(|state| state.into_output(&goal.platform, options)))
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(outputs) } else { Err(errors) }
}

fn unused_arguments(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    goals: &[Goal],
) -> Vec<Warning> {
    let mut declared = HashSet::new();
    for stage in goals.iter().flat_map(|goal| goal.stages.values()) {
        for instruction in &stage.instructions {
            if let Instruction::Arg(arg) = &instruction.value {
                declared.extend(arg.declarations.iter().map(|d| d.name.clone()));
            }
        }
    }
    let names = arguments::unused(dockerfile, options, &declared);
    let warning = |name| Warning {
        rule: Rule::UnusedBuildArg,
        message: format!("build argument {name:?} is not declared by any ARG"),
        span: None,
    };
    names.into_iter().map(warning).collect()
}

fn source_date_epoch(options: &PlanOptions, goals: &[Goal]) -> Option<String> {
    let given = arguments::given(options).get(SOURCE_DATE_EPOCH).map(|value| (*value).to_owned());
    let global = || goals.first()?.globals.get(SOURCE_DATE_EPOCH).map(str::to_owned);
    given.or_else(global)
}

fn without_repeats(warnings: Vec<Warning>) -> Vec<Warning> {
    let mut seen = HashSet::new();
    warnings.into_iter().filter(|warning| seen.insert(warning.clone())).collect()
}
