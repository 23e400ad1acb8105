//! The statements that are made with an image: beside its manifest, or as files beside its files.

use std::time::SystemTime;

use humantime::format_rfc3339_seconds;
use serde_json::Value;
use xbuild_attest::sbom::SPDX_TYPE;
use xbuild_attest::{Facts, ProvenanceOptions, SlsaVersion, Statement, Subject, Times, image_purl};
use xbuild_image::{Assembled, AssembledImage, Attestation};
use xbuild_model::{Digest, Reference};
use xbuild_solve::BuiltImage;

use crate::build::Build;
use crate::error::ExportError;
use crate::events::{Event, Warning};
use crate::request::MetadataProvenance;
use crate::run::Solved;
use crate::sbom;

/// The name of the file of a bill of materials. **Source** — BuildKit, `docs/attestations/sbom.md`.
const SBOM_FILE: &str = "sbom.spdx.json";

/// Something that is stated about an image of a build.
pub(crate) struct Claim {
    /// The name of its file, in an output of files.
    pub(crate) file: String,
    /// Whether an output of files gets it.
    pub(crate) is_for_files: bool,
    predicate_type: &'static str,
    predicate: Value,
}

impl Claim {
    /// Returns the statement about these subjects.
    pub(crate) fn about(&self, subjects: Vec<Subject>) -> Statement {
        Statement::new(subjects, self.predicate_type, self.predicate.clone())
    }
}

/// The claims that a request asks for.
pub(crate) struct Claims<'a> {
    build: &'a Build,
    solved: &'a Solved,
    times: Option<Times>,
    /// The bill of materials of each image; none if nobody asks.
    sboms: Vec<Value>,
}

impl<'a> Claims<'a> {
    /// Ends the time that the build takes, and reads which packages the images have.
    ///
    /// **Errors** — a layer cannot be read.
    pub(crate) fn new(build: &'a Build, solved: &'a Solved) -> Result<Self, ExportError> {
        // With a fixed time the index, too, has the same digest each time.
        let times = solved.epoch.is_none().then(|| times(build));
        let images = if build.request.attestations.sbom { &*solved.images } else { &[] };
        let sboms = images.iter().map(|image| sbom(build, solved, image));
        Ok(Self { build, solved, times, sboms: sboms.collect::<Result<_, _>>()? })
    }

    /// Returns the claims about an image, by its number. `layers` are the descriptors of its layers, if
    /// it has a manifest.
    pub(crate) fn of(&self, number: usize, layers: Option<&AssembledImage>) -> Vec<Claim> {
        let request = &self.build.request.attestations;
        let mut claims = Vec::new();
        if let Some(document) = self.sboms.get(number) {
            let (file, is_for_files) = (SBOM_FILE.to_owned(), true);
            let predicate = document.clone();
            claims.push(Claim { file, is_for_files, predicate_type: SPDX_TYPE, predicate });
        }
        if let (Some(asked), Some(facts)) = (&request.provenance, self.solved.facts.get(number)) {
            let facts = self.whole(facts, layers);
            let (predicate_type, predicate) = facts.predicate(&asked.options);
            let (file, is_for_files) = (asked.file.clone(), !asked.inline_only);
            claims.push(Claim { file, is_for_files, predicate_type, predicate });
        }
        claims
    }

    /// Returns facts with the times, and with the descriptors of layers if there is a manifest.
    fn whole(&self, facts: &Facts, manifest: Option<&AssembledImage>) -> Facts {
        let times = self.times.clone();
        Facts { times, layers: manifest.map(descriptors).unwrap_or_default(), ..facts.clone() }
    }

    /// Returns the provenance of each image for a metadata file.
    ///
    /// **Source** — buildx, `build/provenance.go`: always version 0.2, of a build that tells all, but
    /// in the mode `min` without the members `buildConfig` and `metadata`.
    pub(crate) fn for_metadata(&self, assembled: &Assembled) -> Vec<Value> {
        let Some(mode) = self.build.request.attestations.for_metadata else { return Vec::new() };
        let asked = self.build.request.attestations.provenance.as_ref();
        let options = asked.map(|asked| asked.options.clone()).unwrap_or_default();
        let options = ProvenanceOptions { version: SlsaVersion::V02, is_max: true, ..options };
        let predicate = |(facts, image): (&Facts, &AssembledImage)| {
            let (_, mut predicate) = self.whole(facts, Some(image)).predicate(&options);
            if let (MetadataProvenance::Min, Some(members)) = (mode, predicate.as_object_mut()) {
                members.retain(|name, _| name != "buildConfig" && name != "metadata");
            }
            predicate
        };
        self.solved.facts.iter().zip(&assembled.images).map(predicate).collect()
    }

    /// Returns the statements about each of the assembled images, which are pushed or kept under these
    /// names.
    pub(crate) fn attestations(
        &self,
        assembled: &Assembled,
        names: &[Reference],
    ) -> Vec<Vec<Attestation>> {
        let attestation = |image: &AssembledImage, claim: Claim| {
            let statement = claim.about(subjects(image, names));
            let predicate_type = statement.predicate_type().to_owned();
            Attestation { predicate_type, bytes: statement.to_json() }
        };
        let about = |(number, image): (usize, &AssembledImage)| {
            let claims = self.of(number, Some(image)).into_iter();
            claims.map(|claim| attestation(image, claim)).collect()
        };
        assembled.images.iter().enumerate().map(about).collect()
    }
}

/// Returns the bill of materials of an image.
fn sbom(build: &Build, solved: &Solved, image: &BuiltImage) -> Result<Value, ExportError> {
    let inventory = sbom::inventory(&solved.engine, image).map_err(ExportError::Tree)?;
    for (path, why) in inventory.unread() {
        let (path, why) = (path.clone(), why.clone());
        let platform = image.platform.clone();
        build.events.event(Event::Warning(&Warning::Unread { platform, path, why }));
    }
    Ok(inventory.document(&sbom::described(image, solved.epoch)))
}

/// Returns the descriptors of an image's layers.
fn descriptors(image: &AssembledImage) -> Vec<Value> {
    // A descriptor always becomes an object.
    image.layers.iter().filter_map(|layer| serde_json::to_value(layer).ok()).collect()
}

/// Returns an image under each of its names. **Source** — BuildKit, `exporter/containerimage`.
fn subjects(image: &AssembledImage, names: &[Reference]) -> Vec<Subject> {
    let named = |name: &Reference| {
        let purl = image_purl(name, Some(&image.platform));
        Subject::new(purl.to_string(), &image.descriptor.digest)
    };
    names.iter().map(named).collect()
}

/// Returns when the build ran, and a name for it.
fn times(build: &Build) -> Times {
    let name = format!("{:?} {} {:?}", build.started, std::process::id(), build.request.tags);
    Times {
        invocation: Digest::of(name.as_bytes()).hex()[..32].to_owned(),
        started: format_rfc3339_seconds(build.started).to_string(),
        finished: format_rfc3339_seconds(SystemTime::now()).to_string(),
    }
}
