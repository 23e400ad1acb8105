//! Annotations by the documents that carry them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xbuild_model::Platform;

/// The annotations of a result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Annotations {
    /// For manifests.
    pub manifests: Vec<Annotation>,
    /// For the manifests' descriptors in the index.
    pub descriptors: Vec<Annotation>,
    /// For the index.
    pub index: BTreeMap<String, String>,
    /// For the index's descriptor in an OCI layout.
    pub index_descriptor: BTreeMap<String, String>,
}

/// An annotation of manifests or of their descriptors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Annotation {
    /// The only platform that it is for; `None` for all platforms.
    pub platform: Option<Platform>,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl Annotations {
    /// Returns the annotations of the manifest for `platform`.
    pub(crate) fn manifest(&self, platform: &Platform) -> BTreeMap<String, String> {
        select(&self.manifests, platform)
    }

    /// Returns the annotations of the descriptor of the manifest for `platform`.
    pub(crate) fn descriptor(&self, platform: &Platform) -> BTreeMap<String, String> {
        select(&self.descriptors, platform)
    }

    /// Returns these annotations with `others` over them.
    pub(crate) fn with(&self, others: &Self) -> Self {
        let mut all = self.clone();
        all.manifests.extend(others.manifests.iter().cloned());
        all.descriptors.extend(others.descriptors.iter().cloned());
        all.index.extend(others.index.clone());
        all.index_descriptor.extend(others.index_descriptor.clone());
        all
    }

    /// Returns whether there are none.
    pub(crate) fn are_none(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether an index is annotated.
    pub(crate) fn need_index(&self) -> bool {
        !self.index.is_empty() || !self.index_descriptor.is_empty() || !self.descriptors.is_empty()
    }
}

fn select(list: &[Annotation], platform: &Platform) -> BTreeMap<String, String> {
    let chosen = list.iter().filter(|a| a.platform.as_ref().is_none_or(|p| p == platform));
    chosen.map(|a| (a.name.clone(), a.value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_is_for_all_platforms_or_for_one() {
        let annotation = |name: &str, platform: Option<&str>| Annotation {
            platform: platform.map(|platform| platform.parse().unwrap()),
            name: name.to_owned(),
            value: String::new(),
        };
        let manifests = vec![annotation("a", None), annotation("b", Some("linux/arm64"))];
        let annotations = Annotations { manifests, ..Annotations::default() };
        let names = |platform: &str| {
            let chosen = annotations.manifest(&platform.parse().unwrap());
            chosen.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(names("linux/amd64"), ["a"]);
        assert_eq!(names("linux/arm64"), ["a", "b"]);
        assert!(!annotations.need_index());
    }
}
