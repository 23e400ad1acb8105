//! What a target can be given: build arguments, secrets and agents of the stages that it needs.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use xbuild_dockerfile::expand::expand_word;
use xbuild_dockerfile::{Arg, ArgDeclaration, Instruction, Span, Spanned};

use crate::arguments::{self, Given};
use crate::config;
use crate::error::{PlanError, PlanErrors};
use crate::graph::VertexId;
use crate::mount::{self, Asked};
use crate::options::{Images, PlanOptions};
use crate::plan::{Goal, reach};
use crate::reach::{Findings, Names, Place, Reached, users};
use crate::state::State;
use crate::variables::Variables;

/// The parameters of a target, each list in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The name of the target.
    pub name: Option<String>,
    /// What the comment above it says.
    pub description: Option<String>,
    /// The build arguments, each name once.
    pub arguments: Vec<OutlinedArg>,
    /// The secrets, each id once.
    pub secrets: Vec<OutlinedMount>,
    /// The SSH agents, each id once.
    pub agents: Vec<OutlinedMount>,
}

/// A build argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlinedArg {
    /// The name.
    pub name: String,
    /// What the comment above it says.
    pub description: Option<String>,
    /// The value that it has, if it has one.
    pub value: Option<String>,
    /// The lines of the ARG.
    pub span: Span,
}

/// A secret or an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlinedMount {
    /// The id.
    pub id: String,
    /// Whether a RUN fails without it.
    pub required: bool,
    /// The lines of the first RUN that asks for it.
    pub span: Span,
}

/// Returns what the target can be given, for the first platform that the options ask for.
///
/// **Shape**: of arguments with one name in several stages that of the target counts, then those of the
/// stages below it, then those of the stages that it copies from. Variables of base images that `images`
/// lacks count as unset.
///
/// **Errors**: those of [`crate::plan()`] about names, and those of ARG, ENV and mounts.
///
/// **Source**: BuildKit (2026-08), `frontend.outline` 1.0.0.
pub fn outline(
    dockerfile: &xbuild_dockerfile::Dockerfile,
    options: &PlanOptions,
    images: &Images,
) -> Result<Outline, PlanErrors> {
    let options = PlanOptions {
        platforms: options.asked()[..1].to_vec(),
        every_stage: false,
        ..options.clone()
    };
    let names = Names::new(dockerfile, &options, images);
    let mut findings = Findings::default();
    let goals = reach(&names, &options, &mut findings);
    if let Some(errors) = PlanErrors::of(findings.errors) {
        return Err(errors);
    }
    let mut outline = Outline::default();
    let (Some(goal), Ok(target)) = (goals.first(), names.target()) else { return Ok(outline) };
    let stages = found(&names, goal, &arguments::given(&options))
        .map_err(|error| PlanErrors::of(vec![error]).expect("there is an error"))?;
    let globals = globals(&names, goal, &arguments::given(&options));
    let stage = &dockerfile.stages[target].from;
    outline.name = stage.name.clone();
    let above = dockerfile.comment_above(*stage.span.lines.start());
    outline.description =
        stage.name.as_deref().and_then(|name| above?.about(name)).map(str::to_owned);
    gather(&names, goal, (target, &stages, &globals), &mut outline);
    outline.arguments.sort_by_key(|argument| *argument.span.lines.start());
    outline.secrets.sort_by_key(|secret| *secret.span.lines.start());
    outline.agents.sort_by_key(|agent| *agent.span.lines.start());
    Ok(outline)
}

/// A global argument, and the names that its value is made of.
struct Global {
    argument: OutlinedArg,
    parts: BTreeSet<String>,
}

/// The findings in one stage.
#[derive(Default)]
struct Found {
    /// The arguments that it declares, by name, the last of each.
    own: BTreeMap<String, OutlinedArg>,
    /// The names that it uses or declares.
    used: BTreeSet<String>,
    secrets: Vec<OutlinedMount>,
    agents: Vec<OutlinedMount>,
}

