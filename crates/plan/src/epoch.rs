//! A `SOURCE_DATE_EPOCH` that names a place instead of a time.
//!
//! **Source**: BuildKit's Dockerfile frontend 1.24.

use xbuild_dockerfile::{Add, Dockerfile, Instruction, Span, Stage};
use xbuild_model::Platform;
use xbuild_model::remote::RemoteSource;

use crate::arguments::{self, Given, SOURCE_DATE_EPOCH};
use crate::error::{PlanError, PlanErrorKind, PlanErrors};
use crate::graph::VertexId;
use crate::options::{Images, PlanOptions};
use crate::reach::Names;
use crate::state::State;
use crate::transfer;
use crate::variables::{Expander, Variables};

/// A place whose time `SOURCE_DATE_EPOCH` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EpochSource {
    /// A named build context, by its name as given.
    Context(String),
    /// The source of a stage that is nothing but one ADD.
    Remote(RemoteSource),
}

/// Returns the name that `SOURCE_DATE_EPOCH` has instead of a time, and the place of that name. The
/// caller finds out the time and adds it to [`PlanOptions::epochs`], without which the plan
/// knows no time.
///
/// **Shape**: `None` if there is a time, or none is asked for, or the name is in the options already;
/// `context` is always the caller's.
///
/// **Errors**: the name is neither that of a context nor of a stage, or the stage has other
/// instructions than ARG and one ADD of a URL or repository.
pub fn epoch_source(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
) -> Result<Option<(String, EpochSource)>, PlanErrors> {
    let images = Images::default();
    let found = source(&Names::new(dockerfile, options, &images), options);
    found.map_err(PlanErrors::from)
}

/// Does the same for the planner.
pub(crate) fn source(
    names: &Names<'_>,
    options: &PlanOptions,
) -> Result<Option<(String, EpochSource)>, PlanError> {
    let dockerfile = names.dockerfile;
    let platform = &options.asked()[0];
    // Arguments that cannot be expanded are an error of the plan.
    let Ok(globals) = arguments::globals(dockerfile, options, platform) else { return Ok(None) };
    let given = arguments::given(options);
    let own = given.get(SOURCE_DATE_EPOCH).copied();
    let Some(value) = own.or_else(|| globals.get(SOURCE_DATE_EPOCH)) else { return Ok(None) };
    if value.is_empty() || value.parse::<i64>().is_ok() {
        return Ok(None);
    }
    if let Some(context) = names.context_name(value) {
        return Ok(Some((value.to_owned(), EpochSource::Context(context.to_owned()))));
    }
    let has_name = |stage: &&Stage| {
        stage.from.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(value))
    };
    if let Some(stage) = dockerfile.stages.iter().find(has_name) {
        let reader = StageReader { dockerfile, stage, platform, given: &given };
        return Ok(Some((value.to_owned(), EpochSource::Remote(reader.source(&globals)?))));
    }
    let kind = Box::new(PlanErrorKind::Epoch { value: value.to_owned() });
    let span = declaration(dockerfile).filter(|_| own.is_none()).cloned();
    Err(PlanError { kind, span })
}

/// Returns the lines of the global ARG that sets the variable.
fn declaration(dockerfile: &Dockerfile) -> Option<&Span> {
    let declares =
        |arg: &xbuild_dockerfile::Arg| arg.declarations.iter().any(|d| d.name == SOURCE_DATE_EPOCH);
    dockerfile.globals.iter().rfind(|arg| declares(&arg.value)).map(|arg| &arg.span)
}

/// Reads the one source of a stage.
struct StageReader<'a> {
    dockerfile: &'a Dockerfile,
    stage: &'a Stage,
    platform: &'a Platform,
    given: &'a Given<'a>,
}

impl StageReader<'_> {
    /// Returns the source. As in the reference, the stage sees all global arguments.
    fn source(&self, globals: &Variables) -> Result<RemoteSource, PlanError> {
        let mut variables = Variables::default();
        for (name, value) in globals.iter().filter(|(name, _)| name != SOURCE_DATE_EPOCH) {
            variables.set(name, value);
        }
        let from = &self.stage.from;
        if self.expander(&variables, &from.span).word(&from.image)? != "scratch" {
            return Err(self.fail("it does not begin with FROM scratch", &from.span));
        }
        let mut source = None;
        for instruction in &self.stage.instructions {
            let span = &instruction.span;
            match &instruction.value {
                Instruction::Arg(arg) => {
                    for declaration in &arg.declarations {
                        let expander = self.expander(&variables, span);
                        let value = arguments::own_value(declaration, self.given, &expander)?;
                        if let Some(value) = value {
                            variables.set(&declaration.name, &value);
                        }
                    }
                }
                Instruction::Add(add) if source.is_none() => {
                    source = Some(self.add(add, &self.expander(&variables, span))?);
                }
                _ => return Err(self.fail("it has more than ARG and one ADD", span)),
            }
        }
        source.ok_or_else(|| self.fail("it has no ADD", &from.span))
    }

    fn add(&self, add: &Add, expander: &Expander<'_>) -> Result<RemoteSource, PlanError> {
        let state = State::empty(VertexId(0), self.platform);
        let request = transfer::add(&state, add, expander)?.request;
        match request.remotes.as_slice() {
            [one] if request.sources.is_empty() && request.inline.is_empty() => {
                Ok(one.source.clone())
            }
            _ => Err(self.fail("its ADD is not of one URL or repository", expander.span)),
        }
    }

    fn expander<'b>(&self, variables: &'b Variables, span: &'b Span) -> Expander<'b> {
        Expander { variables, escape: self.dockerfile.escape, span }
    }

    fn fail(&self, reason: &'static str, span: &Span) -> PlanError {
        let name = self.stage.from.name.clone().unwrap_or_default();
        PlanError::new(PlanErrorKind::EpochStage { name, reason }, span)
    }
}
