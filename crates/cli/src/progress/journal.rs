//! The journal of a build, or of several at the same time: what is known of each step so far.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use xbuild_model::{DiffId, Digest, short_label};
use xbuild_plan::{Graph, Op, Vertex, VertexId};
use xbuild_solve::{Event, Reason};

use super::tail::Tail;
use super::transfers::Transfers;
use crate::reasons;
use crate::report::{printable, told};

/// The steps and the transfers of builds.
#[derive(Debug)]
pub(crate) struct Journal {
    /// The time when the first build began.
    pub(crate) began: Instant,
    builds: Vec<Build>,
    /// How many steps have a number.
    numbered: usize,
    /// Reasons for which so many steps run that they are told once.
    told: Vec<Reason>,
    /// The transfers.
    pub(crate) transfers: Transfers,
}

/// A build.
#[derive(Debug)]
struct Build {
    /// The name that its steps begin with; `None` if there are no other builds.
    name: Option<String>,
    /// The steps, by vertex.
    steps: Vec<Step>,
}

/// A step, by the number of its build and its vertex there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StepId {
    pub(crate) build: usize,
    pub(crate) vertex: VertexId,
}

/// What is known of a step.
#[derive(Debug)]
pub(crate) struct Step {
    /// The name on the screen.
    pub(crate) label: String,
    /// The number, by the order in which steps began; 0 before that.
    pub(crate) number: usize,
    /// Whether there is something to do: a base image is none of the steps.
    pub(crate) has_work: bool,
    /// Whether it is a RUN.
    is_run: bool,
    /// How far it is.
    pub(crate) state: StepState,
    /// Why it failed; empty if it did not.
    pub(crate) failure: String,
    /// Why it runs.
    pub(crate) why: String,
    /// How much a log says of that.
    pub(crate) told: Told,
    /// The end of its output.
    pub(crate) tail: Tail,
    /// What it is known by in the graph.
    pub(crate) key: Digest,
    /// The keys of the steps that it stands on or takes files from.
    pub(crate) inputs: Vec<Digest>,
    /// The platform.
    pub(crate) platform: String,
    /// When it began.
    pub(crate) started: Option<Instant>,
    /// When its work began: for a RUN, its command.
    pub(crate) worked: Option<Instant>,
    /// When it ended.
    pub(crate) ended: Option<Instant>,
    /// The layers that it made, or that the cache had.
    pub(crate) layers: Vec<DiffId>,
    /// Whether its programs need an emulator.
    pub(crate) is_emulated: bool,
    /// How many of its programs ran natively and under the emulator, if they were counted.
    pub(crate) programs: Option<(u64, u64)>,
}

/// How much a log says of why a step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// All.
    Fully,
    /// That it is so for many steps.
    ForMany,
    /// Nothing: an earlier step said it for many.
    Before,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepState {
    /// It waits for others.
    Waiting,
    /// The files that its command stands on are fetched and unpacked.
    Preparing,
    /// It works since then.
    Working(Instant),
    /// Its result was in the cache.
    Cached,
    /// It is done after that time.
    Done(Duration),
    /// It failed after that time.
    Failed(Duration),
    /// It was ended after that time, since another one failed.
    Cancelled(Duration),
}

/// How many steps are there, how many have ended, and how many of these came from the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    /// All steps.
    pub(crate) all: usize,
    /// The steps that have ended.
    pub(crate) ended: usize,
    /// The steps from the cache.
    pub(crate) cached: usize,
}

impl Journal {
    /// Returns the journal of builds of which the first begins now.
    pub(crate) fn new(began: Instant) -> Self {
        let (builds, told) = (Vec::new(), Vec::new());
        Self { began, builds, numbered: 0, told, transfers: Transfers::default() }
    }

    /// Adds a build and returns its number. It has a name if there are others.
    pub(crate) fn add(&mut self, name: Option<String>) -> usize {
        self.builds.push(Build { name, steps: Vec::new() });
        self.builds.len() - 1
    }

