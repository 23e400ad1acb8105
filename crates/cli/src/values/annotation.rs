//! Values of `--annotation`.

use xbuild_build::request::{Annotation, Annotations};
use xbuild_model::Platform;
use xbuild_wording::quoted;

use crate::report::Problem;

/// Reads values of `--annotation`.
///
/// **Source** — `docker buildx build` reference, § --annotation:
/// `[TYPE[,TYPE..][[PLATFORM]]:]NAME=VALUE`, the type `manifest` unless given.
pub(crate) fn parse(values: &[String]) -> Result<Annotations, Problem> {
    parse_as("manifest", values)
}

/// Does the same with another type for those that say none.
pub(crate) fn parse_as(default: &str, values: &[String]) -> Result<Annotations, Problem> {
    let mut annotations = Annotations::default();
    for text in values {
        add(&mut annotations, default, text).map_err(|reason| {
            Problem::command_line(format!(
                "invalid --annotation {text}: {reason}",
                text = quoted(&text)
            ))
        })?;
    }
    Ok(annotations)
}

fn add(annotations: &mut Annotations, default: &str, text: &str) -> Result<(), String> {
    let (head, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let (types, name) = match head.split_once(':') {
        // A name with a colon is unlikely: names are often domain names in reverse.
        Some((types, name)) if types.split(',').all(is_type) => (types, name),
        _ => (default, head),
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
            "manifest" => annotations.manifests.push(Annotation { platform, name, value }),
            "manifest-descriptor" => {
                annotations.descriptors.push(Annotation { platform, name, value })
            }
            _ if platform.is_some() => return Err(format!("{kind} has no platform")),
            "index" => drop(annotations.index.insert(name, value)),
            _ => drop(annotations.index_descriptor.insert(name, value)),
        }
    }
    Ok(())
}

/// Returns whether a text is a type of annotations, perhaps with a platform.
pub(super) fn is_type(text: &str) -> bool {
    let kind = match text.split_once('[') {
        Some((kind, rest)) if rest.ends_with(']') => kind,
        Some(_) => return false,
        None => text,
    };
    ["manifest", "index", "manifest-descriptor", "index-descriptor"].contains(&kind)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn parse(values: &[&str]) -> Result<Annotations, Problem> {
        super::parse(&values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>())
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
        let names = |list: &[Annotation]| list.iter().map(|a| a.name.clone()).collect::<Vec<_>>();
        let keys = |map: &BTreeMap<String, String>| map.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&annotations.manifests), ["a", "org.example:b", "c", "d"]);
        assert_eq!(annotations.manifests[3].platform, Some("linux/arm64".parse().unwrap()));
        assert_eq!(names(&annotations.descriptors), ["e"]);
        assert_eq!(keys(&annotations.index), ["c"]);
        assert_eq!(keys(&annotations.index_descriptor), ["f"]);
    }

    #[test]
    fn refuses_what_has_no_meaning() {
        for bad in ["a", "=b", "index[linux/arm64]:a=b", "manifest[linux/a/b/c]:a=b"] {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
    }
}
