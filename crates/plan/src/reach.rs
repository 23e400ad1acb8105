//! The stages that the target needs, and the base of each.
//!
//! Variables that a stage sets cannot change what it depends on: `COPY --from` does not expand, and
//! FROM sees global variables only. So the stages are walked once, from the target upwards.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use xbuild_dockerfile::{
    Copy, Dockerfile, Instruction, Mount, Source, Span, Spanned, Stage, parse_onbuild, suggest,
};
use xbuild_model::{Platform, Reference, ResolvedImage};

use crate::error::{PlanError, PlanErrorKind};
use crate::options::{ImageRequest, Images, NamedContext, PlanOptions};
use crate::refused_mounts;
use crate::variables::{Expander, Variables, similar};

/// The meaning of a name in FROM or COPY `--from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image, by the name to ask for.
    Image(String),
    /// A named context that is a folder, by its name as given.
    Folder(String),
}

/// A stage that the target needs.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    /// The place that it begins from.
    pub(crate) base: Place,
    /// The name of the base in FROM, expanded.
    pub(crate) base_name: String,
    /// The platform of FROM `--platform`, else the one asked for.
    pub(crate) platform: Platform,
    /// The triggers of the base and the instructions of the stage.
    pub(crate) instructions: Vec<Spanned<Instruction>>,
    /// Whether a named context stands in for the whole stage: then it has no instructions, and
    /// triggers wait for the next one.
    pub(crate) replaced: bool,
}

/// Returns how many of the stages stand on each other one.
pub(crate) fn users(stages: &BTreeMap<usize, Reached>) -> HashMap<usize, usize> {
    let mut users = HashMap::new();
    for stage in stages.values() {
        if let Place::Stage(below) = &stage.base {
            *users.entry(*below).or_default() += 1;
        }
    }
    users
}

/// The findings of a walk over the stages.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Images that have to be resolved first.
    pub(crate) needs: Vec<ImageRequest>,
    /// Names and platforms of the needs.
    asked: HashSet<(String, Platform)>,
    /// The errors.
    pub(crate) errors: Vec<PlanError>,
}

/// Resolves the names of one Dockerfile.
#[derive(Debug)]
pub(crate) struct Names<'a> {
    pub(crate) dockerfile: &'a Dockerfile,
    pub(crate) options: &'a PlanOptions,
    images: &'a Images,
    /// The named contexts by normalised name.
    contexts: HashMap<String, (&'a str, &'a NamedContext)>,
    /// The stages by name, in order.
    stages: HashMap<String, Vec<usize>>,
}

