//! Collecting vertices, each once.

use std::collections::HashMap;

use xbuild_dockerfile::Span;
use xbuild_model::{Digest, Platform};

use crate::definition;
use crate::graph::{Op, Position, Vertex, VertexId};

/// The parts of a vertex's label, which progress shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Label {
    /// The platform, if it is to be shown.
    pub(crate) platform: Option<Platform>,
    /// The platform asked for.
    pub(crate) target: Option<Platform>,
    /// The name of the stage, if it is to be shown.
    pub(crate) stage: Option<String>,
    /// The number of the step, and the number of steps in its stage.
    pub(crate) step: Option<(usize, usize)>,
    /// The instruction.
    pub(crate) text: String,
    /// The place of the step; not shown.
    pub(crate) position: Position,
}

impl Label {
    fn render(&self) -> String {
        let platform = self.platform.as_ref().map(|platform| match &self.target {
            Some(target) if target != platform => format!("{platform}->{target}"),
            _ => platform.to_string(),
        });
        let parts = [
            platform,
            self.stage.clone(),
            self.step.map(|(number, total)| format!("{number}/{total}")),
        ];
        let prefix: Vec<String> = parts.into_iter().flatten().collect();
        match prefix.is_empty() {
            true => self.text.clone(),
            false => format!("[{}] {}", prefix.join(" "), self.text),
        }
    }
}

/// A graph that grows.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    /// The names of the stages whose vertices are done anew.
    no_cache_stages: Vec<String>,
    vertices: Vec<Vertex>,
    labels: Vec<Label>,
    ids: HashMap<Digest, VertexId>,
}

impl Builder {
    pub(crate) fn new(no_cache_stages: &[String]) -> Self {
        Self { no_cache_stages: no_cache_stages.to_vec(), ..Self::default() }
    }

    /// Returns the vertex that does `op`, after adding it if the graph does not have it.
    pub(crate) fn add(
        &mut self,
        op: Op,
        platform: &Platform,
        span: &Span,
        label: Label,
    ) -> VertexId {
        let definition = definition::of(&op);
        let inputs = op.inputs().map(|input| self.vertices[input.0].key.clone());
        let stage = &label.position.stage;
        let no_cache = op.parent().is_some()
            && self.no_cache_stages.iter().any(|name| name.eq_ignore_ascii_case(stage));
        let mut key = definition::key(&definition, &op, inputs);
        if no_cache {
            // The same step of another stage may come from the cache.
            key = Digest::of(format!("{key} anew").as_bytes());
        }
        if let Some(&id) = self.ids.get(&key) {
            // A COPY on scratch may be shared by several platforms, and a step on the build
            // platform by several targets: then the label has no platform or no target.
            let first = &mut self.labels[id.0];
            if self.vertices[id.0].platform != *platform {
                first.platform = None;
            }
            if first.target != label.target {
                first.target = None;
            }
            return id;
        }
        let id = VertexId(self.vertices.len());
        self.ids.insert(key.clone(), id);
        self.vertices.push(Vertex {
            key,
            definition,
            span: span.clone(),
            label: String::new(),
            platform: platform.clone(),
            position: label.position.clone(),
            op,
            needs_folder: false,
            no_cache,
            is_in_output: false,
        });
        self.labels.push(label);
        id
    }

    /// Returns the vertices, inputs before users; `outputs` are the vertices of the images.
    pub(crate) fn finish(self, outputs: impl Iterator<Item = VertexId>) -> Vec<Vertex> {
        let mut vertices = self.vertices;
        for (vertex, label) in vertices.iter_mut().zip(&self.labels) {
            vertex.label = label.render();
        }
        for VertexId(output) in outputs {
            vertices[output].is_in_output = true;
        }
        for index in (0..vertices.len()).rev() {
            if let (true, Some(parent)) =
                (vertices[index].is_in_output, vertices[index].op.parent())
            {
                vertices[parent.0].is_in_output = true;
            }
            let stood_upon = vertices[index].needs_folder;
            let runs = vertices[index].op.is_run();
            if let (true, Some(parent)) = (stood_upon || runs, vertices[index].op.parent()) {
                vertices[parent.0].needs_folder = true;
            }
            for source in vertices[index].op.sources().to_vec() {
                vertices[source.0].needs_folder = true;
            }
        }
        vertices
    }
}
