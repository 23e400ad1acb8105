//! Edits of indexes: entries are put together, filtered, annotated and removed. Manifests and images
//! stay as they are, so their digests do, too.
//!
//! **Source** — OCI image-spec `image-index.md`; Docker's manifest list, schema 2.

use std::collections::{BTreeMap, HashSet};

use oci_spec::image::SCHEMA_VERSION;
use serde::Serialize;
use serde_json::{Map, Value};
use xbuild_model::manifest::{DOCKER_INDEX, DOCKER_MANIFEST, DescriptorPlatform, OCI_INDEX};
use xbuild_model::{Descriptor, Digest, Index, Platform};

use crate::attestation::SUBJECT;
use crate::document::MAX_MANIFEST;
use crate::error::EditError;
use crate::resolve::is_attestation;

/// The members of an index that an edit sets itself.
const KNOWN: &[&str] = &["schemaVersion", "mediaType", "manifests", "annotations"];

/// What a name stands for, as a part of an index.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexSource {
    /// The name, for messages.
    pub name: String,
    /// The manifest or index; a manifest with its platform, if it has one.
    pub root: Descriptor,
    /// The bytes of that document.
    pub bytes: Vec<u8>,
    /// The index; `None` for a manifest.
    pub index: Option<Index>,
}

impl IndexSource {
    /// Returns the entries that an index gets from it.
    fn entries(&self) -> Result<Vec<Descriptor>, EditError> {
        match &self.index {
            None => Ok(vec![self.root.clone()]),
            Some(index) if index.unreadable.is_empty() => Ok(index.manifests.clone()),
            Some(index) => {
                let (name, count) = (self.name.clone(), index.unreadable.len());
                Err(EditError::Unreadable { name, count })
            }
        }
    }
}

/// The name of an entry of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryName {
    /// The digest of its manifest.
    Digest(Digest),
    /// Its platform. Attestations have none.
    Platform(Platform),
}

impl std::fmt::Display for EntryName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Digest(digest) => digest.fmt(f),
            Self::Platform(platform) => platform.fmt(f),
        }
    }
}

/// A change of an entry. `None` and empty members change nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryChange {
    /// The operating system.
    pub os: Option<String>,
    /// The architecture.
    pub architecture: Option<String>,
    /// The variant of the architecture; empty for none.
    pub variant: Option<String>,
    /// The version of the operating system.
    pub os_version: Option<String>,
    /// The features of the operating system.
    pub os_features: Vec<String>,
    /// Annotations, added to those that the entry has.
    pub annotations: BTreeMap<String, String>,
}

impl EntryChange {
    /// Changes an entry.
    pub fn apply(&self, entry: &mut Descriptor) {
        let mut platform = entry.platform.clone().unwrap_or_default();
        let EntryChange { os, architecture, variant, os_version, os_features, annotations } = self;
        let set = |to: &mut String, value: &Option<String>| {
            to.clone_from(value.as_ref().unwrap_or(&to.clone()));
        };
        set(&mut platform.os, os);
        set(&mut platform.architecture, architecture);
        if let Some(variant) = variant {
            platform.variant = Some(variant.clone()).filter(|variant| !variant.is_empty());
        }
        platform.os_version = os_version.clone().or(platform.os_version);
        if !os_features.is_empty() {
            platform.os_features.clone_from(os_features);
        }
        if platform != DescriptorPlatform::default() {
            entry.platform = Some(platform);
        }
        entry.annotations.extend(annotations.clone());
    }
}

/// An annotation of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryAnnotation {
    /// The only platform that it is for; `None` for all images.
    pub platform: Option<Platform>,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// An index that is being made.
///
/// ```
/// use xbuild_image::{Draft, IndexSource};
/// use xbuild_model::Descriptor;
///
/// let mut root = Descriptor::of("application/vnd.oci.image.manifest.v1+json", b"{}");
/// root.platform = Some("linux/arm64".parse::<xbuild_model::Platform>()?.to_descriptor());
/// let source = IndexSource { name: "a".into(), root, bytes: b"{}".into(), index: None };
/// let mut draft = Draft::default();
/// draft.add(&source)?;
/// let (index, bytes) = draft.finish()?;
/// assert_eq!(index, Descriptor::of("application/vnd.oci.image.index.v1+json", &bytes));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Draft {
    entries: Vec<Entry>,
    annotations: BTreeMap<String, String>,
    /// Members of the index that was edited, and that nobody here knows.
    other: Map<String, Value>,
    /// The names of the sources.
    names: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    descriptor: Descriptor,
    /// The number of the source; `None` for the index that is edited.
    from: Option<usize>,
}

