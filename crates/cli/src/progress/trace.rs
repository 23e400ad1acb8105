//! The trace of a build: a span for it, and one for each step, pull and push.

use std::time::{Instant, SystemTime};

use xbuild_model::{DiffId, Digest};
use xbuild_otlp::{Kind, Span, Trace, Value};

use super::journal::{Journal, Step, StepState};
use super::transfers::Spell;

/// Why a build failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// The error.
    pub(crate) message: String,
    /// The exit code of the command that failed, if one did.
    pub(crate) exit: Option<i32>,
}

/// What a trace tells beside the journal.
pub(crate) struct Told<'a> {
    /// The command.
    pub(crate) command: &'static str,
    /// The names of the image.
    pub(crate) names: &'a [String],
    /// Why a build failed.
    pub(crate) failure: Option<Failure>,
    /// Returns the size of a layer's blob.
    pub(crate) bytes: &'a dyn Fn(&DiffId) -> Option<u64>,
}

/// A build that has ended, or several, for the trace.
pub(super) struct Ended<'a> {
    pub(super) journal: &'a Journal,
    pub(super) told: &'a Told<'a>,
    /// The same point in time by two clocks.
    pub(super) now: (Instant, SystemTime),
}

impl Ended<'_> {
    /// Returns the trace with that id.
    pub(super) fn trace(&self, id: [u8; 16]) -> Trace {
        let steps = self.journal.steps().filter(|step| step.started.is_some());
        let steps: Vec<&Step> = steps.filter(|step| step.has_work).collect();
        let children = steps.iter().map(|step| self.step(step, &steps));
        let spells = self.journal.transfers.spells.iter().map(|spell| self.spell(spell));
        Trace { id, root: self.root(&steps), children: children.chain(spells).collect() }
    }

    fn root(&self, steps: &[&Step]) -> Span {
        let count = self.journal.count();
        let mut platforms: Vec<String> = steps.iter().map(|step| step.platform.clone()).collect();
        platforms.sort();
        platforms.dedup();
        let mut attributes = vec![
            ("xbuild.names", Value::Texts(self.told.names.to_vec())),
            ("xbuild.platforms", Value::Texts(platforms)),
            ("xbuild.steps", number(count.all as u64)),
            ("xbuild.steps.cached", number(count.cached as u64)),
        ];
        attributes.extend(self.exit());
        Span {
            name: self.told.command.to_owned(),
            kind: Kind::Internal,
            started: self.time(self.journal.began),
            ended: self.now.1,
            attributes,
            events: Vec::new(),
            links: Vec::new(),
            error: self.told.failure.as_ref().map(|failure| failure.message.clone()),
        }
    }

    /// Returns the exit code of the command that failed.
    fn exit(&self) -> Option<(&'static str, Value)> {
        let code = self.told.failure.as_ref()?.exit?;
        Some((EXIT_CODE, Value::Number(code.into())))
    }

    fn step(&self, step: &Step, steps: &[&Step]) -> Span {
        let started = step.started.unwrap_or(self.now.0);
        let is_cached = step.state == StepState::Cached;
        let mut attributes = vec![
            ("xbuild.step.platform", Value::Text(step.platform.clone())),
            ("xbuild.step.cached", Value::Truth(is_cached)),
            ("xbuild.step.emulated", Value::Truth(step.is_emulated)),
        ];
        if !is_cached {
            attributes.push(("xbuild.step.reason", Value::Text(step.why.clone())));
        }
        let sizes: Vec<u64> = step.layers.iter().filter_map(self.told.bytes).collect();
        if !sizes.is_empty() {
            attributes.push(("xbuild.step.bytes", number(sizes.iter().sum())));
        }
        if let Some((natively, emulated)) = step.programs {
            attributes.push(("xbuild.step.programs.native", number(natively)));
            attributes.push(("xbuild.step.programs.emulated", number(emulated)));
        }
        if matches!(step.state, StepState::Failed(_)) {
            attributes.extend(self.exit());
        }
        let place = |key: &Digest| steps.iter().position(|other| other.key == *key);
        let worked = step.worked.filter(|worked| *worked > started);
        Span {
            name: step.label.clone(),
            kind: Kind::Internal,
            started: self.time(started),
            ended: self.time(step.ended.unwrap_or(self.now.0)),
            attributes,
            events: worked.map(|worked| (self.time(worked), "ready")).into_iter().collect(),
            links: step.inputs.iter().filter_map(place).collect(),
            error: match step.state {
                // A signal ended it with the program.
                _ if step.ended.is_none() => {
                    self.told.failure.as_ref().map(|failure| failure.message.clone())
                }
                StepState::Failed(_) => Some(step.failure.clone()),
                StepState::Cancelled(_) => Some("another step failed".to_owned()),
                _ => None,
            },
        }
    }

    fn spell(&self, spell: &Spell) -> Span {
        Span {
            name: spell.name.clone(),
            kind: Kind::Client,
            started: self.time(spell.began),
            ended: self.time(spell.ended),
            attributes: vec![("xbuild.transfer.bytes", number(spell.bytes))],
            events: Vec::new(),
            links: Vec::new(),
            error: None,
        }
    }

    /// Returns a time of the build by the clock of the system.
    fn time(&self, at: Instant) -> SystemTime {
        let (now, now_by_system) = self.now;
        now_by_system.checked_sub(now.saturating_duration_since(at)).unwrap_or(now_by_system)
    }
}

/// The status of a command, by the name of the semantic conventions.
///
/// **Source** — OpenTelemetry semantic conventions 1.37, § Process.
const EXIT_CODE: &str = "process.exit.code";

fn number(number: u64) -> Value {
    Value::Number(i64::try_from(number).unwrap_or(i64::MAX))
}
