//! A writable root file system on top of a stack of layers, and the layer made from it.

use std::fs::{File, Permissions};
use std::io::{self, BufReader, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use xbuild_layer::{LayerError, LayerWriter, Meta, Tree};
use xbuild_model::records::{Owners, Records};
use xbuild_model::rootfs::{Overlay, RootFs};
use xbuild_model::seam::{Purpose, Workspace};
use xbuild_model::{Chain, DiffId, StepFailure};

use super::folders::{Lowers, pipe};
use super::joined::Part;
use super::new_layer;
use super::owners;
use super::scratch::Scratch;
use super::shared::Shared;
use crate::tasks::{DIFF, DiffRequest};
use crate::{EngineError, LayerSink};

/// Bytes taken from the pipe at a time.
const BUFFER: usize = 256 << 10;

/// A writable root file system. Its upper folder becomes the folder of the new layer and is never
/// copied.
pub(super) struct Writable {
    shared: Arc<Shared>,
    parent: Chain,
    dirs: Overlay,
    root: RootFs,
    /// The mount that [`Overlay::joined`] names.
    _part: Option<Arc<Part>>,
    /// The mode of the root folder before the command.
    root_mode: u32,
    /// The owner of the root folder before the command; `None` for this process's own id.
    root_owner: Option<(u32, u32)>,
    scratch: Scratch,
}

impl Writable {
    pub(super) fn prepare(shared: &Arc<Shared>, parent: &Chain) -> Result<Self, EngineError> {
        let Lowers { folders: lowers, root } = shared.lowers(parent)?;
        let scratch = Scratch::new(shared, "workspace")?;
        let (upper, work) = (scratch.content(), scratch.beside("work")?);
        let meta = Meta { xattrs: Vec::new(), ..root };
        let root_mode = meta.mode;
        // Id 0 of the namespace is this process's own id. If there is only one id, it is that one.
        let recorded = shared.namespace.owners()? == Owners::Recorded;
        let is_own = recorded || (meta.uid, meta.gid) == (0, 0);
        let root_owner = (!is_own).then_some((meta.uid, meta.gid));
        if is_own {
            let set = || -> io::Result<()> {
                std::fs::set_permissions(&upper, Permissions::from_mode(meta.mode))?;
                xbuild_files::Root::open(&upper)?.set_mtime(b"", meta.mtime)
            };
            set()
                .map_err(|source| EngineError::Io { action: "set up the upper folder", source })?;
        } else {
            shared.dress(&upper, vec![(Vec::new(), meta)])?;
        }
        let part = shared.parts.of(&lowers, &*shared.namespace, &shared.store);
        let joined = part.as_ref().map(|part| part.joined());
        let dirs = Overlay { lowers, joined, upper, work };
        let root = RootFs::Overlay(dirs.clone());
        let (shared, parent) = (shared.clone(), parent.clone());
        Ok(Self { shared, parent, dirs, root, _part: part, root_mode, root_owner, scratch })
    }

    fn finish(self, records: Records, purpose: Purpose) -> Result<DiffId, EngineError> {
        let _span = new_layer::span("diff").entered();
        let shared = &self.shared;
        let dirs = &self.dirs;
        let request = DiffRequest {
            upper: dirs.upper.clone(),
            lowers: dirs.lowers.clone(),
            joined: dirs.joined.clone(),
            root_mode: self.root_mode,
            root_owner: self.root_owner,
            skip: Vec::new(),
            records,
        };
        let below = match shared.namespace.owners()? {
            Owners::Real => None,
            Owners::Recorded => Some(shared.tree(&self.parent)?),
        };
        let (read, write) = pipe()?;
        let mut sink = shared.begin_layer(purpose, None)?;
        let task = shared.start(DIFF, &request, vec![write])?;
        let copied = copy(read, &mut sink, below.as_ref());
        // A layer that was cut short must never be finished, so the result of the task decides.
        match (copied, task.wait()) {
            (Ok(()), Ok(_)) => {}
            // The task stopped because nobody read on.
            (Err(error @ LayerError::Write { .. }), _) | (Err(error), Ok(_)) => {
                return Err(error.into());
            }
            (_, Err(failure)) => return Err(failure.into()),
        }
        let layer = shared.end_layer(purpose, sink.finish()?)?;
        // overlayfs copies folders up with the metadata of the layers below.
        shared.publish_new(&self.scratch, &self.parent, &layer, true)?;
        Ok(layer)
    }
}

/// Copies the layer from the task to the sink. Where owners are recorded, files get the owners that
/// they have `below`.
fn copy(pipe: OwnedFd, sink: &mut LayerSink<'_>, below: Option<&Tree>) -> Result<(), LayerError> {
    let mut pipe = BufReader::with_capacity(BUFFER, File::from(pipe));
    if let Some(tree) = below {
        let mut out = LayerWriter::new(sink);
        owners::restore(&mut pipe, tree, &mut out)?;
        out.finish()?;
        return Ok(());
    }
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = match pipe.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(LayerError::Read { source }),
        };
        io::Write::write_all(sink, &buffer[..count])
            .map_err(|source| LayerError::Write { source })?;
    }
}

impl Workspace for Writable {
    fn root(&self) -> &RootFs {
        &self.root
    }

    fn commit(self: Box<Self>, records: Records, purpose: Purpose) -> Result<DiffId, StepFailure> {
        Ok(self.finish(records, purpose)?)
    }
}
