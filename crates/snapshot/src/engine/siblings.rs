//! Engines of builds that run at the same time in one process.

use std::fmt;
use std::sync::Arc;

use xbuild_model::DiffId;
use xbuild_store::Store;

use super::packer::Packer;
use super::turns::KeyedLocks;

/// What engines on one [`Store`] share, so that a layer that one of them makes is there for the others
/// while it is compressed, and a layer that several need is read and unpacked once. Clones are handles
/// of the same one.
#[derive(Clone)]
pub struct Siblings {
    pub(super) packer: Arc<Packer>,
    /// A layer is locked while it is read or unpacked. Others that need it wait for the result.
    pub(super) busy: Arc<KeyedLocks<DiffId>>,
}

impl Siblings {
    /// Returns a value for the engines on this store.
    pub fn new(store: &Arc<Store>) -> Self {
        Self { packer: Arc::new(Packer::new(Arc::clone(store))), busy: Arc::default() }
    }
}

impl fmt::Debug for Siblings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Siblings").finish_non_exhaustive()
    }
}
