//! The folders that the steps of a build copy from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use xbuild_files::Context;
use xbuild_model::Digest;
use xbuild_model::seam::Sources;
use xbuild_plan::{Graph, Op, Origin, is_main_context};

use crate::dockerfile_file::{self, IgnoreFile};
use crate::error::ContextError;
use crate::identities;
use crate::main_context::MainContext;
use crate::request::NamedPlace;
use crate::sources::Gate;

/// Opens the contexts that the steps of a graph copy from: the main one, with the ignore file of each
/// Dockerfile; named folders with their own ignore files; and remote contexts, which are fetched now
/// and have no ignore file. A main context that `is_local`, and named folders, pass the gate.
///
/// **Shape** — by name, each with its identity.
pub(crate) fn open(
    graph: &Graph,
    named: &BTreeMap<String, NamedPlace>,
    main: &MainContext,
    (sources, gate): (&dyn Sources, &Gate),
    is_local: bool,
) -> Result<BTreeMap<String, (Arc<Context>, Digest)>, ContextError> {
    let used: BTreeSet<&str> =
        graph.vertices.iter().filter_map(|vertex| name(&vertex.op)).collect();
    let mut contexts = BTreeMap::new();
    for name in used {
        let context = match named.get(name) {
            _ if is_main_context(name) => {
                if is_local {
                    pass(gate, "context")?;
                }
                context(&main.folder, main.ignore(name))?
            }
            Some(NamedPlace::Folder(path)) => {
                pass(gate, name)?;
                context(path, dockerfile_file::ignore_file(path)?.as_ref())?
            }
            Some(NamedPlace::Remote(source)) => {
                let folder = sources.fetch(source).map_err(ContextError::Fetch)?;
                context(&folder, None)?
            }
            // The engine reports the missing context.
            Some(NamedPlace::Image(_)) | None => continue,
        };
        contexts.insert(name.to_owned(), context);
    }
    Ok(contexts)
}

fn pass(gate: &Gate, name: &str) -> Result<(), ContextError> {
    gate.folder(name).map_err(|error| ContextError::Fetch(error.into()))
}

fn name(op: &Op) -> Option<&str> {
    match op {
        Op::Files { origin: Some(Origin::Context(name)), .. } => Some(name),
        _ => None,
    }
}

fn context(
    path: &Path,
    ignore: Option<&IgnoreFile>,
) -> Result<(Arc<Context>, Digest), ContextError> {
    let rules = ignore.map(IgnoreFile::rules).transpose()?;
    let context =
        Context::open(path, rules).map_err(|error| ContextError::Folder(Box::new(error)))?;
    let text = ignore.map(|ignore| ignore.text.as_slice());
    Ok((Arc::new(context), identities::of_context(path, text)))
}