impl<'a> Names<'a> {
    pub(crate) fn new(
        dockerfile: &'a Dockerfile,
        options: &'a PlanOptions,
        images: &'a Images,
    ) -> Self {
        let contexts = options.contexts.iter();
        let mut stages: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, stage) in dockerfile.stages.iter().enumerate() {
            if let Some(name) = &stage.from.name {
                stages.entry(name.to_lowercase()).or_default().push(index);
            }
        }
        Names {
            dockerfile,
            options,
            images,
            contexts: contexts
                .map(|(name, context)| (normalise(name), (name.as_str(), context)))
                .collect(),
            stages,
        }
    }

    /// Returns the stage to end with.
    pub(crate) fn target(&self) -> Result<usize, PlanError> {
        let last = self.dockerfile.stages.len().saturating_sub(1);
        let Some(name) = &self.options.target else { return Ok(last) };
        let found = self.stages.get(&name.to_lowercase()).and_then(|indices| indices.last());
        found.copied().ok_or_else(|| {
            let stages = self.dockerfile.stages.iter().filter_map(|s| s.from.name.clone());
            let stages: Vec<String> = stages.collect();
            let suggestion = suggest(name, stages.iter().map(String::as_str)).map(str::to_owned);
            let kind = PlanErrorKind::UnknownTarget { name: name.clone(), stages, suggestion };
            PlanError { kind: Box::new(kind), span: None }
        })
    }

    /// Returns the resolved image of this name.
    pub(crate) fn image(&self, name: &str, platform: &Platform) -> Option<&'a Arc<ResolvedImage>> {
        self.images.get(name, platform)
    }

    /// Returns the stages that the stage `target` needs for one platform, itself included, by
    /// index. Stages with errors are left out.
    pub(crate) fn reach(
        &self,
        target: usize,
        platform: &Platform,
        globals: &Variables,
        findings: &mut Findings,
    ) -> BTreeMap<usize, Reached> {
        let mut wanted = vec![false; self.dockerfile.stages.len()];
        let mut reached = BTreeMap::new();
        let mut needs: Vec<Vec<ImageRequest>> = Vec::new();
        let mut errors: Vec<Vec<PlanError>> = Vec::new();
        let begin = if self.options.every_stage { 0 } else { target };
        wanted.iter_mut().take(target + 1).skip(begin).for_each(|flag| *flag = true);
        for index in (0..wanted.len()).rev().filter(|&index| index <= target) {
            if !wanted[index] {
                continue;
            }
            let (needs_of, errors_of) = (Vec::new(), Vec::new());
            let mut visit = Visit { index, platform, globals, needs: needs_of, errors: errors_of };
            match self.visit(&mut visit, &mut wanted) {
                Ok(stage) if visit.errors.is_empty() => {
                    reached.insert(index, stage);
                }
                Ok(_) => {}
                Err(error) => visit.errors.push(error),
            }
            errors.push(visit.errors);
            needs.push(visit.needs);
        }
        // Found from the end to the beginning, and reported from the beginning to the end.
        findings.errors.extend(errors.into_iter().rev().flatten());
        for request in needs.into_iter().rev().flatten() {
            if findings.asked.insert((request.name.clone(), request.platform.clone())) {
                findings.needs.push(request);
            }
        }
        reached
    }

    fn visit(&self, visit: &mut Visit<'_>, wanted: &mut [bool]) -> Result<Reached, PlanError> {
        let stage = &self.dockerfile.stages[visit.index];
        let span = &stage.from.span;
        let platform = self.stage_platform(stage, visit.platform, visit.globals)?;
        let stand_in = self.stand_in(stage);
        let replaced = stand_in.is_some();
        let (base, base_name) = match stand_in {
            Some(place) => (place, stage.from.name.clone().unwrap_or_default()),
            None => self.base(stage, visit)?,
        };
        match &base {
            Place::Scratch | Place::Folder(_) => {}
            Place::Stage(below) => wanted[*below] = true,
            Place::Image(name) if self.image(name, &platform).is_none() => {
                visit.need(name, &platform, span);
            }
            Place::Image(_) => {}
        }
        if replaced {
            return Ok(Reached { base, base_name, platform, instructions: Vec::new(), replaced });
        }
        let mut instructions = self.triggers(&base, &base_name, &platform, span, visit)?;
        instructions.extend(stage.instructions.iter().cloned());
        for instruction in &instructions {
            let span = &instruction.span;
            let places = self.sources(instruction, visit.index);
            for place in places {
                match place {
                    Err(error) => visit.errors.push(error),
                    Ok(Place::Stage(other)) => wanted[other] = true,
                    Ok(Place::Image(name)) if self.image(&name, visit.platform).is_none() => {
                        visit.need(&name, visit.platform, span);
                    }
                    _ => {}
                }
            }
        }
        Ok(Reached { base, base_name, platform, instructions, replaced })
    }

    /// Returns the places that an instruction of the stage `own` takes files from, without the main
    /// context.
    pub(crate) fn sources(
        &self,
        instruction: &Spanned<Instruction>,
        own: usize,
    ) -> Vec<Result<Place, PlanError>> {
        let span = &instruction.span;
        match &instruction.value {
            Instruction::Copy(copy) => {
                copy_from(copy).map(|from| self.source(from, own, span)).into_iter().collect()
            }
            Instruction::Run(run) => {
                let sources = run.mounts.iter().filter_map(|mount| {
                    if let Some(error) = refused_mounts::early(mount) {
                        return Some(Err(PlanError::new(error, span)));
                    }
                    mount_from(mount).map(|from| self.mount_source(from, own, span))
                });
                sources.collect()
            }
            _ => Vec::new(),
        }
    }

    /// Removes the stages that stand on, or take files from, a stage that is missing.
    pub(crate) fn retain_sound(&self, stages: &mut BTreeMap<usize, Reached>) {
        let mut sound: HashSet<usize> = HashSet::new();
        stages.retain(|&index, stage| {
            let is_there = |place: &Place| match place {
                Place::Stage(other) => sound.contains(other),
                _ => true,
            };
            let sources = stage.instructions.iter().flat_map(|it| self.sources(it, index));
            let keep = is_there(&stage.base) && sources.flatten().all(|place| is_there(&place));
            if keep {
                sound.insert(index);
            }
            keep
        });
    }

    /// Returns the named context that stands in for a stage, its FROM and all.
    fn stand_in(&self, stage: &Stage) -> Option<Place> {
        self.context(stage.from.name.as_deref()?)
    }

    /// Returns the name, as given, of the named context that `name` stands for.
    pub(crate) fn context_name(&self, name: &str) -> Option<&'a str> {
        self.contexts.get(&normalise(name)).map(|(given, _)| *given)
    }

    fn context(&self, name: &str) -> Option<Place> {
        let (given, context) = self.contexts.get(&normalise(name))?;
        Some(match context {
            NamedContext::Folder => Place::Folder((*given).to_owned()),
            NamedContext::Image(text) => Place::Image(text.clone()),
        })
    }

    /// Returns the last stage of that name above the stage `index`.
    fn stage_above(&self, name: &str, index: usize) -> Option<usize> {
        let indices = self.stages.get(&name.to_lowercase())?;
        indices[..indices.partition_point(|&other| other < index)].last().copied()
    }

    /// Returns the place that FROM names, and the expanded name.
    fn base(&self, stage: &Stage, visit: &Visit<'_>) -> Result<(Place, String), PlanError> {
        let span = &stage.from.span;
        let written = &stage.from.image;
        let expander = self.expander(visit.globals, span);
        let expansion = expander.expansion(written)?;
        let name = expansion.text;
        if name.is_empty() {
            let suggestion = meant(&expansion.unset, visit.globals);
            let kind = PlanErrorKind::BlankBase { written: written.clone(), suggestion };
            return Err(PlanError::new(kind, span));
        }
        let place = if name == "scratch" {
            Place::Scratch
        } else if let Some(index) = self.stage_above(&name, visit.index) {
            Place::Stage(index)
        } else if let Some(place) = self.context(&name) {
            place
        } else {
            image(&name, span)?
        };
        Ok((place, name))
    }

    /// Returns the place that COPY `--from` in the stage `own` names.
    ///
    /// **Errors**: `StageIndex`, `LaterStage`, `OwnStage`, `Reference`.
    pub(crate) fn source(&self, from: &str, own: usize, span: &Span) -> Result<Place, PlanError> {
        let error = |kind| Err(PlanError::new(kind, span));
        if from.bytes().all(|b| b.is_ascii_digit()) {
            return match from.parse() {
                Ok(index) if index < own => Ok(Place::Stage(index)),
                _ => error(PlanErrorKind::StageIndex { index: from.to_owned(), own }),
            };
        }
        self.mount_source(from, own, span)
    }

    /// Returns the place that `from=` of a mount in the stage `own` names, as [`Names::source`]
    /// does, but a number is a name like any other.
    ///
    /// **Errors**: `LaterStage`, `OwnStage`, `Reference`.
    pub(crate) fn mount_source(
        &self,
        from: &str,
        own: usize,
        span: &Span,
    ) -> Result<Place, PlanError> {
        let error = |kind| Err(PlanError::new(kind, span));
        if from == "scratch" {
            return Ok(Place::Scratch);
        }
        if let Some(index) = self.stage_above(from, own) {
            return Ok(Place::Stage(index));
        }
        if let Some(place) = self.context(from) {
            return Ok(place);
        }
        match self.stages.get(&from.to_lowercase()).and_then(|indices| indices.first()) {
            Some(&index) if index == own => {
                error(PlanErrorKind::OwnStage { name: from.to_owned() })
            }
            Some(_) => error(PlanErrorKind::LaterStage { name: from.to_owned() }),
            None => image(from, span),
        }
    }

    /// Returns the platform of FROM `--platform`, else the one asked for.
    fn stage_platform(
        &self,
        stage: &Stage,
        target: &Platform,
        globals: &Variables,
    ) -> Result<Platform, PlanError> {
        let Some(written) = &stage.from.platform else { return Ok(target.clone()) };
        let span = &stage.from.span;
        let expansion = self.expander(globals, span).expansion(written)?;
        let text = expansion.text;
        if text.is_empty() {
            let suggestion = meant(&expansion.unset, globals);
            let kind = PlanErrorKind::BlankPlatform { written: written.clone(), suggestion };
            return Err(PlanError::new(kind, span));
        }
        text.parse::<Platform>().map_err(|source| PlanError::new(source, span))
    }

    /// Returns the triggers of a base; none if it is not known yet.
    fn triggers(
        &self,
        base: &Place,
        base_name: &str,
        platform: &Platform,
        span: &Span,
        visit: &Visit<'_>,
    ) -> Result<Vec<Spanned<Instruction>>, PlanError> {
        let of_image = |name: &str, platform: &Platform| {
            let image = self.image(name, platform);
            let texts = image.map_or(&[][..], |image| &image.config.config.on_build);
            texts.iter().map(|text| trigger(text, base_name, span)).collect()
        };
        match base {
            Place::Scratch | Place::Folder(_) => Ok(Vec::new()),
            Place::Image(name) => of_image(name, platform),
            Place::Stage(below) => {
                let stage = &self.dockerfile.stages[*below];
                match self.stand_in(stage) {
                    Some(Place::Image(name)) => {
                        let platform = self.stage_platform(stage, visit.platform, visit.globals)?;
                        of_image(&name, &platform)
                    }
                    Some(_) => Ok(Vec::new()),
                    None => stage_triggers(stage, base_name),
                }
            }
        }
    }

    fn expander<'b>(&self, variables: &'b Variables, span: &'b Span) -> Expander<'b> {
        Expander { variables, escape: self.dockerfile.escape, span }
    }
}