impl Draft {
    /// Returns an index without entries, which is for stores only: see [`Draft::finish`].
    pub fn empty() -> (Descriptor, Vec<u8>) {
        Self::default().written(OCI_INDEX)
    }

    /// Returns the entries and annotations of an existing index; of a manifest, an index of it alone.
    pub fn edit(existing: &IndexSource) -> Result<Self, EditError> {
        let entry = |descriptor| Entry { descriptor, from: None };
        let entries = existing.entries()?.into_iter().map(entry).collect();
        let mut draft = Self { entries, ..Self::default() };
        if let Some(index) = &existing.index {
            draft.annotations = index.annotations.clone();
            let members: Map<String, Value> =
                serde_json::from_slice(&existing.bytes).unwrap_or_default();
            draft.other =
                members.into_iter().filter(|(name, _)| !KNOWN.contains(&name.as_str())).collect();
        }
        Ok(draft)
    }

    /// Adds a manifest, or the entries of an index. A manifest that is there already gets platform
    /// and annotations of the new entry. An image takes the place of one for the same platform in the
    /// index that is edited; the attestations of that one go.
    ///
    /// **Errors** — [`EditError::SamePlatform`] if another source has another image for a platform.
    pub fn add(&mut self, source: &IndexSource) -> Result<(), EditError> {
        let number = self.names.len();
        self.names.push(source.name.clone());
        for descriptor in source.entries()? {
            self.add_entry(descriptor, number)?;
        }
        self.drop_orphans();
        Ok(())
    }

    fn add_entry(&mut self, descriptor: Descriptor, number: usize) -> Result<(), EditError> {
        let same = self.entries.iter_mut().find(|e| e.descriptor.digest == descriptor.digest);
        if let Some(Entry { descriptor: known, .. }) = same {
            known.platform = descriptor.platform.or(known.platform.take());
            known.annotations.extend(descriptor.annotations);
            return Ok(());
        }
        let entry = Entry { descriptor, from: Some(number) };
        let Some(platform) = image_platform(&entry.descriptor) else {
            self.entries.push(entry);
            return Ok(());
        };
        let is_rival = |other: &Entry| {
            other.from != Some(number)
                && image_platform(&other.descriptor) == Some(platform.clone())
        };
        if let Some(rival) = self.entries.iter().find(|other| is_rival(other))
            && let Some(first) = rival.from
        {
            let (first, second) = (self.names[first].clone(), self.names[number].clone());
            let platform = Box::new(platform.0);
            return Err(EditError::SamePlatform { platform, first, second });
        }
        match self.entries.iter().position(is_rival) {
            Some(place) => {
                self.entries[place] = entry;
                self.entries.retain(|other| !is_rival(other));
            }
            None => self.entries.push(entry),
        }
        Ok(())
    }

    /// Keeps the images for these platforms, and their attestations.
    ///
    /// **Errors** — [`EditError::NoEntry`] for a platform without an image.
    pub fn keep(&mut self, platforms: &[Platform]) -> Result<(), EditError> {
        for platform in platforms {
            self.find(&EntryName::Platform(platform.clone()))?;
        }
        let is_kept = |entry: &Descriptor| {
            is_attestation(entry)
                || image_platform(entry).is_some_and(|(platform, ..)| platforms.contains(&platform))
        };
        self.entries.retain(|entry| is_kept(&entry.descriptor));
        self.drop_orphans();
        Ok(())
    }

    /// Removes entries, and their attestations.
    ///
    /// **Errors** — [`EditError::NoEntry`].
    pub fn remove(&mut self, name: &EntryName) -> Result<(), EditError> {
        let found: HashSet<usize> = self.find(name)?.into_iter().collect();
        let mut place = 0..;
        self.entries.retain(|_| !place.next().is_some_and(|place| found.contains(&place)));
        self.drop_orphans();
        Ok(())
    }

    /// Changes an entry.
    ///
    /// **Errors** — [`EditError::NoEntry`]; [`EditError::SeveralEntries`] if the platform is that of
    /// several.
    pub fn change(&mut self, name: &EntryName, change: &EntryChange) -> Result<(), EditError> {
        let place = match self.find(name)?[..] {
            [place] => place,
            ref places => {
                let digest = |place: &usize| self.entries[*place].descriptor.digest.to_string();
                let digests = places.iter().map(digest).collect::<Vec<_>>().join(", ");
                return Err(EditError::SeveralEntries { entry: name.to_string(), digests });
            }
        };
        change.apply(&mut self.entries[place].descriptor);
        Ok(())
    }

