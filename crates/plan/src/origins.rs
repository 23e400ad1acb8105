//! The places that instructions take files from, as vertices of the graph.

use std::collections::HashMap;
use std::sync::Arc;

use xbuild_dockerfile::{Copy, Span};
use xbuild_model::Platform;
use xbuild_model::file_op::{CopyRequest, FileOp};

use crate::builder::{Builder, Label};
use crate::error::PlanError;
use crate::graph::{Op, Origin, VertexId};
use crate::reach::{Names, Place, copy_from};

/// The places that the instructions of one platform take files from.
#[derive(Debug)]
pub(crate) struct Origins<'a> {
    pub(crate) names: &'a Names<'a>,
    /// The platform asked for.
    pub(crate) target: &'a Platform,
    /// Whether it is one of several.
    pub(crate) several: bool,
    pub(crate) builder: &'a mut Builder,
    /// The last vertex of each stage that is already planned.
    stages: HashMap<usize, VertexId>,
}

impl<'a> Origins<'a> {
    pub(crate) fn new(
        names: &'a Names<'a>,
        target: &'a Platform,
        several: bool,
        builder: &'a mut Builder,
    ) -> Self {
        Self { names, target, several, builder, stages: HashMap::new() }
    }

    /// Adds a stage that is planned, with its last vertex.
    pub(crate) fn add_stage(&mut self, index: usize, last: VertexId) {
        self.stages.insert(index, last);
    }

    /// Returns the place that a COPY of the stage `own` takes files from.
    ///
    /// **Errors**: `StageIndex`, `LaterStage`, `OwnStage`, `Reference`.
    pub(crate) fn of_copy(
        &mut self,
        copy: &Copy,
        own: usize,
        span: &Span,
    ) -> Result<Origin, PlanError> {
        let Some(from) = copy_from(copy) else { return Ok(self.main_context()) };
        Ok(self.of_place(self.names.source(from, own, span)?, span))
    }

    /// Returns the place that a mount in the stage `own` takes files from.
    ///
    /// **Errors**: `LaterStage`, `OwnStage`, `Reference`.
    pub(crate) fn of_mount(
        &mut self,
        from: Option<&str>,
        own: usize,
        span: &Span,
    ) -> Result<Origin, PlanError> {
        let Some(from) = from else { return Ok(self.main_context()) };
        Ok(self.of_place(self.names.mount_source(from, own, span)?, span))
    }

    /// Returns the main context.
    pub(crate) fn main_context(&self) -> Origin {
        Origin::Context(self.names.options.main_context.clone())
    }

    fn of_place(&mut self, place: Place, span: &Span) -> Origin {
        match place {
            Place::Folder(name) => Origin::Context(name),
            Place::Scratch => Origin::Vertex(self.scratch(self.target, span)),
            Place::Stage(index) => {
                let vertex = self.stages.get(&index);
                Origin::Vertex(*vertex.expect("stages above are planned before this one"))
            }
            Place::Image(name) => {
                let image = self.names.image(&name, self.target);
                let image = image.expect("images are there once the stages are reached");
                let label = Label {
                    platform: self.several.then(|| self.target.clone()),
                    text: format!("FROM {name}"),
                    ..Label::default()
                };
                let op = Op::Image(Arc::clone(image));
                Origin::Vertex(self.builder.add(op, self.target, span, label))
            }
        }
    }

    /// Returns the vertex without any layer.
    pub(crate) fn scratch(&mut self, platform: &Platform, span: &Span) -> VertexId {
        let label = Label { text: "FROM scratch".to_owned(), ..Label::default() };
        self.builder.add(Op::Scratch, platform, span, label)
    }
}

/// Returns the copy of a whole context to the root folder.
pub(crate) fn everything() -> FileOp {
    FileOp::Copy(CopyRequest {
        sources: vec!["/".to_owned()],
        remotes: Vec::new(),
        inline: Vec::new(),
        dest: "/".to_owned(),
        chown: None,
        chmod: None,
        link: false,
        parents: false,
        exclude: Vec::new(),
        unpack: None,
    })
}