/// The stage that is being visited.
#[derive(Debug)]
struct Visit<'a> {
    index: usize,
    platform: &'a Platform,
    globals: &'a Variables,
    needs: Vec<ImageRequest>,
    /// The errors of its COPY `--from` and mounts.
    errors: Vec<PlanError>,
}

impl Visit<'_> {
    fn need(&mut self, name: &str, platform: &Platform, span: &Span) {
        let (name, platform, span) = (name.to_owned(), platform.clone(), span.clone());
        self.needs.push(ImageRequest { name, platform, span });
    }
}

/// Returns the variable that the user probably meant by an unset one.
fn meant(unset: &[String], globals: &Variables) -> Option<String> {
    let known = || globals.iter().map(|(name, _)| name.as_str());
    unset.iter().find_map(|name| similar(name, known())).map(str::to_owned)
}

/// Returns the value of `--from`, if the copy takes any file from there.
pub(crate) fn copy_from(copy: &Copy) -> Option<&str> {
    let has_path = copy.sources.iter().any(|source| matches!(source, Source::Path(_)));
    copy.from.as_deref().filter(|_| has_path)
}

/// Returns the value of `from=` of a mount. It does not expand.
fn mount_from(mount: &Mount) -> Option<&str> {
    let from = mount.options.iter().rfind(|option| option.key == "from")?;
    from.value.as_deref().filter(|value| !value.is_empty())
}

