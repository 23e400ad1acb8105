//! The steps of a build in the form of BuildKit's `rawjson`, which [`crate::rawjson`] has.

use std::collections::HashMap;

use serde_json::json;
use xbuild_model::Digest;
use xbuild_solve::Event;

use super::journal::{Journal, Step, StepId};
use super::tail::shown;
use crate::rawjson::{Vertex, line, log, now};

/// Makes the lines about steps.
#[derive(Debug, Default)]
pub(super) struct StepLines {
    /// When each step started, as it was told.
    started: HashMap<Digest, String>,
}

impl StepLines {
    /// Returns the line with all steps of a build. What is no work is complete at once.
    pub(super) fn plan(&self, journal: &Journal, build: usize) -> String {
        let now = now();
        let vertex = |step: &Step| {
            let mut vertex = vertex(step);
            if !step.has_work {
                (vertex.started, vertex.completed) = (Some(now.clone()), Some(now.clone()));
            }
            vertex
        };
        let vertexes: Vec<Vertex> = journal.steps_of(build).iter().map(vertex).collect();
        line(&json!({ "vertexes": vertexes }))
    }

    /// Returns the line about an event of a step; `None` if it has none. The journal knows it already.
    pub(super) fn step(
        &mut self,
        journal: &Journal,
        id: StepId,
        event: Event<'_>,
    ) -> Option<String> {
        let step = journal.get(id)?;
        let now = now();
        let mut vertex = vertex(step);
        vertex.started = self.started.get(&step.key).cloned();
        match event {
            Event::Started(_) => {
                self.started.insert(step.key.clone(), now.clone());
                vertex.started = Some(now);
            }
            Event::Line { line: text, .. } => {
                return Some(log(&step.key.to_string(), &format!("{}\n", shown(text)), &now));
            }
            Event::Ready { .. } | Event::Programs { .. } => return None,
            Event::Cached { .. } => {
                (vertex.started, vertex.completed) = (Some(now.clone()), Some(now));
                vertex.cached = true;
            }
            Event::Done { .. } => vertex.completed = Some(now),
            Event::Failed { reason, .. } => {
                (vertex.completed, vertex.error) = (Some(now), reason.to_owned());
            }
            Event::Cancelled(_) => {
                (vertex.completed, vertex.error) = (Some(now), "context canceled".to_owned());
            }
        }
        Some(line(&json!({ "vertexes": [vertex] })))
    }
}

fn vertex(step: &Step) -> Vertex {
    Vertex {
        digest: step.key.to_string(),
        inputs: step.inputs.iter().map(Digest::to_string).collect(),
        name: step.label.clone(),
        started: None,
        completed: None,
        cached: false,
        error: String::new(),
    }
}
