//! Provenance: how an image was built, and from what.
//!
//! **Source** — SLSA 1.1 § Provenance, SLSA 0.2 § Provenance; BuildKit,
//! `docs/attestations/slsa-definitions.md`, for the members that those leave to the builder.

mod facts;
mod told;
mod v02;
mod v1;

use serde_json::Value;
use told::Told;

pub use facts::{
    Config, DigestSet, Facts, Lines, Material, Needed, ProvenanceOptions, SlsaVersion, SourceFile,
    Step, Times,
};

impl Facts {
    /// Returns the type of the predicate, and the predicate.
    pub fn predicate(&self, options: &ProvenanceOptions) -> (&'static str, Value) {
        let told = Told::of(self, options);
        let (kind, predicate) = match options.version {
            SlsaVersion::V1 => (v1::TYPE, serde_json::to_value(v1::predicate(self, &told))),
            SlsaVersion::V02 => (v02::TYPE, serde_json::to_value(v02::predicate(self, &told))),
        };
        (kind, predicate.expect("a predicate has string keys only"))
    }
}

#[cfg(test)]
mod tests;
