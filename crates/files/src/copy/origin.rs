//! The origin of a step's files: a build context, or the layers of an image or stage.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use xbuild_layer::{Kind, LayerReader, Node, Segment, ShownPath, Tree, capability};
use xbuild_model::StepFailure;

use crate::CopyError;
use crate::context::Context;
use crate::source::{Content, Fetched, Listing, SourceFile, SourceTree};

/// The origin of the files of a request.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A folder of this machine.
    Context(Arc<Context>),
    /// A stack of layers.
    Layers {
        /// The merged tree of the layers.
        tree: Tree,
        /// The contents of the layers.
        source: Arc<dyn LayerSource>,
    },
}

impl Origin {
    /// Returns the context; `None` for layers.
    pub fn context(&self) -> Option<&Arc<Context>> {
        match self {
            Self::Context(context) => Some(context),
            Self::Layers { .. } => None,
        }
    }
}

/// Gives the contents of the layers of one stack.
pub trait LayerSource: Send + Sync + std::fmt::Debug {
    /// Opens the layer that [`Tree::apply`] was given with this number.
    fn open_layer(&self, number: u32) -> Result<LayerReader<Box<dyn Read + Send>>, StepFailure>;

    /// Opens the regular file at a position of that layer, if that is possible without reading the
    /// layer. Its contents may differ from the layer.
    fn open_file(&self, number: u32, position: u32) -> Option<File>;

    /// Returns the parts of that file that are not holes, see [`xbuild_layer::LayerIndex::segments`].
    fn segments(&self, number: u32, position: u32) -> Option<Vec<Segment>>;

    /// Takes the news that a file of [`open_file`](Self::open_file) differs from the layer.
    fn reject_files(&self, number: u32);
}

impl SourceTree for Tree {
    fn look(&self, path: &[u8]) -> Result<Option<SourceFile>, CopyError> {
        Ok(self.lookup(path).map(source_file))
    }

    fn list(&self, path: &[u8]) -> Result<Listing, CopyError> {
        Ok(self.children(path).map(|(name, node)| (name.to_vec(), source_file(node))).collect())
    }

    fn fetch(&self, path: &[u8], _: &SourceFile) -> Result<Fetched, CopyError> {
        let found = self.lookup(path).and_then(|node| match (&node.kind, node.content) {
            (Kind::File { size }, Some(hash)) => Some(Fetched {
                size: *size,
                hash: Some(hash),
                content: Content::Layer { number: node.layer, position: node.position? },
                xattrs: capability::exported(&node.meta.xattrs),
            }),
            _ => None,
        });
        found.ok_or_else(|| CopyError::NotFound {
            path: ShownPath(path.to_vec()),
            place: self.place(),
            instead: Box::default(),
        })
    }

    fn place(&self) -> &'static str {
        "the image or stage"
    }

    fn is_on_disk(&self) -> bool {
        false
    }
}

fn source_file(node: &Node) -> SourceFile {
    let id = match node.kind {
        Kind::File { .. } => node.position.map(|position| (node.layer.into(), position.into())),
        _ => None,
    };
    SourceFile { kind: node.kind.clone(), meta: node.meta.clone(), id, stamp: None }
}