/// Returns the triggers that a stage of this file leaves to its children.
fn stage_triggers(stage: &Stage, name: &str) -> Result<Vec<Spanned<Instruction>>, PlanError> {
    let texts = stage.instructions.iter().filter_map(|instruction| match &instruction.value {
        Instruction::Onbuild(onbuild) => Some((&onbuild.trigger, &instruction.span)),
        _ => None,
    });
    texts.map(|(text, span)| trigger(text, name, span)).collect()
}

fn trigger(text: &str, base: &str, span: &Span) -> Result<Spanned<Instruction>, PlanError> {
    match parse_onbuild(text, span) {
        Ok(value) => Ok(Spanned { value, span: span.clone() }),
        Err(error) => {
            let (trigger, base) = (text.to_owned(), base.to_owned());
            Err(PlanError::new(PlanErrorKind::Trigger { trigger, base, source: error.kind }, span))
        }
    }
}

fn image(name: &str, span: &Span) -> Result<Place, PlanError> {
    match name.parse::<Reference>() {
        Ok(_) => Ok(Place::Image(name.to_owned())),
        Err(source) => Err(PlanError::new(source, span)),
    }
}

/// Returns one text for all spellings of a name: `alpine` is `docker.io/library/alpine:latest`.
fn normalise(name: &str) -> String {
    let lower = name.to_lowercase();
    let reference = name.parse::<Reference>().or_else(|_| lower.parse());
    reference.map_or(lower, |reference: Reference| reference.to_string())
}