    /// Takes the steps of a build. One that begins again, since the store was damaged, has them anew.
    pub(crate) fn plan(&mut self, build: usize, graph: &Graph) {
        let Some(build) = self.builds.get_mut(build) else { return };
        let name = build.name.as_deref();
        build.steps = graph.vertices.iter().map(|vertex| Step::new(graph, vertex, name)).collect();
    }

    /// Takes an event of a step.
    pub(crate) fn step(&mut self, id: StepId, event: Event<'_>, now: Instant) {
        self.number(id);
        if let Event::Started(reasons) = event {
            let number =
                |vertex: VertexId| self.get(StepId { vertex, ..id }).map_or(0, |step| step.number);
            let why = reasons::text(reasons, &number);
            let told = self.tell(reasons);
            self.with(id, |step| (step.why, step.told) = (why, told));
        }
        self.with(id, |step| step.take(event, now));
    }

    /// Returns a step.
    pub(crate) fn get(&self, id: StepId) -> Option<&Step> {
        self.builds.get(id.build)?.steps.get(id.vertex.0)
    }

    /// Returns the steps of a build, in the order of the file.
    pub(crate) fn steps_of(&self, build: usize) -> &[Step] {
        self.builds.get(build).map_or(&[], |build| &build.steps)
    }

    /// Returns all steps, build by build.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.builds.iter().flat_map(|build| &build.steps)
    }

    /// Returns the steps that took most time, the slowest first.
    pub(crate) fn slowest(&self, count: usize) -> Vec<(&str, Duration)> {
        let time = |step: &'_ Step| match step.state {
            StepState::Done(time) | StepState::Failed(time) => Some(time),
            _ => None,
        };
        let times = self.steps().filter_map(|step| Some((step.label.as_str(), time(step)?)));
        let mut times: Vec<_> = times.collect();
        times.sort_by_key(|(_, time)| Reverse(*time));
        times.truncate(count);
        times
    }

    /// Returns the steps under way, in the order of the file, and since when each works: `None` while its
    /// files are prepared.
    pub(crate) fn under_way(&self) -> Vec<(&Step, Option<Instant>)> {
        let since = |step: &Step| match step.state {
            StepState::Preparing => Some(None),
            StepState::Working(since) => Some(Some(since)),
            _ => None,
        };
        self.steps().filter_map(|step| Some((step, since(step)?))).collect()
    }

    /// Counts the steps.
    pub(crate) fn count(&self) -> Count {
        let steps = || self.steps().filter(|step| step.has_work);
        let is_under_way = |state: StepState| {
            matches!(state, StepState::Waiting | StepState::Preparing | StepState::Working(_))
        };
        Count {
            all: steps().count(),
            ended: steps().filter(|step| !is_under_way(step.state)).count(),
            cached: steps().filter(|step| step.state == StepState::Cached).count(),
        }
    }

    /// Takes the last lines of the step of a build that its graph calls so.
    pub(crate) fn take_tail(&mut self, build: usize, label: &str) -> Vec<String> {
        let Some(build) = self.builds.get_mut(build) else { return Vec::new() };
        let wanted = shown_label(label, build.name.as_deref());
        let step = build.steps.iter_mut().find(|step| step.label == wanted);
        step.map(|step| std::mem::take(&mut step.tail).into()).unwrap_or_default()
    }

    fn get_mut(&mut self, id: StepId) -> Option<&mut Step> {
        self.builds.get_mut(id.build)?.steps.get_mut(id.vertex.0)
    }

    fn with(&mut self, id: StepId, change: impl FnOnce(&mut Step)) {
        if let Some(step) = self.get_mut(id) {
            change(step);
        }
    }

    /// Gives a step its number: numbers have no gaps, whatever steps never begin.
    fn number(&mut self, id: StepId) {
        let next = self.numbered + 1;
        if let Some(step) = self.get_mut(id).filter(|step| step.number == 0) {
            step.number = next;
            self.numbered = next;
        }
    }

    /// Returns how much a log says of the reasons of a step. A first build has the same for all.
    fn tell(&mut self, reasons: &[Reason]) -> Told {
        let [one @ (Reason::FirstTime | Reason::NoCache)] = reasons else { return Told::Fully };
        if self.told.contains(one) {
            return Told::Before;
        }
        self.told.push(one.clone());
        Told::ForMany
    }
}

