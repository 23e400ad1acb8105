//! The facts about owners before a step.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use xbuild_model::owner::{IdCounts, Owner, OwnersBelow};
use xbuild_model::rootfs::RootFs;
use xbuild_model::run::{ReadySource, Security};

use super::caches::Cache;
use crate::error::RunError;
use crate::idmap::Ids;
use crate::protocol::StepRequest;

/// The facts about owners before a step.
#[derive(Debug)]
pub(crate) struct Ground {
    /// The owners of the layers below.
    pub(crate) below: OwnersBelow,
    /// Files of mounts that can have no attribute: absolute paths in the step.
    pub(super) mounted: Vec<(Vec<u8>, Owner)>,
    /// The folder that takes the changes of an overlay mount.
    pub(super) upper: Option<OwnedFd>,
    pub(super) caches: Vec<Cache>,
    /// Whether the step can have several mount namespaces.
    pub(crate) roots_vary: bool,
}

impl Ground {
    /// Returns the facts of a step in which no owner is recorded.
    pub(crate) fn nothing() -> Self {
        let counts = Some(IdCounts { users: u32::MAX, groups: u32::MAX });
        let below = OwnersBelow { counts, ..OwnersBelow::default() };
        let (mounted, caches) = (Vec::new(), Vec::new());
        Self { below, mounted, upper: None, caches, roots_vary: false }
    }

    /// Reads the facts about the layers below, where `ids` are one or owners lie beyond the range.
    pub(crate) fn below(ids: Ids, request: &StepRequest) -> Result<Option<OwnersBelow>, RunError> {
        Ok(Some(match std::fs::read(request.root.owners()) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| RunError::Invalid {
                what: "list of owners".to_owned(),
                value: error.to_string(),
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => match ids {
                Ids::Single => OwnersBelow::default(),
                Ids::Range => return Ok(None),
            },
            Err(error) => return Err(RunError::setup("read the owners of files")(error)),
        }))
    }

    /// Reads the facts, where some owners are recorded. Nobody but the supervisor may: it locks cache mounts.
    pub(crate) fn read(ids: Ids, request: &StepRequest) -> Result<Option<Self>, RunError> {
        let Some(below) = Self::below(ids, request)? else { return Ok(None) };
        let roots_vary = request.run.security == Security::Insecure;
        let upper = match &request.root {
            RootFs::Overlay(dirs) => {
                let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let opened = rustix::fs::open(&dirs.upper, folder, Mode::empty());
                Some(opened.map_err(RunError::setup("open the folder of changes"))?)
            }
            RootFs::Folder(_) => None,
        };
        let mounted = request.mounts.iter().flat_map(|mount| {
            let at = |(path, owner): &(Vec<u8>, Owner)| {
                let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
                ([mount.target.as_bytes(), slash, path].concat(), *owner)
            };
            mount.special.iter().map(at)
        });
        let given = request.mounts.iter().filter_map(|mount| match mount.source {
            ReadySource::Secret { uid, gid, .. } | ReadySource::Socket { uid, gid, .. } => {
                Some((mount.target.as_bytes().to_vec(), Owner { uid, gid }))
            }
            _ => None,
        });
        let mounted = mounted.chain(given).collect();
        let caches = Cache::open_all(&request.mounts)?;
        Ok(Some(Self { below, mounted, upper, caches, roots_vary }))
    }
}
