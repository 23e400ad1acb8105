//! Parts of compose files over each other.
//!
//! **Source** — Compose file reference § Merge.

use super::yaml::{Mark, Node, Yaml};

/// Returns an earlier node with a later one over it: mappings are merged, lists appended, other values
/// replaced. `None` if nothing is left.
pub(crate) fn merge(earlier: Node, later: Node) -> Option<Node> {
    match later.mark {
        Mark::Reset => return None,
        Mark::Override => return Some(Node { mark: Mark::None, ..later }),
        Mark::None => {}
    }
    let place = later.place.clone();
    let value = match (earlier.value, later.value) {
        (Yaml::Map(mut pairs), Yaml::Map(more)) => {
            for (name, node) in more {
                match pairs.iter().position(|(known, _)| *known == name) {
                    Some(at) => {
                        let (name, known) = pairs.remove(at);
                        if let Some(merged) = merge(known, node) {
                            pairs.insert(at, (name, merged));
                        }
                    }
                    None if node.mark == Mark::Reset => {}
                    None => pairs.push((name, node)),
                }
            }
            Yaml::Map(pairs)
        }
        (Yaml::List(mut nodes), Yaml::List(more)) => {
            for node in more {
                let text = node.as_text();
                if text.is_none() || nodes.iter().all(|known| known.as_text() != text) {
                    nodes.push(node);
                }
            }
            Yaml::List(nodes)
        }
        (earlier, Yaml::Null) => earlier,
        (_, later) => later,
    };
    Some(Node { value, place, mark: Mark::None })
}

/// Gives a service the form in which it is merged: what may be a list of `NAME=VALUE` is a mapping.
pub(crate) fn canonical(service: &mut Node) {
    let Yaml::Map(pairs) = &mut service.value else { return };
    for (name, node) in pairs {
        match name.as_str() {
            "environment" => mapping(node),
            "env_file" if !matches!(node.value, Yaml::List(_) | Yaml::Null) => {
                let entry = Node { mark: Mark::None, ..node.clone() };
                node.value = Yaml::List(vec![entry]);
            }
            "build" => {
                if let Yaml::String(_) = node.value {
                    let context = Node { mark: Mark::None, ..node.clone() };
                    node.value = Yaml::Map(vec![("context".to_owned(), context)]);
                }
                let Yaml::Map(build) = &mut node.value else { continue };
                for (name, node) in build {
                    match name.as_str() {
                        "args" | "labels" | "additional_contexts" => mapping(node),
                        "extra_hosts" => hosts(node),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

/// Makes a list of `NAME=VALUE` a mapping; the last of a name counts. A name alone has null.
fn mapping(node: &mut Node) {
    let Yaml::List(list) = &node.value else { return };
    let mut pairs: Vec<(String, Node)> = Vec::new();
    for entry in list {
        let text = entry.as_text().unwrap_or_default();
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), Yaml::String(value.to_owned())),
            None => (text, Yaml::Null),
        };
        pairs.retain(|(known, _)| *known != name);
        pairs.push((name, entry.like(value)));
    }
    node.value = Yaml::Map(pairs);
}

/// Makes names of hosts with addresses, `NAME=ADDRESS` or `NAME:ADDRESS`, a mapping with a list of
/// addresses for each name, without the brackets of IPv6.
fn hosts(node: &mut Node) {
    let mut pairs: Vec<(String, Vec<Node>)> = Vec::new();
    let mut add = |name: &str, node: &Node| {
        let text = node.as_text().unwrap_or_default();
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let address = node.like(Yaml::String(bare.unwrap_or(&text).to_owned()));
        match pairs.iter_mut().find(|(known, _)| known == name) {
            Some((_, addresses)) => addresses.push(address),
            None => pairs.push((name.to_owned(), vec![address])),
        }
    };
    match &node.value {
        Yaml::List(list) => {
            for entry in list {
                let text = entry.as_text().unwrap_or_default();
                let split = text.split_once('=').or_else(|| text.split_once(':'));
                let (name, address) = split.unwrap_or((&text, ""));
                add(name, &entry.like(Yaml::String(address.to_owned())));
            }
        }
        Yaml::Map(given) => {
            for (name, node) in given {
                match &node.value {
                    Yaml::List(list) => list.iter().for_each(|node| add(name, node)),
                    _ => add(name, node),
                }
            }
        }
        _ => return,
    }
    let pairs = pairs.into_iter().map(|(name, list)| (name, node.like(Yaml::List(list))));
    node.value = Yaml::Map(pairs.collect());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::compose::yaml;

    fn service(text: &str) -> Node {
        let mut node = yaml::documents(&Arc::from("f.yml"), text).unwrap().remove(0);
        canonical(&mut node);
        node
    }

    #[test]
    fn a_host_keeps_all_its_addresses() {
        let list = r#"{build: {extra_hosts: ["a:1.1.1.1", "v6:[::1]", "b=2.2.2.2", "a:3.3.3.3"]}}"#;
        let more = r#"{build: {extra_hosts: {a: [4.4.4.4], v6: "[::2]"}}}"#;
        let merged = merge(service(list), service(more)).unwrap();
        let hosts = merged.get("build").unwrap().get("extra_hosts").unwrap();
        for (name, expected) in [
            ("a", &["1.1.1.1", "3.3.3.3", "4.4.4.4"][..]),
            ("b", &["2.2.2.2"]),
            ("v6", &["::1", "::2"]),
        ] {
            let Yaml::List(found) = &hosts.get(name).unwrap().value else { panic!("{name}") };
            let found: Vec<String> = found.iter().filter_map(Node::as_text).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn env_files_of_both_are_read() {
        let merged = merge(service("{env_file: a}"), service("{env_file: [b, {path: c}]}"));
        let Some(Node { value: Yaml::List(list), .. }) = merged.unwrap().get("env_file").cloned()
        else {
            panic!("no list");
        };
        assert_eq!(list.len(), 3);
    }
}
