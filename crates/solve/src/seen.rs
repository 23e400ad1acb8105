//! The parts of a step as hashes, kept when it has run, to say why it runs the next time.
//!
//! Only messages depend on them. Values are hashed, so that none can be read from the store; values
//! of secrets are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use xbuild_model::file_op::FileOp;
use xbuild_model::run::{MountKind, RunRequest};
use xbuild_model::seam::Selection;
use xbuild_model::{Chain, DiffId, Digest};
use xbuild_plan::{Op, Vertex};

use crate::file_hashes::FileHashes;
use crate::reason::{Setting, StepKind};

/// The parts of a step, now or when it last ran.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// By part ascending, each once.
    parts: Vec<(Part, u64)>,
    /// The files that a COPY, ADD or WORKDIR writes.
    files: FileHashes,
    /// A hash of the layer that it made; 0 before it has made one.
    made: u64,
}

/// A part of a step that can change independently of the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Part {
    /// The keyword.
    Kind,
    /// The command of a RUN.
    Command,
    /// The text of a COPY, ADD or WORKDIR.
    Instruction,
    /// A variable that comes from ARG.
    Argument(String),
    /// Another variable.
    Variable(String),
    Setting(Setting),
    /// The layers that a mount takes its files from, by target.
    MountSource(String),
    /// The whole selection of a COPY, ADD or WORKDIR.
    Selection,
    /// The layers of the image in FROM.
    Base,
    /// All layers below.
    Below,
}

/// The text of a step without its surroundings, which tells it from others of its stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Says {
    kind: u64,
    /// The command of a RUN, else the whole instruction.
    text: u64,
}

impl Says {
    /// Returns the text of a vertex; `None` if it is no step.
    pub(crate) fn of(vertex: &Vertex) -> Option<Self> {
        match &vertex.op {
            Op::Scratch | Op::Image(_) => None,
            Op::Run { request, .. } => {
                Some(Self { kind: hash(&StepKind::Run), text: command(request) })
            }
            Op::Files { op, .. } => {
                Some(Self { kind: hash(&kind(vertex, op)), text: vertex.definition.prefix() })
            }
        }
    }
}

/// The layers below a step.
pub(crate) struct Ground<'a> {
    pub(crate) chain: &'a Chain,
    /// The number of layers that are the base image's.
    pub(crate) base: usize,
}

impl Seen {
    /// Returns the parts of a RUN. `arguments` are the names of its variables that come from ARG,
    /// `sources` the layers that its mounts count.
    pub(crate) fn of_run(
        request: &RunRequest,
        arguments: &[String],
        ground: &Ground<'_>,
        sources: &[Chain],
    ) -> Self {
        let RunRequest {
            argv: _,
            env,
            cwd,
            user,
            platform,
            network,
            security,
            hostname,
            extra_hosts,
            ulimits,
            shm_size,
            scripts: _,
            mounts,
            unkeyed_env: _,
        } = request;
        let mut parts = Parts::of(StepKind::Run);
        parts.0.insert(Part::Command, command(request));
        let arguments: BTreeSet<&String> = arguments.iter().collect();
        for (name, value) in env {
            let part = if arguments.contains(name) { Part::Argument } else { Part::Variable };
            parts.add(part(name.clone()), value);
        }
        parts.add(Part::Setting(Setting::User), user);
        parts.add(Part::Setting(Setting::WorkingFolder), cwd);
        parts.add(Part::Setting(Setting::Network), network);
        parts.add(Part::Setting(Setting::Security), security);
        parts.add(Part::Setting(Setting::Hosts), &(hostname, extra_hosts));
        parts.add(Part::Setting(Setting::Limits), &(ulimits, shm_size));
        parts.add(Part::Setting(Setting::Platform), platform);
        parts.add(Part::Setting(Setting::Mounts), mounts);
        for mount in mounts {
            let (MountKind::Bind { source, .. } | MountKind::Cache { seed: Some(source), .. }) =
                &mount.kind
            else {
                continue;
            };
            let layers = sources.get(source.input).map_or(&[][..], |chain| &chain.0);
            parts.add(Part::MountSource(mount.target.clone()), &prefixes(layers));
        }
        parts.add_ground(ground);
        Self { parts: parts.0.into_iter().collect(), ..Self::default() }
    }

