//! Planning: from the text of a Dockerfile to the graph. The plan asks for base images, which are
//! resolved until it needs no more.

use std::num::NonZeroUsize;

use xbuild_dockerfile::{Checks, Dockerfile, ParseErrors, suggest};
use xbuild_model::{Digest, Platform, ResolvedImage};
use xbuild_plan::{EpochSource, Graph, ImageRequest, Images, NamedContext, PlanOptions, Planned};
use xbuild_solve::SolveOptions;

use crate::build::Build;
use crate::dockerfile_file::DockerfileFile;
use crate::error::{BaseError, ContextError, ImageError, PlanningError, RequestError};
use crate::events::{Event, Events, Warning};
use crate::images::Bases;
use crate::main_context::{MainContext, MainFile};
use crate::request::{BuildRequest, DockerfilePlace, InputRequest, NamedPlace};
use crate::{cache, linting, main_context, project};

/// The steps of a build, and the options to solve them with.
#[derive(Debug)]
pub struct Plan {
    pub(crate) graph: Graph,
    pub(crate) options: SolveOptions,
}

impl Plan {
    /// Returns the steps of the build.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }
}

/// Plans a build: parses the Dockerfile, resolves its base images and applies the rules of the
/// linter, whose findings are an [`Event::Lint`].
pub fn plan(build: &Build, main: &MainContext) -> Result<Plan, PlanningError> {
    let _span = build.span.enter();
    if !build.imports.are_none() && !build.request.steps.no_cache {
        let builds = cache::of_build(&build.request.input, main);
        build.imports.read_trails(&builds.into_iter().map(|build| build.id).collect::<Vec<_>>());
    }
    let mut files = Vec::new();
    for file in &main.files {
        files.push(Parsed::new(build, main, file)?);
    }
    let parts: Vec<_> = files.iter().map(|file| (&file.dockerfile, &file.options)).collect();
    let mut images = Images::default();
    let bases = Bases {
        client: &build.client,
        store: Some(&build.store),
        pull: build.request.input.pull,
        gate: Some(&build.gate),
        events: &*build.events,
    };
    let graph = resolve(&parts, &bases, &mut images);
    let mut broken = Vec::new();
    for Parsed { main, dockerfile, options, checks } in &files {
        let ignore = main.file.ignore.as_ref();
        let findings = linting::all(dockerfile, options, &images, checks, ignore)?;
        build.events.event(Event::Lint {
            findings: &findings,
            source: &main.source,
            path: main.path(),
        });
        broken.push((checks, findings));
    }
    let mut graph = graph?;
    let asked = &build.request.input.platforms;
    graph.outputs.sort_by_key(|output| asked.iter().position(|one| *one == output.platform));
    for (checks, findings) in &broken {
        linting::fail(checks, findings)?;
    }
    let epoch = epoch(&graph)?;
    for warning in &graph.warnings {
        build.events.event(Event::Warning(&Warning::Plan(warning.clone())));
    }
    let jobs = build.request.steps.jobs.or(build.machine.processors);
    let options = SolveOptions {
        project: known_as(build, project(&build.request.input, main)),
        jobs: jobs.unwrap_or(NonZeroUsize::MIN),
        no_cache: build.request.steps.no_cache,
        epoch,
    };
    Ok(Plan { graph, options })
}

/// A Dockerfile of a build, parsed.
struct Parsed<'a> {
    main: &'a MainFile,
    dockerfile: Dockerfile,
    options: PlanOptions,
    checks: Checks,
}

impl<'a> Parsed<'a> {
    fn new(build: &Build, main: &MainContext, file: &'a MainFile) -> Result<Self, PlanningError> {
        let mut options = build_options(&build.request, main, file);
        let dockerfile = parse(&file.file).inspect_err(|errors| {
            let findings = linting::above(errors, &options);
            build.events.event(Event::Lint {
                findings: &findings,
                source: &file.source,
                path: file.path(),
            });
        })?;
        if let Some((name, source)) = xbuild_plan::epoch_source(&dockerfile, &options)? {
            let time = time_of(build, &source)?;
            options.epochs.insert(name, time.map(|time| time.to_string()));
        }
        let checks = linting::checks(&dockerfile, &options)?;
        Ok(Self { main: file, dockerfile, options, checks })
    }
}

/// Returns the identity of a build that may be one of several of its Dockerfile.
fn known_as(build: &Build, project: Digest) -> Digest {
    match &build.name {
        Some(name) => Digest::of(format!("{project} {name}").as_bytes()),
        None => project,
    }
}

/// Returns the identity of the build.
fn project(input: &InputRequest, main: &MainContext) -> Digest {
    let is_named =
        input.dockerfile != DockerfilePlace::InContext || !input.own_dockerfiles.is_empty();
    let of = |file: &MainFile| project::digest(&input.context, is_named, file.name());
    match &main.files[..] {
        [file] => of(file),
        files => {
            let all: Vec<String> = files.iter().map(|file| of(file).to_string()).collect();
            Digest::of(all.join(" ").as_bytes())
        }
    }
}

