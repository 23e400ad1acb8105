//! The document of SPDX.
//!
//! **Source** — SPDX 2.3, § 6 to 8, § 11, and its JSON schema.

use serde_json::{Value, json};
use xbuild_model::Digest;

use super::inventory::{FilePlace, Inventory};
use super::package::Package;

/// The type of the predicate. **Source** — in-toto Attestation Framework, `spec/predicates/spdx.md`.
pub const SPDX_TYPE: &str = "https://spdx.dev/Document";

/// The facts about the image itself in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The platform of the image.
    pub platform: String,
    /// A digest of all that the image has, from which its name is made.
    pub identity: Digest,
    /// The time of the document: RFC 3339, whole seconds, `Z`.
    pub created: String,
    /// The name and version of the program that made it.
    pub creator: String,
}

impl Inventory {
    /// Returns the document. The same arguments give the same document.
    pub fn document(&self, image: &Described) -> Value {
        const DOCUMENT: &str = "SPDXRef-DOCUMENT";
        const IMAGE: &str = "SPDXRef-Image";
        let name = format!("{} {}", image.platform, image.identity.short());
        let mut packages = vec![root(IMAGE, &name, image)];
        let relation = |from: &str, kind: &str, to: &str| {
            json!({
                "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to,
            })
        };
        let mut relationships = vec![relation(DOCUMENT, "DESCRIBES", IMAGE)];
        let listed = self.packages.iter().map(|(purl, (package, places))| {
            let id = format!("SPDXRef-Package-{}", &Digest::of(purl.as_bytes()).hex()[..16]);
            (id.clone(), entry(&id, purl, package, places))
        });
        for (id, package) in self.system_entry().into_iter().chain(listed) {
            relationships.push(relation(IMAGE, "CONTAINS", &id));
            packages.push(package);
        }
        let contents = json!([&image.identity, &packages]).to_string();
        let mut document = json!({
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": DOCUMENT,
            "name": name,
            "documentNamespace":
                format!("https://spdx.org/spdxdocs/xbuild-{}", Digest::of(contents.as_bytes()).hex()),
            "creationInfo": {
                "created": image.created,
                "creators": [format!("Tool: {}", image.creator)],
            },
            "packages": packages,
            "relationships": relationships,
        });
        if !self.unread.is_empty() {
            let unread = self.unread.iter().map(|(path, why)| format!("{path}: {why}"));
            let unread = unread.collect::<Vec<_>>().join("; ");
            document["comment"] = json!(format!("Packages are missing. {unread}"));
        }
        document
    }

    /// Returns the identifier and the entry of the system, if it has a name.
    fn system_entry(&self) -> Option<(String, Value)> {
        let id = "SPDXRef-OperatingSystem".to_owned();
        let system = Some(&self.system).filter(|system| !system.id.is_empty())?;
        let mut entry = bare(&id, &system.id);
        entry["primaryPackagePurpose"] = json!("OPERATING-SYSTEM");
        if !system.version.is_empty() {
            entry["versionInfo"] = json!(system.version);
        }
        Some((id, entry))
    }
}

/// Returns an entry with no more than must be there. Licences and origins are nothing that the files
/// of package managers prove.
fn bare(id: &str, name: &str) -> Value {
    json!({
        "SPDXID": id,
        "name": name,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
    })
}

fn root(id: &str, name: &str, image: &Described) -> Value {
    let mut entry = bare(id, name);
    entry["versionInfo"] = json!(image.identity.to_string());
    entry["primaryPackagePurpose"] = json!("CONTAINER");
    entry
}

fn entry(id: &str, purl: &str, package: &Package, places: &[FilePlace]) -> Value {
    let mut entry = bare(id, &package.name);
    if !package.version.is_empty() {
        entry["versionInfo"] = json!(package.version);
    }
    if let Some(license) = &package.license {
        entry["licenseComments"] = json!(format!("Its package says: {license}"));
    }
    let place = |place: &FilePlace| format!("{} in layer {}", place.path, place.layer);
    let places = places.iter().map(place).collect::<Vec<_>>().join(", ");
    entry["sourceInfo"] = json!(format!("found in {places}"));
    entry["externalRefs"] = json!([{
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": purl,
    }]);
    entry
}
