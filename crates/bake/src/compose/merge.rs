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
            "environment" => mapping(node, '='),
            "build" => {
                if let Yaml::String(_) = node.value {
                    let context = Node { mark: Mark::None, ..node.clone() };
                    node.value = Yaml::Map(vec![("context".to_owned(), context)]);
                }
                let Yaml::Map(build) = &mut node.value else { continue };
                for (name, node) in build {
                    match name.as_str() {
                        "args" | "labels" | "additional_contexts" => mapping(node, '='),
                        "extra_hosts" => mapping(node, ':'),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

/// Makes a list of `NAME=VALUE` a mapping; the last of a name counts. A name alone has null.
fn mapping(node: &mut Node, separator: char) {
    let Yaml::List(list) = &node.value else { return };
    let mut pairs: Vec<(String, Node)> = Vec::new();
    for entry in list {
        let text = entry.as_text().unwrap_or_default();
        let split = text.split_once('=').or_else(|| text.split_once(separator));
        let (name, value) = match split {
            Some((name, value)) => (name.to_owned(), Yaml::String(value.to_owned())),
            None => (text, Yaml::Null),
        };
        pairs.retain(|(known, _)| *known != name);
        pairs.push((name, entry.like(value)));
    }
    node.value = Yaml::Map(pairs);
}