/// Returns the time of a place that `SOURCE_DATE_EPOCH` names, in seconds since 1970, if it has one.
fn time_of(build: &Build, source: &EpochSource) -> Result<Option<u64>, ContextError> {
    let remote = match source {
        EpochSource::Remote(remote) => remote,
        EpochSource::Context(name) => match build.request.input.contexts.get(name) {
            Some(NamedPlace::Remote(remote)) => remote,
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    main_context::time_of(remote, &build.fetcher)
}

/// Returns the planner's options for a Dockerfile as far as the input gives them.
pub(crate) fn input_options(
    input: &InputRequest,
    main: &MainContext,
    file: &MainFile,
) -> PlanOptions {
    let context = |place: &NamedPlace| match place {
        NamedPlace::Image(name) => NamedContext::Image(name.clone()),
        NamedPlace::Folder(_) | NamedPlace::Remote(_) => NamedContext::Folder,
    };
    let contexts = input.contexts.iter().map(|(name, place)| (name.clone(), context(place)));
    PlanOptions {
        platforms: if input.platform_is_implied { Vec::new() } else { file.platforms.clone() },
        main_context: file.context.clone(),
        build_args: input.build_args.clone(),
        epochs: [("context".to_owned(), main.modified.map(|time| time.to_string()))].into(),
        target: input.target.clone(),
        contexts: contexts.collect(),
        ..PlanOptions::new(Platform::host())
    }
}

fn build_options(request: &BuildRequest, main: &MainContext, file: &MainFile) -> PlanOptions {
    let steps = &request.steps;
    PlanOptions {
        labels: request.labels.clone(),
        no_cache_stages: steps.no_cache_stages.clone(),
        network: steps.network,
        allow_insecure: steps.allow_insecure,
        extra_hosts: steps.extra_hosts.clone(),
        ulimits: steps.ulimits.clone(),
        shm_size: steps.shm_size.unwrap_or(xbuild_plan::DEFAULT_SHM_SIZE),
        ..input_options(&request.input, main, file)
    }
}

/// Parses a Dockerfile.
pub(crate) fn parse(file: &DockerfileFile) -> Result<Dockerfile, ParseErrors> {
    xbuild_dockerfile::parse(&file.name, &file.text)
}

/// Plans, and resolves base images until the plan needs no more. Resolved images are in `images`
/// even if planning fails in the end.
pub(crate) fn resolve(
    files: &[(&Dockerfile, &PlanOptions)],
    bases: &Bases<'_>,
    images: &mut Images,
) -> Result<Graph, PlanningError> {
    loop {
        match xbuild_plan::plan_all(files, images)? {
            Planned::Ready(graph) => return Ok(graph),
            Planned::Needs(requests) => {
                for request in requests {
                    let image =
                        bases.resolve(&request.name, &request.platform).map_err(|error| {
                            missing(error, &request, files.iter().map(|file| file.0))
                        })?;
                    tell_platform(&image, bases.events);
                    images.insert(&request, image);
                }
            }
        }
    }
}

/// Warns of an image whose configuration is for another processor than its index says: tools that
/// build for several are often careless.
fn tell_platform(image: &ResolvedImage, events: &dyn Events) {
    let config = &image.config;
    let is_named = !config.os.is_empty() && !config.architecture.is_empty();
    let (index, config) = (image.platform.clone(), config.platform());
    if is_named && (index.os(), index.architecture()) != (config.os(), config.architecture()) {
        let name = image.name.clone();
        events.event(Event::Warning(&Warning::OtherPlatform { name, index, config }));
    }
}

/// Adds to an error of an image its place and the stage whose name it resembles.
fn missing<'a>(
    error: ImageError,
    request: &ImageRequest,
    files: impl Iterator<Item = &'a Dockerfile>,
) -> BaseError {
    let own = files.filter(|file| file.file == request.span.file);
    let stages = own.flat_map(|file| &file.stages);
    let stages = stages.filter_map(|stage| stage.from.name.as_deref());
    let stage = suggest(&request.name, stages).map(str::to_owned);
    BaseError { error: Box::new(error), span: request.span.clone(), stage }
}

/// Returns `SOURCE_DATE_EPOCH` in seconds.
pub(crate) fn epoch(graph: &Graph) -> Result<Option<u64>, RequestError> {
    /// The last second of the year 9999, the last that RFC 3339 can write.
    const LAST: u64 = 253_402_300_799;
    let Some(text) = graph.source_date_epoch.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(seconds) if seconds <= LAST => Ok(Some(seconds)),
        _ => Err(RequestError::Epoch { text: text.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Fault;

    #[test]
    fn a_misspelled_stage_is_named() {
        let source = "FROM scratch AS tools\nFROM scratch\nCOPY --from=tolos a b\n";
        let dockerfile = xbuild_dockerfile::parse("Dockerfile", source.as_bytes()).unwrap();
        for (name, hint) in [("tolos", true), ("alpine", false)] {
            let span = dockerfile.stages[1].instructions[0].span.clone();
            let request = ImageRequest { name: name.into(), platform: Platform::host(), span };
            let error = "UPPER".parse::<xbuild_model::Reference>().unwrap_err();
            let error = missing(error.into(), &request, std::iter::once(&dockerfile));
            assert_eq!(error.span().unwrap().to_string(), "Dockerfile:3");
            assert_eq!(error.hint().is_some(), hint, "{name}");
        }
    }
}