    /// Adds annotations of the index itself.
    pub fn annotate(&mut self, annotations: &BTreeMap<String, String>) {
        self.annotations.extend(annotations.clone());
    }

    /// Adds an annotation to the entries of images.
    ///
    /// **Errors** — [`EditError::NoEntry`] if it is for a platform without an image.
    pub fn annotate_entries(&mut self, annotation: &EntryAnnotation) -> Result<(), EditError> {
        let EntryAnnotation { platform, name, value } = annotation;
        if let Some(platform) = platform {
            self.find(&EntryName::Platform(platform.clone()))?;
        }
        for Entry { descriptor, .. } in &mut self.entries {
            let own = image_platform(descriptor).map(|(own, ..)| own);
            let is_meant = match platform {
                Some(platform) => own.as_ref() == Some(platform),
                None => !is_attestation(descriptor),
            };
            if is_meant {
                descriptor.annotations.insert(name.clone(), value.clone());
            }
        }
        Ok(())
    }

    /// Returns the index: Docker's manifest list if all images are Docker's and nothing has an
    /// annotation, for which Docker's has no place; else OCI's.
    ///
    /// **Errors** — [`EditError::Empty`], [`EditError::TooLarge`].
    pub fn finish(self) -> Result<(Descriptor, Vec<u8>), EditError> {
        if self.entries.is_empty() {
            return Err(EditError::Empty);
        }
        let is_docker = |Entry { descriptor, .. }: &Entry| {
            descriptor.media_type == DOCKER_MANIFEST && descriptor.annotations.is_empty()
        };
        let is_docker = self.entries.iter().all(is_docker)
            && self.annotations.is_empty()
            && self.other.is_empty();
        self.checked(if is_docker { DOCKER_INDEX } else { OCI_INDEX })
    }

    /// Returns the index as [`Draft::finish`] does; without entries an empty one, which is for stores: a
    /// list there may be filled again.
    ///
    /// **Errors** — [`EditError::TooLarge`].
    pub fn finish_list(self) -> Result<(Descriptor, Vec<u8>), EditError> {
        match self.entries.is_empty() {
            true => self.checked(OCI_INDEX),
            false => self.finish(),
        }
    }

    fn checked(self, media_type: &str) -> Result<(Descriptor, Vec<u8>), EditError> {
        let (descriptor, bytes) = self.written(media_type);
        let size = bytes.len() as u64;
        if size > MAX_MANIFEST {
            return Err(EditError::TooLarge { size, limit: MAX_MANIFEST });
        }
        Ok((descriptor, bytes))
    }

    fn written(self, media_type: &str) -> (Descriptor, Vec<u8>) {
        let manifests: Vec<Descriptor> = self.entries.into_iter().map(|e| e.descriptor).collect();
        let bytes = serde_json::to_vec(&Written {
            schema_version: SCHEMA_VERSION,
            media_type,
            manifests: &manifests,
            annotations: &self.annotations,
            other: &self.other,
        })
        .expect("an index has string keys only");
        (Descriptor::of(media_type, &bytes), bytes)
    }

    /// Returns whether there is an entry of that name.
    pub fn has(&self, name: &EntryName) -> bool {
        self.find(name).is_ok()
    }

    /// Returns the places of the entries of that name, at least one.
    fn find(&self, name: &EntryName) -> Result<Vec<usize>, EditError> {
        let is_named = |entry: &Descriptor| match name {
            EntryName::Digest(digest) => entry.digest == *digest,
            EntryName::Platform(platform) => {
                image_platform(entry).is_some_and(|(own, ..)| own == *platform)
            }
        };
        let named = |(place, entry): (usize, &Entry)| is_named(&entry.descriptor).then_some(place);
        let found: Vec<usize> = self.entries.iter().enumerate().filter_map(named).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let mut platforms: Vec<String> = Vec::new();
        for (platform, ..) in self.entries.iter().filter_map(|e| image_platform(&e.descriptor)) {
            if !platforms.contains(&platform.to_string()) && platforms.len() < 30 {
                platforms.push(platform.to_string());
            }
        }
        let available = crate::printable::printable(&platforms.join(", "), 1000);
        Err(EditError::NoEntry { entry: name.to_string(), available })
    }

