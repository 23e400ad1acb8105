//! Statements about images: how one was built (SLSA provenance) and what is in it (SPDX), as in-toto
//! attestations.
//!
//! Everything is a plain value in and JSON out: nothing here reads a file, a clock or a network.
//! Sources: in-toto Attestation Framework, `spec/v1`; SLSA 1.1 and 0.2 § Provenance; BuildKit
//! (2026-08), `docs/attestations`, whose members and names are used so that its readers can read the
//! statements; the package URL specification.
//!
//! | module | owns |
//! | --- | --- |
//! | `statement` | [`Statement`]: what is stated, and about which images or files |
//! | `provenance` | [`Facts`]: a build, and its provenance in the form of either version |
//! | [`sbom`] | packages of an image, read from the files of package managers, and their document |
//! | `purl` | package URLs |

mod provenance;
mod purl;
pub mod sbom;
mod statement;

pub use provenance::{
    Config, DigestSet, Facts, Lines, Material, Needed, ProvenanceOptions, SlsaVersion, SourceFile,
    Step, Times,
};
pub use purl::{Purl, image_purl};
pub use statement::{Statement, Subject};