/// Adds the findings of the target and of the stages that it needs, the nearest first.
fn gather(
    names: &Names<'_>,
    goal: &Goal,
    (target, stages, globals): (usize, &BTreeMap<usize, Found>, &HashMap<String, Global>),
    outline: &mut Outline,
) {
    let (mut seen, mut left) = (HashSet::new(), vec![target]);
    let (mut known, mut ids) = (HashSet::new(), [HashSet::new(), HashSet::new()]);
    while let Some(index) = left.pop() {
        let (Some(found), Some(reached)) = (stages.get(&index), goal.stages.get(&index)) else {
            continue;
        };
        if !seen.insert(index) {
            continue;
        }
        for name in with_parts(&found.used, globals) {
            let global = || globals.get(name).map(|global| &global.argument);
            let Some(argument) = found.own.get(name).or_else(global) else { continue };
            if known.insert(argument.name.as_str()) {
                outline.arguments.push(argument.clone());
            }
        }
        let new = |ids: &mut HashSet<String>, mount: &&OutlinedMount| ids.insert(mount.id.clone());
        let [secrets, agents] = &mut ids;
        outline.secrets.extend(found.secrets.iter().filter(|one| new(secrets, one)).cloned());
        outline.agents.extend(found.agents.iter().filter(|one| new(agents, one)).cloned());
        let mut sources: BTreeSet<usize> = BTreeSet::new();
        for place in reached.instructions.iter().flat_map(|it| names.sources(it, index)).flatten() {
            if let Place::Stage(other) = place {
                sources.insert(other);
            }
        }
        left.extend(sources.into_iter().rev());
        if let Place::Stage(below) = &reached.base {
            left.push(*below);
        }
    }
}

/// Returns names, and those that the values of these global arguments are made of.
fn with_parts<'a>(
    used: &'a BTreeSet<String>,
    globals: &'a HashMap<String, Global>,
) -> BTreeSet<&'a str> {
    let mut all = BTreeSet::new();
    let mut left: Vec<&str> = used.iter().map(String::as_str).collect();
    while let Some(name) = left.pop() {
        if all.insert(name)
            && let Some(global) = globals.get(name)
        {
            left.extend(global.parts.iter().map(String::as_str));
        }
    }
    all
}

/// Returns the global arguments by name, the last of each.
fn globals(names: &Names<'_>, goal: &Goal, given: &Given<'_>) -> HashMap<String, Global> {
    let mut globals: HashMap<String, Global> = HashMap::new();
    for arg in &names.dockerfile.globals {
        for declaration in &arg.value.declarations {
            let name = declaration.name.as_str();
            let is_given = given.contains_key(name);
            let default = declaration.default.as_deref().filter(|_| !is_given);
            let mut parts = default.map(|text| read(text, names, goal)).unwrap_or_default();
            if parts.remove(name)
                && let Some(before) = globals.get(name)
            {
                parts.extend(before.parts.iter().cloned());
            }
            let has_value = is_given || default.is_some();
            let value = goal.globals.get(name).filter(|_| has_value);
            let argument = argument(names, &arg.span, declaration, value);
            globals.insert(name.to_owned(), Global { argument, parts });
        }
    }
    globals
}

/// Returns the global variables that a text is made of.
fn read(text: &str, names: &Names<'_>, goal: &Goal) -> BTreeSet<String> {
    let found = RefCell::new(BTreeSet::new());
    let look_up = |name: &str| {
        let value = goal.globals.get(name)?;
        found.borrow_mut().insert(name.to_owned());
        Some(value.to_owned())
    };
    // A text that cannot be expanded is an error of the plan.
    let _ = expand_word(text, names.dockerfile.escape, &look_up);
    found.into_inner()
}

