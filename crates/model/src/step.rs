//! The result of a step, as a cache remembers it.

use serde::{Deserialize, Serialize};

use crate::Chain;

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The layers that the step added, usually one.
    pub added: Chain,
    /// When the step ran, RFC 3339: an image made of cached steps equals the image that was made
    /// when they ran.
    pub created: String,
    /// The step as progress shows it, for people who list the cache.
    pub description: String,
}