    /// Removes attestations that are about no entry.
    fn drop_orphans(&mut self) {
        let is_image = |entry: &&Entry| !is_attestation(&entry.descriptor);
        let images: HashSet<String> =
            self.entries.iter().filter(is_image).map(|e| e.descriptor.digest.to_string()).collect();
        self.entries.retain(|Entry { descriptor, .. }| {
            !is_attestation(descriptor)
                || descriptor.annotations.get(SUBJECT).is_none_or(|about| images.contains(about))
        });
    }
}

/// An index as it is written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    schema_version: u32,
    media_type: &'a str,
    manifests: &'a [Descriptor],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    #[serde(flatten)]
    other: &'a Map<String, Value>,
}

/// Returns the platform of an entry that is an image, with what tells versions of a system apart.
fn image_platform(entry: &Descriptor) -> Option<(Platform, Option<String>, Vec<String>)> {
    let platform = entry.platform.as_ref().filter(|_| !is_attestation(entry))?;
    let is_named = !platform.os.is_empty() && !platform.architecture.is_empty();
    is_named.then(|| {
        let features = platform.os_features.clone();
        (Platform::of_descriptor(platform), platform.os_version.clone(), features)
    })
}

#[cfg(test)]
mod tests {
    use xbuild_model::manifest::OCI_MANIFEST;

    use super::*;

    fn entry(platform: &str, content: &str, media_type: &str) -> Descriptor {
        let mut entry = Descriptor::of(media_type, content.as_bytes());
        entry.platform = Some(platform.parse::<Platform>().unwrap().to_descriptor());
        entry
    }

    fn attestation(about: &Descriptor) -> Descriptor {
        let mut entry = entry("unknown/unknown", &format!("about {}", about.digest), OCI_MANIFEST);
        let kind = ("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned());
        entry.annotations = [kind, (SUBJECT.to_owned(), about.digest.to_string())].into();
        entry
    }

    fn manifest(name: &str, root: Descriptor) -> IndexSource {
        IndexSource { name: name.to_owned(), root, bytes: Vec::new(), index: None }
    }

    fn index(name: &str, manifests: &[Descriptor], more: &str) -> IndexSource {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":{}{more}}}"#,
            serde_json::to_string(manifests).unwrap()
        );
        let index: Index = serde_json::from_str(&text).unwrap();
        let root = Descriptor::of(OCI_INDEX, text.as_bytes());
        IndexSource { name: name.to_owned(), root, bytes: text.into_bytes(), index: Some(index) }
    }

    fn finished(draft: Draft) -> (String, Vec<String>) {
        let (root, bytes) = draft.finish().unwrap();
        let index: Index = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(index.media_type.as_deref(), Some(root.media_type.as_str()));
        let line = |entry: &Descriptor| {
            let platform = Platform::of_descriptor(entry.platform.as_ref().unwrap());
            format!("{platform} {}", entry.digest.short())
        };
        (root.media_type, index.manifests.iter().map(line).collect())
    }

    fn line(entry: &Descriptor) -> String {
        let platform = Platform::of_descriptor(entry.platform.as_ref().unwrap());
        format!("{platform} {}", entry.digest.short())
    }

    #[test]
    fn the_kind_is_that_of_the_children() {
        let docker = entry("linux/amd64", "a", DOCKER_MANIFEST);
        let oci = entry("linux/arm64", "b", OCI_MANIFEST);
        let kind = |entries: &[&Descriptor], change: &dyn Fn(&mut Draft)| {
            let mut draft = Draft::default();
            for entry in entries {
                draft.add(&manifest("x", (*entry).clone())).unwrap();
            }
            change(&mut draft);
            finished(draft).0
        };
        assert_eq!(kind(&[&docker], &|_| ()), DOCKER_INDEX);
        assert_eq!(kind(&[&docker, &oci], &|_| ()), OCI_INDEX);
        assert_eq!(kind(&[&oci], &|_| ()), OCI_INDEX);
        let annotations = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        assert_eq!(kind(&[&docker], &|draft| draft.annotate(&annotations)), OCI_INDEX);
        assert!(matches!(Draft::default().finish(), Err(EditError::Empty)));
        assert_eq!(Draft::default().finish_list().unwrap(), Draft::empty());
    }