fn argument(
    names: &Names<'_>,
    span: &Span,
    declaration: &ArgDeclaration,
    value: Option<&str>,
) -> OutlinedArg {
    let above = names.dockerfile.comment_above(*span.lines.start());
    OutlinedArg {
        name: declaration.name.clone(),
        description: above.and_then(|above| above.about(&declaration.name)).map(str::to_owned),
        value: value.map(str::to_owned),
        span: span.clone(),
    }
}

/// Returns the findings in each stage.
fn found(
    names: &Names<'_>,
    goal: &Goal,
    given: &Given<'_>,
) -> Result<BTreeMap<usize, Found>, PlanError> {
    let mut users = users(&goal.stages);
    let mut states: HashMap<usize, State> = HashMap::new();
    let mut all = BTreeMap::new();
    for (&index, reached) in &goal.stages {
        let mut state = begin(names, reached, &mut states, &mut users);
        let mut found = Found::default();
        if !reached.replaced {
            let from = &names.dockerfile.stages[index].from;
            found.used = read(&from.image, names, goal);
            found.used.extend(from.platform.iter().flat_map(|text| read(text, names, goal)));
        }
        for instruction in &reached.instructions {
            let place = config::Place {
                escape: names.dockerfile.escape,
                span: &instruction.span,
                globals: &goal.globals,
                given,
            };
            look(names, instruction, place, &mut state, &mut found)?;
        }
        if users.contains_key(&index) {
            states.insert(index, state);
        }
        all.insert(index, found);
    }
    Ok(all)
}

/// Returns the state of a stage before its first instruction. The last user of a state takes it: a copy
/// for each stage of a long chain would take quadratic space.
fn begin(
    names: &Names<'_>,
    reached: &Reached,
    states: &mut HashMap<usize, State>,
    users: &mut HashMap<usize, usize>,
) -> State {
    // Nothing is built, so any vertex will do.
    let empty = || State::empty(VertexId(0), &reached.platform);
    match &reached.base {
        Place::Scratch | Place::Folder(_) => empty(),
        Place::Stage(below) => {
            let left = users.get_mut(below).map_or(0, |count| {
                *count -= 1;
                *count
            });
            let state = if left == 0 { states.remove(below) } else { states.get(below).cloned() };
            state.unwrap_or_else(empty)
        }
        Place::Image(name) => match names.image(name, &reached.platform) {
            Some(image) => State::of_image(VertexId(0), &reached.platform, image),
            None => empty(),
        },
    }
}

/// Adds what an instruction declares or asks for.
fn look(
    names: &Names<'_>,
    instruction: &Spanned<Instruction>,
    place: config::Place<'_>,
    state: &mut State,
    found: &mut Found,
) -> Result<(), PlanError> {
    let span = &instruction.span;
    match &instruction.value {
        Instruction::Arg(arg) => {
            config::arg(state, place, arg)?;
            declared(names, arg, place, &state.variables, found);
        }
        Instruction::Env(env) => config::env(state, place, env)?,
        Instruction::Run(run) => {
            for asked in mount::asked(state, run, place)? {
                let (list, id, required) = match asked {
                    Asked::Secret(id, required) => (&mut found.secrets, id, required),
                    Asked::Agent(id, required) => (&mut found.agents, id, required),
                };
                list.push(OutlinedMount { id, required, span: span.clone() });
            }
        }
        _ => {}
    }
    state.history.clear();
    Ok(())
}

/// Adds the arguments of an ARG that is carried out. One that only takes a global value has the lines of
/// the global ARG.
fn declared(
    names: &Names<'_>,
    arg: &Arg,
    place: config::Place<'_>,
    variables: &Variables,
    found: &mut Found,
) {
    for declaration in &arg.declarations {
        let name = declaration.name.as_str();
        found.used.insert(name.to_owned());
        let has_own = declaration.default.is_some() || place.given.contains_key(name);
        if has_own || place.globals.get(name).is_none() {
            let value = variables.get(name).filter(|_| has_own);
            let argument = argument(names, place.span, declaration, value);
            found.own.insert(name.to_owned(), argument);
        }
    }
}