impl Step {
    fn new(graph: &Graph, vertex: &Vertex, build: Option<&str>) -> Self {
        let key = |vertex: &Vertex| match build {
            None => vertex.key.clone(),
            // The same step of another build is another step, perhaps with other files.
            Some(name) => Digest::of(format!("{name} {}", vertex.key).as_bytes()),
        };
        let platform = vertex.op.programs().unwrap_or(&vertex.platform);
        Self {
            label: shown_label(&vertex.label, build),
            number: 0,
            has_work: !matches!(vertex.op, Op::Scratch | Op::Image(_)),
            is_run: vertex.op.is_run(),
            state: StepState::Waiting,
            failure: String::new(),
            why: String::new(),
            told: Told::Fully,
            tail: Tail::default(),
            key: key(vertex),
            inputs: vertex.op.inputs().map(|input| key(graph.vertex(input))).collect(),
            platform: platform.to_string(),
            started: None,
            worked: None,
            ended: None,
            layers: Vec::new(),
            is_emulated: false,
            programs: None,
        }
    }

    fn take(&mut self, event: Event<'_>, now: Instant) {
        match event {
            Event::Started(_) if self.is_run => {
                self.started = Some(now);
                self.state = StepState::Preparing;
            }
            Event::Started(_) => {
                (self.started, self.worked) = (Some(now), Some(now));
                self.state = StepState::Working(now);
            }
            Event::Ready { is_emulated } => {
                self.is_emulated = is_emulated;
                self.worked = Some(now);
                self.state = StepState::Working(now);
            }
            Event::Line { line, redraws } => self.tail.push(line, redraws),
            Event::Programs { natively, emulated } => self.programs = Some((natively, emulated)),
            Event::Cached { layers } => {
                self.layers = layers.to_vec();
                self.started = Some(now);
                self.end(StepState::Cached, now);
            }
            Event::Done { time, layer } => {
                self.tail = Tail::default();
                self.layers = vec![layer.clone()];
                self.end(StepState::Done(time), now);
            }
            Event::Failed { time, reason } => {
                self.failure = printable(&told(reason.to_owned()));
                self.end(StepState::Failed(time), now);
            }
            Event::Cancelled(time) => self.end(StepState::Cancelled(time), now),
        }
    }

    fn end(&mut self, state: StepState, now: Instant) {
        self.state = state;
        self.ended = Some(now);
    }
}

/// Returns the name of a step on the screen, with the name of its build in front as buildx has it.
fn shown_label(label: &str, build: Option<&str>) -> String {
    let label = match (build, label.strip_prefix('[')) {
        (None, _) => label.to_owned(),
        (Some(build), Some(rest)) => format!("[{build} {rest}"),
        (Some(build), None) => format!("[{build}] {label}"),
    };
    printable(&short_label(&label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_begin_with_the_name_of_their_build() {
        for (label, build, expected) in [
            ("[2/3] RUN a", None, "[2/3] RUN a"),
            ("[2/3] RUN a", Some("app"), "[app 2/3] RUN a"),
            ("[linux/arm64 b 1/2] FROM x", Some("app"), "[app linux/arm64 b 1/2] FROM x"),
            ("FROM scratch", Some("app"), "[app] FROM scratch"),
        ] {
            assert_eq!(shown_label(label, build), expected);
        }
    }
}
