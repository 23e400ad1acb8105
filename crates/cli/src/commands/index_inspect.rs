//! Showing an index: a table, the document itself, or a template of Go.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use xbuild_attest::sbom::SPDX_TYPE;
use xbuild_build::{Events, Machine, Shelf};
use xbuild_image::{FoundStatement, Inspection};
use xbuild_model::{Descriptor, Platform, Reference};
use xbuild_wording::hints;

use crate::console::Console;
use crate::go_template;
use crate::registry_args::RegistryArgs;
use crate::report::{Problem, printable};
use crate::store_args::StoreArgs;
use crate::values::shell::shell_word;

/// The arguments of `xbuild imagetools inspect` and `xbuild index inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// The image or index: a name in a registry (--local: in the store), or oci-layout://DIR with :TAG or
    /// @DIGEST
    #[arg(value_name = "NAME")]
    name: String,
    /// Print the document as it is, byte for byte
    #[arg(long, conflicts_with = "format")]
    raw: bool,
    /// Print a template of Go: {{json .}}, {{json .Manifest}}, {{json .Image}}, {{.Manifest.Digest}},
    /// {{index .Image "linux/arm64"}}, {{json .Provenance}}, {{json .SBOM}}
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// The index is one of the store
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    registries: RegistryArgs,
    #[command(flatten)]
    store: StoreArgs,
}

impl InspectArgs {
    /// Shows an image or index.
    pub(super) fn run(&self, console: &Arc<Console>) -> Result<(), Problem> {
        let template = self.format.as_deref().map(go_template::parse).transpose();
        let template = template.map_err(|reason| {
            Problem::command_line(format!("--format: {reason}"))
                .with_hint(hints::everything_as_json())
        })?;
        let machine = self.registries.machine(self.store.root.as_deref())?;
        let events = Arc::clone(console) as Arc<dyn Events>;
        // A name of a registry is not looked up in the store.
        let name = match self.local || self.name.contains("://") {
            true => self.name.clone(),
            false => format!("docker://{}", self.name),
        };
        let found = xbuild_build::inspect(&machine, &name, None, &events)
            .map_err(|error| self.with_stored(error.into(), &machine, &events))?;
        if self.raw {
            return console.result(&found.bytes);
        }
        let text = match template {
            Some(template) => {
                let mut value = value(&found, &self.name);
                if template.shows_statements() {
                    let stated = xbuild_build::statements(&machine, &name, &found, &events)?;
                    add_statements(&mut value, &found, &stated);
                }
                let text = template.render(&value);
                text.map_err(|reason| Problem::command_line(format!("--format: {reason}")))? + "\n"
            }
            None => table(&found, &self.name),
        };
        console.result(text.as_bytes())
    }
}

impl InspectArgs {
    /// Adds to the error of a registry that the store has an image of that name. It is not shown instead:
    /// scripts ask this way whether a registry has a tag.
    fn with_stored(
        &self,
        problem: Problem,
        machine: &Machine,
        events: &Arc<dyn Events>,
    ) -> Problem {
        let is_stored = || {
            let name: Reference = self.name.parse().ok()?;
            Shelf::existing_store(machine, events).ok()??.has(&name).ok().filter(|has| *has)
        };
        match is_stored() {
            Some(_) if !self.local => {
                problem.and_hint(hints::image_is_in_store(shell_word(&self.name)))
            }
            _ => problem,
        }
    }
}

/// Returns what templates see. **Source** — `docker buildx imagetools inspect` reference, § --format.
fn value(found: &Inspection, name: &str) -> Value {
    let mut manifest = match &found.index {
        Some(_) => serde_json::from_slice(&found.bytes).unwrap_or_default(),
        None => Map::new(),
    };
    manifest.insert("mediaType".to_owned(), json!(found.root.media_type));
    manifest.insert("digest".to_owned(), json!(found.root.digest));
    manifest.insert("size".to_owned(), json!(found.root.size));
    let configs = found.images.iter().filter_map(|image| {
        let config = image.config.as_ref()?;
        Some((image.platform()?.to_string(), json!(config)))
    });
    let mut configs: Map<String, Value> = configs.collect();
    // buildx names the platform only where there are several.
    let image = match configs.len() {
        1 => configs.values_mut().next().map(Value::take).unwrap_or_default(),
        _ => Value::Object(configs),
    };
    json!({"name": name, "manifest": manifest, "image": image})
}

/// Adds `Provenance` and `SBOM`: those of the image if there is one, else by platform.
///
/// **Source** — `docker buildx imagetools inspect` reference, § --format.
fn add_statements(value: &mut Value, found: &Inspection, stated: &[FoundStatement]) {
    let (mut provenance, mut sbom) = (Map::new(), Map::new());
    let images: Vec<_> = found.images.iter().filter(|image| image.config.is_some()).collect();
    for image in &images {
        let platform = image.descriptor.platform.as_ref().map(Platform::of_descriptor);
        let platform = platform.map(|platform| platform.to_string()).unwrap_or_default();
        let digest = image.descriptor.digest.to_string();
        for statement in stated.iter().filter(|statement| statement.about == digest) {
            let statement: Value = serde_json::from_slice(&statement.bytes).unwrap_or_default();
            let predicate = statement["predicate"].clone();
            let kind = statement["predicateType"].as_str().unwrap_or_default();
            if kind.starts_with("https://slsa.dev/provenance/") {
                provenance.insert(platform.clone(), json!({ "SLSA": predicate }));
            } else if kind == SPDX_TYPE {
                sbom.insert(platform.clone(), json!({ "SPDX": predicate }));
            }
        }
    }
    for (name, by_platform) in [("Provenance", provenance), ("SBOM", sbom)] {
        let only = by_platform.values().next().filter(|_| images.len() == 1).cloned();
        value[name] = only.unwrap_or(Value::Object(by_platform));
    }
}

/// Returns a table. **Source** — buildx, `util/imagetools/printers.go`.
fn table(found: &Inspection, name: &str) -> String {
    let mut text = String::new();
    for (what, value) in [
        ("Name", name),
        ("MediaType", &found.root.media_type),
        ("Digest", &found.root.digest.to_string()),
    ] {
        let _ = writeln!(text, "{:<10} {value}", format!("{what}:"));
    }
    let entries = found.index.as_ref().map(|index| &index.manifests[..]).unwrap_or_default();
    if !entries.is_empty() {
        text.push_str("\nManifests:\n");
    }
    let bare = name.split('@').next().unwrap_or(name);
    for (number, entry) in entries.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        let name = ("Name", format!("{bare}@{}", entry.digest));
        let lines = [name, ("MediaType", entry.media_type.clone())].into_iter();
        for (what, value) in lines.chain(platform(entry)) {
            let _ = writeln!(text, "  {:<12} {value}", format!("{what}:"));
        }
        if !entry.annotations.is_empty() {
            text.push_str("  Annotations:\n");
        }
        let longest = entry.annotations.keys().map(String::len).max().unwrap_or(0) + 1;
        for (name, value) in &entry.annotations {
            let _ = writeln!(text, "    {:<longest$} {value}", format!("{name}:"));
        }
    }
    printable(&text)
}

/// Returns the lines about the platform of an entry.
fn platform(entry: &Descriptor) -> Vec<(&'static str, String)> {
    let Some(platform) = &entry.platform else { return Vec::new() };
    let mut lines = vec![("Platform", Platform::of_descriptor(platform).to_string())];
    lines.extend(platform.os_version.iter().map(|version| ("OSVersion", version.clone())));
    if !platform.os_features.is_empty() {
        lines.push(("OSFeatures", platform.os_features.join(", ")));
    }
    lines
}
