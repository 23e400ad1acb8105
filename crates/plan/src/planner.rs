//! From stages to vertices, for one platform.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use xbuild_dockerfile::{ExpandError, Instruction, Keyword, Span, Spanned, Workdir};
use xbuild_model::Platform;
use xbuild_model::file_op::{FileOp, MakeDir};
use xbuild_wording::redacted;

use crate::arguments::Given;
use crate::builder::Label;
use crate::config;
use crate::error::{PlanError, PlanErrorKind, PlanErrors};
use crate::graph::{Op, Origin, Position};
use crate::history;
use crate::mount;
use crate::origins::{Origins, everything};
use crate::paths;
use crate::reach::{Place, Reached, users};
use crate::run::{self, RunDefaults};
use crate::state::State;
use crate::transfer::{self, Transfer};
use crate::variables::Variables;

/// Plans the stages of one platform.
#[derive(Debug)]
pub(crate) struct Planner<'a> {
    pub(crate) origins: Origins<'a>,
    pub(crate) globals: &'a Variables,
    pub(crate) given: &'a Given<'a>,
    pub(crate) defaults: &'a RunDefaults,
    pub(crate) certainty: Certainty,
    /// The errors of instructions so far.
    pub(crate) errors: Vec<PlanError>,
}

/// The certainty of a plan's errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// All images are known.
    Sure,
    /// Some images are not known, and may set variables that seem unset.
    Guess,
}

impl Certainty {
    /// Returns whether an error in `instruction` is certain: it does not come from a variable that
    /// an unknown image may set.
    fn holds(self, error: &PlanError, instruction: &Instruction) -> bool {
        match (self, &*error.kind) {
            (Certainty::Sure, _) => true,
            (Certainty::Guess, PlanErrorKind::Expand(error)) => {
                !matches!(error, ExpandError::Required { .. })
            }
            (Certainty::Guess, _) => !instruction.original().contains('$'),
        }
    }
}

/// The states of stages that others begin from, each with the number of stages that still will. A
/// long chain of stages hands on one state; a copy for each stage would take quadratic space.
#[derive(Debug, Default)]
struct Bases(HashMap<usize, (State, usize)>);

impl Bases {
    /// Returns the first state of a stage that begins from the stage `index`.
    fn child_of(&mut self, index: usize) -> State {
        let (state, users) = self.0.remove(&index).expect("bases are kept until their last user");
        if users > 1 {
            self.0.insert(index, (state.clone(), users - 1));
        }
        state.child()
    }
}

/// The numbering of a stage's steps.
#[derive(Debug)]
struct Steps {
    index: usize,
    platform: Platform,
    next: usize,
    total: usize,
}

