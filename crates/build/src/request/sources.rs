//! Rules for what a build takes from elsewhere.

use serde::{Deserialize, Serialize};

use crate::sources::{Lock, Policy};

/// Rules for what a build takes from elsewhere. Policies come first, then the lock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRules {
    /// Policies.
    pub policies: Vec<Policy>,
    /// The versions to use.
    pub lock: Option<Lock>,
    /// Whether everything must be in the lock.
    pub is_locked: bool,
}
