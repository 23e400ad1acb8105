//! The result of a build: digests, on standard output and in files.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use xbuild_build::Outcome;
use xbuild_model::{Descriptor, Reference};

use crate::console::Console;
use crate::report::Problem;

/// The annotation of an attestation manifest with the digest of its image.
const ABOUT: &str = "vnd.docker.reference.digest";

/// A finished build.
#[derive(Debug)]
pub(crate) struct BuildResult<'a>(pub(crate) &'a Outcome);

impl BuildResult<'_> {
    /// Writes `--metadata-file` and `--iidfile`.
    pub(crate) fn write_files(
        &self,
        metadata: Option<&Path>,
        iid: Option<&Path>,
    ) -> Result<(), Problem> {
        if let Some(path) = metadata {
            let text = format!("{:#}\n", self.metadata());
            fs::write(path, text).map_err(|error| Problem::file("write", path, &error))?;
        }
        if let Some(path) = iid {
            let digest = self.0.assembled.root().0.digest.to_string();
            fs::write(path, digest).map_err(|error| Problem::file("write", path, &error))?;
        }
        Ok(())
    }

    /// Writes a line `NAME@DIGEST` for each name of the image, with or without its tag.
    pub(crate) fn write_names(&self, path: &Path, has_tags: bool) -> Result<(), Problem> {
        let digest = &self.0.assembled.root().0.digest;
        let line = |name: &Reference| match has_tags {
            true => format!("{name}@{digest}\n"),
            false => format!("{}\n", name.with_digest(digest)),
        };
        let text: String = self.0.names.iter().map(line).collect();
        fs::write(path, text).map_err(|error| Problem::file("write", path, &error))
    }

    /// Prints the digests: of the root alone if `quiet`, else of the platforms, too. They go to
    /// standard error if standard output has the image itself.
    pub(crate) fn print(
        &self,
        console: &Console,
        quiet: bool,
        to_stdout: bool,
    ) -> Result<(), Problem> {
        self.print_named(console, None, quiet, to_stdout)
    }

    /// Does the same, below the name of one of several images.
    pub(crate) fn print_named(
        &self,
        console: &Console,
        name: Option<&str>,
        quiet: bool,
        to_stdout: bool,
    ) -> Result<(), Problem> {
        let digests =
            if quiet { format!("{}\n", self.0.assembled.root().0.digest) } else { self.digests() };
        let text = name.map_or_else(String::new, |name| format!("{name}\n")) + &digests;
        match to_stdout {
            true => {
                console.log(&text);
                console.result(text.as_bytes())
            }
            false => {
                console.error_text(&text);
                Ok(())
            }
        }
    }

    fn digests(&self) -> String {
        let mut text = String::new();
        if let Some(index) = &self.0.assembled.index {
            let _ = writeln!(text, "{:<16} {}", "index", index.descriptor.digest);
        }
        for image in &self.0.assembled.images {
            let platform = image.platform.to_string();
            let _ = writeln!(text, "{platform:<16} {}", image.descriptor.digest);
        }
        for name in &self.0.names {
            let what = if self.0.is_pushed { "pushed" } else { "named" };
            let _ = writeln!(text, "{what:<16} {name}");
        }
        for tag in &self.0.platform_names {
            let what = if self.0.is_pushed { "pushed" } else { "named" };
            let _ = writeln!(text, "{what:<16} {} ({})", tag.name, tag.platform);
        }
        text
    }

    /// Returns the members that buildx writes, and the digests of each platform.
    ///
    /// **Source** — `docker buildx build` reference, § --metadata-file.
    pub(crate) fn metadata(&self) -> Value {
        let root = self.0.assembled.root().0;
        let mut map = Map::new();
        map.insert("containerimage.digest".into(), json!(root.digest));
        map.insert("containerimage.descriptor".into(), descriptor(root));
        if let ([image], None) = (&self.0.assembled.images[..], &self.0.assembled.index) {
            map.insert(
                "containerimage.config.digest".into(),
                json!(image.config_descriptor.digest),
            );
        }
        let platforms = self.0.assembled.images.iter().map(|image| {
            let mut entry = json!({
                "platform": image.platform.to_string(),
                "digest": image.descriptor.digest,
                "config.digest": image.config_descriptor.digest,
                "descriptor": descriptor(&image.descriptor),
            });
            let about = self.0.assembled.attestations.iter().map(|one| &one.descriptor);
            let subject = Some(image.descriptor.digest.to_string());
            let mut about = about.filter(|one| one.annotations.get(ABOUT).cloned() == subject);
            if let Some(attestation) = about.next() {
                entry["attestation"] = descriptor(attestation);
            }
            let own = self.0.platform_names.iter().filter(|tag| tag.platform == image.platform);
            let own: Vec<String> = own.map(|tag| tag.name.to_string()).collect();
            if !own.is_empty() {
                entry["image.name"] = json!(own.join(","));
            }
            entry
        });
        map.insert("containerimage.platforms".into(), platforms.collect());
        // buildx names the platform if there are several.
        for (image, provenance) in self.0.assembled.images.iter().zip(&self.0.provenance) {
            let name = match self.0.provenance.len() {
                1 => "buildx.build.provenance".to_owned(),
                _ => format!("buildx.build.provenance/{}", image.platform),
            };
            map.insert(name, provenance.clone());
        }
        if !self.0.names.is_empty() {
            let names: Vec<String> = self.0.names.iter().map(ToString::to_string).collect();
            map.insert("image.name".into(), json!(names.join(",")));
        }
        Value::Object(map)
    }
}

fn descriptor(descriptor: &Descriptor) -> Value {
    // This keeps the order of the specification. A descriptor always becomes an object.
    serde_json::to_value(descriptor).unwrap_or(Value::Null)
}