    /// Returns the parts of a COPY, ADD or WORKDIR. `ground` is `None` if the step does not depend
    /// on the layers below it.
    pub(crate) fn of_files(
        vertex: &Vertex,
        op: &FileOp,
        ground: Option<&Ground<'_>>,
        selection: &dyn Selection,
    ) -> Self {
        let mut parts = Parts::of(kind(vertex, op));
        parts.0.insert(Part::Instruction, vertex.definition.prefix());
        parts.0.insert(Part::Selection, selection.key().prefix());
        if let Some(ground) = ground {
            parts.add_ground(ground);
        }
        let mut files = FileHashes::default();
        selection.files(&mut |path, hash| files.add(path, hash));
        Self { parts: parts.0.into_iter().collect(), files, made: 0 }
    }

    /// Reads the bytes of [`Seen::encode`]. Returns `None` if another version wrote them.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Returns the parts as they are kept: JSON.
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("keys are text, and numbers are whole")
    }

    /// Adds the layer that the step made, and returns whether it differs from the layer of `old`.
    pub(crate) fn has_made(&mut self, layer: &DiffId, old: Option<&Self>) -> bool {
        self.made = layer.0.prefix();
        old.is_none_or(|old| old.made != self.made)
    }

    /// Returns the hashes of the files that the step writes.
    pub(crate) fn files(&self) -> &FileHashes {
        &self.files
    }

    /// Returns the parts that differ, or that only one of both has.
    pub(crate) fn parts_other_than(&self, old: &Self) -> BTreeSet<Part> {
        let new: BTreeSet<_> = self.parts.iter().collect();
        let old = old.parts.iter().collect();
        new.symmetric_difference(&old).map(|(part, _)| part.clone()).collect()
    }

    /// Returns the text of the step.
    pub(crate) fn says(&self) -> Says {
        let hash = |wanted: &[Part]| {
            let found = self.parts.iter().find(|(part, _)| wanted.contains(part));
            found.map_or(0, |(_, hash)| *hash)
        };
        Says { kind: hash(&[Part::Kind]), text: hash(&[Part::Command, Part::Instruction]) }
    }
}

/// The parts of a step, while they are collected.
struct Parts(BTreeMap<Part, u64>);

impl Parts {
    fn of(kind: StepKind) -> Self {
        let mut parts = Self(BTreeMap::new());
        parts.add(Part::Kind, &kind);
        parts
    }

    /// Adds the hash of a value to that of a part.
    fn add(&mut self, part: Part, value: &impl Debug) {
        let sum = self.0.entry(part).or_default();
        *sum = sum.wrapping_add(hash(value));
    }

    fn add_ground(&mut self, ground: &Ground<'_>) {
        let layers = &ground.chain.0;
        let base = layers.get(..ground.base).unwrap_or(layers);
        self.add(Part::Base, &prefixes(base));
        self.add(Part::Below, &prefixes(layers));
    }
}

/// Returns a hash of a value's `Debug` output. Two versions of this program may print it
/// differently, which costs no more than one wrong reason.
fn hash(value: &impl Debug) -> u64 {
    Digest::of(format!("{value:?}").as_bytes()).prefix()
}

/// Returns prefixes that tell layers apart, in a tenth of the time of a chain ID.
fn prefixes(layers: &[DiffId]) -> Vec<u64> {
    layers.iter().map(|layer| layer.0.prefix()).collect()
}

fn command(request: &RunRequest) -> u64 {
    hash(&(&request.argv, &request.scripts))
}

/// Returns the kind of a step that writes files.
pub(crate) fn kind(vertex: &Vertex, op: &FileOp) -> StepKind {
    match op {
        _ if vertex.position.step == 0 => StepKind::Mount,
        FileOp::Copy(request) if request.unpack.is_some() => StepKind::Add,
        FileOp::Copy(_) => StepKind::Copy,
        FileOp::MakeDir(_) => StepKind::Workdir,
        FileOp::Pick { .. } => StepKind::Mount,
    }
}