    #[test]
    fn attestations_follow_their_image() {
        let (a, b) =
            (entry("linux/amd64", "a", OCI_MANIFEST), entry("linux/arm64", "b", OCI_MANIFEST));
        let all = [a.clone(), b.clone(), attestation(&a), attestation(&b)];
        let source = index("x", &all, "");
        let mut draft = Draft::default();
        draft.add(&source).unwrap();
        let mut filtered = draft.clone();
        filtered.keep(&["linux/arm64".parse().unwrap()]).unwrap();
        assert_eq!(finished(filtered).1, [line(&b), line(&attestation(&b))]);
        let mut removed = draft.clone();
        removed.remove(&EntryName::Digest(b.digest.clone())).unwrap();
        assert_eq!(finished(removed).1, [line(&a), line(&attestation(&a))]);
        let error = draft.keep(&["linux/s390x".parse().unwrap()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the index has no entry linux/s390x: it has linux/amd64, linux/arm64"
        );
    }

    #[test]
    fn an_image_takes_the_place_of_an_older_one_for_its_platform() {
        let (old, other) =
            (entry("linux/amd64", "old", OCI_MANIFEST), entry("linux/arm64", "b", OCI_MANIFEST));
        let new = entry("linux/amd64", "new", OCI_MANIFEST);
        let existing = [old.clone(), attestation(&old), other.clone()];
        let existing = index(
            "old",
            &existing,
            r#","annotations":{"k":"v"},"artifactType":"t"}"#.trim_end_matches('}'),
        );
        let mut draft = Draft::edit(&existing).unwrap();
        draft.add(&manifest("new", new.clone())).unwrap();
        let (_, bytes) = draft.clone().finish().unwrap();
        let written: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(
            (&written["artifactType"], &written["annotations"]["k"]),
            (&"t".into(), &"v".into())
        );
        assert_eq!(finished(draft.clone()).1, [line(&new), line(&other)]);
        // Two new ones for a platform are a mistake, two of one index are not.
        let error = draft.add(&manifest("third", old.clone())).unwrap_err();
        assert_eq!(error.to_string(), "both new and third have an image for linux/amd64");
        let both = index("both", &[old.clone(), new.clone()], "");
        let mut draft = Draft::default();
        draft.add(&both).unwrap();
        assert_eq!(finished(draft.clone()).1, [line(&old), line(&new)]);
        let arm64 = EntryName::Platform("linux/amd64".parse().unwrap());
        let error = draft.change(&arm64, &EntryChange::default()).unwrap_err();
        assert!(matches!(error, EditError::SeveralEntries { .. }), "{error}");
    }

    #[test]
    fn versions_of_a_system_are_told_apart() {
        let windows = |version: &str| {
            let mut entry = entry("windows/amd64", version, DOCKER_MANIFEST);
            entry.platform.as_mut().unwrap().os_version = Some(version.to_owned());
            entry
        };
        let mut draft = Draft::default();
        for version in ["10.0.17763", "10.0.20348"] {
            draft.add(&manifest(version, windows(version))).unwrap();
        }
        assert_eq!(finished(draft).1.len(), 2);
    }

    #[test]
    fn entries_are_annotated_and_not_their_manifests() {
        let arm = entry("linux/arm/v7", "a", OCI_MANIFEST);
        let mut draft = Draft::default();
        draft.add(&manifest("a", arm.clone())).unwrap();
        let change = EntryChange {
            variant: Some("v6".to_owned()),
            os_features: vec!["f".to_owned()],
            annotations: [("k".to_owned(), "v".to_owned())].into(),
            ..EntryChange::default()
        };
        draft.change(&EntryName::Digest(arm.digest.clone()), &change).unwrap();
        let annotation = |platform: &str| EntryAnnotation {
            platform: Some(platform.parse().unwrap()),
            name: "x".to_owned(),
            value: "y".to_owned(),
        };
        draft.annotate_entries(&annotation("linux/arm/v6")).unwrap();
        assert!(draft.annotate_entries(&annotation("linux/arm/v7")).is_err());
        let (_, bytes) = draft.finish().unwrap();
        let index: Index = serde_json::from_slice(&bytes).unwrap();
        let entry = &index.manifests[0];
        assert_eq!((&entry.digest, entry.size), (&arm.digest, arm.size));
        assert_eq!(entry.annotations.len(), 2);
        let platform = entry.platform.as_ref().unwrap();
        assert_eq!(platform.variant.as_deref(), Some("v6"));
        assert_eq!(platform.os_features, ["f"]);
    }

    #[test]
    fn what_cannot_be_read_is_not_left_out() {
        let mut odd = index("odd", &[], "");
        odd.index.as_mut().unwrap().unreadable.push(Value::Null);
        assert!(matches!(Draft::edit(&odd), Err(EditError::Unreadable { count: 1, .. })));
        assert!(Draft::default().add(&odd).is_err());
    }
}