impl Planner<'_> {
    /// Plans the stages, given in order, and returns the state of the last one.
    ///
    /// **Errors**: all errors of instructions, at least one.
    pub(crate) fn stages(
        mut self,
        reached: &BTreeMap<usize, Reached>,
    ) -> Result<Option<State>, Vec<PlanError>> {
        let users = users(reached);
        let mut bases = Bases::default();
        let mut last = None;
        for (&index, stage) in reached {
            let state = self.stage(index, stage, &mut bases);
            if self.has_enough() {
                break;
            }
            self.origins.add_stage(index, state.vertex);
            if let Some(&users) = users.get(&index) {
                bases.0.insert(index, (state, users));
            } else {
                last = Some(state);
            }
        }
        if self.errors.is_empty() { Ok(last) } else { Err(self.errors) }
    }

    /// Returns whether further errors would be useless: because of their number, or because of the
    /// last one.
    fn has_enough(&self) -> bool {
        // After this error the state is large, and that of an instruction that was carried out
        // halfway.
        let endless =
            |error: &PlanError| matches!(*error.kind, PlanErrorKind::EnvironmentSize { .. });
        self.errors.len() >= PlanErrors::LIMIT || self.errors.last().is_some_and(endless)
    }

    fn stage(&mut self, index: usize, reached: &Reached, bases: &mut Bases) -> State {
        let mut steps = Steps {
            index,
            platform: reached.platform.clone(),
            next: 1,
            total: step_count(reached),
        };
        let mut state = self.begin(reached, &mut steps, bases);
        if !reached.replaced {
            state.config.config.on_build.clear();
        }
        steps.platform = state.platform.clone();
        for instruction in &reached.instructions {
            if let Err(error) = self.instruction(&mut state, instruction, &mut steps)
                && self.certainty.holds(&error, &instruction.value)
            {
                self.errors.push(error);
                if self.has_enough() {
                    break;
                }
            }
        }
        state
    }

    /// Returns the state of a stage before its first instruction.
    fn begin(&mut self, reached: &Reached, steps: &mut Steps, bases: &mut Bases) -> State {
        let platform = &reached.platform;
        let span = &self.origins.names.dockerfile.stages[steps.index].from.span;
        let text = format!("FROM {}", reached.base_name);
        match &reached.base {
            Place::Stage(below) => bases.child_of(*below),
            Place::Scratch => State::empty(self.origins.scratch(platform, span), platform),
            Place::Image(name) => {
                let image = self.origins.names.image(name, platform);
                let image = image.expect("images are there once the stages are reached");
                let label = self.label(steps, text);
                let vertex =
                    self.origins.builder.add(Op::Image(Arc::clone(image)), platform, span, label);
                State::of_image(vertex, platform, image)
            }
            Place::Folder(name) => {
                let label = self.label(steps, text.clone());
                let op = Op::Files {
                    parent: self.origins.scratch(platform, span),
                    op: everything(),
                    origin: Some(Origin::Context(name.clone())),
                    independent: false,
                };
                let vertex = self.origins.builder.add(op, platform, span, label);
                let mut state = State::empty(vertex, platform);
                state.history.push(history::of_vertex(text, vertex));
                state
            }
        }
    }

    fn instruction(
        &mut self,
        state: &mut State,
        instruction: &Spanned<Instruction>,
        steps: &mut Steps,
    ) -> Result<(), PlanError> {
        let span = &instruction.span;
        refuse_windows(state, instruction)?;
        let place = config::Place {
            escape: self.origins.names.dockerfile.escape,
            span,
            globals: self.globals,
            given: self.given,
        };
        match &instruction.value {
            Instruction::Run(run) => {
                let mut request = run::request(state, run, span, self.defaults)?;
                let created_by = run::created_by(state, &request);
                let mounts = mount::mounts(&mut self.origins, state, run, steps.index, place)?;
                let sources = run::add_mounts(&mut request, mounts);
                let arguments = run::arguments(state);
                let op = Op::Run { parent: state.vertex, request, sources, arguments };
                let label = self.label(steps, run.original.clone());
                self.push(state, op, span, label, created_by);
            }
            Instruction::Copy(copy) => {
                let transfer = transfer::copy(state, copy, &place.expander(state))?;
                let origin = self.origins.of_copy(copy, steps.index, span)?;
                let label = self.label(steps, copy.original.clone());
                self.transfer(state, transfer, origin, span, label);
            }
            Instruction::Add(add) => {
                let transfer = transfer::add(state, add, &place.expander(state))?;
                let origin = self.origins.main_context();
                let label = self.label(steps, add.original.clone());
                self.transfer(state, transfer, origin, span, label);
            }
            Instruction::Workdir(workdir) => self.workdir(state, workdir, place, steps)?,
            Instruction::Arg(arg) => config::arg(state, place, arg)?,
            Instruction::Env(env) => config::env(state, place, env)?,
            Instruction::User(user) => config::user(state, place, user)?,
            Instruction::Cmd(cmd) => config::cmd(state, cmd),
            Instruction::Entrypoint(entrypoint) => config::entrypoint(state, entrypoint),
            Instruction::Label(label) => config::label(state, place, label)?,
            Instruction::Expose(expose) => config::expose(state, place, expose)?,
            Instruction::Volume(volume) => config::volume(state, place, volume)?,
            Instruction::Shell(shell) => config::shell(state, shell),
            Instruction::StopSignal(stop) => config::stop_signal(state, place, stop)?,
            Instruction::Healthcheck(healthcheck) => config::healthcheck(state, healthcheck),
            Instruction::Maintainer(maintainer) => config::maintainer(state, &maintainer.author),
            // Kept for child images; not part of the history.
            Instruction::Onbuild(onbuild) => {
                state.config.config.on_build.push(onbuild.trigger.clone());
            }
        }
        Ok(())
    }

    fn workdir(
        &mut self,
        state: &mut State,
        workdir: &Workdir,
        place: config::Place<'_>,
        steps: &mut Steps,
    ) -> Result<(), PlanError> {
        let written = place.expander(state).word(&workdir.path)?;
        // As measured: an absolute path stands in the configuration, and is made, as it is
        // written. `..` is walked, not cleaned away first, so /a/b/.. makes /a/b.
        let path = match written.starts_with('/') {
            true => written,
            false => paths::join(state.working_dir(), &written),
        };
        let created_by = format!("WORKDIR {path}");
        let label = self.label(steps, workdir.original.clone());
        if path == "/" {
            state.history.push(history::empty(created_by));
        } else {
            let user = state.config.config.user.clone();
            let op = Op::Files {
                parent: state.vertex,
                op: FileOp::MakeDir(MakeDir { path: path.clone(), user }),
                origin: None,
                independent: false,
            };
            self.push(state, op, place.span, label, created_by);
        }
        state.config.config.working_dir = path;
        Ok(())
    }

    fn transfer(
        &mut self,
        state: &mut State,
        transfer: Transfer,
        origin: Origin,
        span: &Span,
        label: Label,
    ) {
        let Transfer { request, created_by } = transfer;
        let op = Op::Files {
            parent: state.vertex,
            independent: request.is_linked(),
            origin: Some(origin).filter(|_| !request.sources.is_empty()),
            op: FileOp::Copy(request),
        };
        self.push(state, op, span, label, created_by);
    }

    /// Adds a vertex on top of the stage.
    fn push(&mut self, state: &mut State, op: Op, span: &Span, label: Label, created_by: String) {
        let vertex = self.origins.builder.add(op, &state.platform, span, label);
        state.vertex = vertex;
        state.history.push(history::of_vertex(created_by, vertex));
    }

    /// Returns the label of the next step, without the passwords of URLs.
    fn label(&self, steps: &mut Steps, text: String) -> Label {
        let stages = &self.origins.names.dockerfile.stages;
        let name = stages[steps.index].from.name.clone();
        let is_shown = stages.len() > 1 || name.is_some();
        let stage = name.unwrap_or_else(|| format!("stage-{}", steps.index));
        let position = Position {
            stage: stage.clone(),
            step: steps.next,
            target: Some(self.origins.target.clone()),
        };
        let step = Some((steps.next, steps.total));
        steps.next += 1;
        let shown = self.origins.several || steps.platform != *self.origins.target;
        Label {
            platform: shown.then(|| steps.platform.clone()),
            target: self.origins.several.then(|| self.origins.target.clone()),
            stage: is_shown.then_some(stage),
            step,
            text: redacted(&text).into_owned(),
            position,
        }
    }
}

/// Returns the number of steps that a stage shows: its base, if that is an image or a folder, and
/// each instruction that may make a layer.
fn step_count(reached: &Reached) -> usize {
    let base = matches!(reached.base, Place::Image(_) | Place::Folder(_));
    let makes_layer = |instruction: &&Spanned<Instruction>| {
        matches!(
            instruction.value,
            Instruction::Run(_)
                | Instruction::Copy(_)
                | Instruction::Add(_)
                | Instruction::Workdir(_)
        )
    };
    usize::from(base) + reached.instructions.iter().filter(makes_layer).count()
}

/// Refuses an instruction that makes files in an image for Windows.
fn refuse_windows(state: &State, instruction: &Spanned<Instruction>) -> Result<(), PlanError> {
    let keyword = instruction.value.keyword();
    let makes_files = matches!(keyword, Keyword::Copy | Keyword::Add | Keyword::Workdir);
    if !makes_files || state.platform.os() != "windows" {
        return Ok(());
    }
    let feature = format!("{keyword} onto {}, whose layers have another form,", state.platform);
    Err(PlanError::new(PlanErrorKind::NotImplemented { feature }, &instruction.span))
}
