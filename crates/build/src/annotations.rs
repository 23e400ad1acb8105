//! `--annotation`: what was typed, and which documents it is for.

use std::collections::BTreeMap;

use xbuild_model::Platform;

use crate::problem::Problem;

/// Annotations by the document that carries them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations {
    /// Of manifests: name, value, and the platform if it is for one only.
    manifests: Vec<Annotation>,
    /// Of the manifests' descriptors in the index.
    descriptors: Vec<Annotation>,
    /// Of the index.
    pub index: BTreeMap<String, String>,
    /// Of the index's descriptor in an OCI layout.
    pub index_descriptor: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Annotation {
    platform: Option<Platform>,
    name: String,
    value: String,
}

impl Annotations {
    /// Reads values of `--annotation`.
    ///
    /// **Source** — `docker buildx build` reference, § --annotation:
    /// `[TYPE[,TYPE..][[PLATFORM]]:]NAME=VALUE`, the type `manifest` unless given.
    pub fn parse(values: &[String]) -> Result<Self, Problem> {
        let mut annotations = Self::default();
        for text in values {
            annotations.add(text).map_err(|reason| {
                Problem::command_line(format!("invalid --annotation {text:?}: {reason}"))
            })?;
        }
        Ok(annotations)
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        let (head, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
        let (types, name) = match head.split_once(':') {
            // Names are often domain names in reverse: no known type ends in a colon by chance.
            Some((types, name)) if types.split(',').all(is_type) => (types, name),
            _ => ("manifest", head),
        };
        if name.is_empty() {
            return Err("the name is empty".to_owned());
        }
        for kind in types.split(',') {
            let (kind, platform) = match kind.trim_end_matches(']').split_once('[') {
                Some((kind, platform)) => {
                    let parsed = platform.parse::<Platform>();
                    (kind, Some(parsed.map_err(|error| error.to_string())?))
                }
                None => (kind, None),
            };
            let (name, value) = (name.to_owned(), value.to_owned());
            match kind {
                "manifest" => self.manifests.push(Annotation { platform, name, value }),
                "manifest-descriptor" => {
                    self.descriptors.push(Annotation { platform, name, value })
                }
                _ if platform.is_some() => return Err(format!("{kind} has no platform")),
                "index" => drop(self.index.insert(name, value)),
                _ => drop(self.index_descriptor.insert(name, value)),
            }
        }
        Ok(())
    }

    /// Returns what the manifest for `platform` carries.
    pub fn manifest(&self, platform: &Platform) -> BTreeMap<String, String> {
        select(&self.manifests, platform)
    }

    /// Returns what the descriptor of the manifest for `platform` carries.
    pub fn descriptor(&self, platform: &Platform) -> BTreeMap<String, String> {
        select(&self.descriptors, platform)
    }

    /// Returns whether something is for an index.
    pub fn need_index(&self) -> bool {
        !self.index.is_empty() || !self.index_descriptor.is_empty() || !self.descriptors.is_empty()
    }
}

fn is_type(text: &str) -> bool {
    let kind = match text.split_once('[') {
        Some((kind, rest)) if rest.ends_with(']') => kind,
        Some(_) => return false,
        None => text,
    };
    ["manifest", "index", "manifest-descriptor", "index-descriptor"].contains(&kind)
}

fn select(list: &[Annotation], platform: &Platform) -> BTreeMap<String, String> {
    let wanted = list.iter().filter(|a| a.platform.as_ref().is_none_or(|p| p == platform));
    wanted.map(|a| (a.name.clone(), a.value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[&str]) -> Result<Annotations, Problem> {
        Annotations::parse(&values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn annotations_go_where_they_are_sent() {
        let annotations = parse(&[
            "a=1",
            "org.example:b=2=3",
            "manifest,index:c=4",
            "manifest[linux/arm64]:d=5",
            "manifest-descriptor:e=6",
            "index-descriptor:f=7",
        ])
        .unwrap();
        let keys = |map: BTreeMap<String, String>| map.into_keys().collect::<Vec<_>>();
        let amd64 = "linux/amd64".parse().unwrap();
        let arm64 = "linux/arm64".parse().unwrap();
        assert_eq!(keys(annotations.manifest(&amd64)), ["a", "c", "org.example:b"]);
        assert_eq!(keys(annotations.manifest(&arm64)), ["a", "c", "d", "org.example:b"]);
        assert_eq!(keys(annotations.descriptor(&amd64)), ["e"]);
        assert_eq!(keys(annotations.index.clone()), ["c"]);
        assert_eq!(keys(annotations.index_descriptor.clone()), ["f"]);
    }

    #[test]
    fn refuses_what_has_no_meaning() {
        for bad in ["a", "=b", "index[linux/arm64]:a=b", "manifest[linux/a/b/c]:a=b"] {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
    }
}
