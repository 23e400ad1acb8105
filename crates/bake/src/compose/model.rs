//! The model of a file: a mapping with services.

use std::collections::BTreeMap;

use super::merge::merge;
use super::yaml::{Mark, Node, Yaml};

/// Returns the services of a model.
pub(crate) fn services(model: &Node) -> &[(String, Node)] {
    match model.get("services").map(|node| &node.value) {
        Some(Yaml::Map(pairs)) => pairs,
        _ => &[],
    }
}

/// Returns the services of a model by name.
pub(crate) fn by_name(model: &Node) -> BTreeMap<&str, &Node> {
    services(model).iter().map(|(name, node)| (name.as_str(), node)).collect()
}

pub(crate) fn services_mut(model: &mut Node) -> &mut [(String, Node)] {
    match model.get_mut("services") {
        Some(Node { value: Yaml::Map(services), .. }) => services,
        _ => &mut [],
    }
}

/// Merges models: later ones over earlier ones.
pub(crate) fn all(models: Vec<Node>) -> Option<Node> {
    models.into_iter().reduce(|earlier, later| {
        let place = later.place.clone();
        let nothing = Node { value: Yaml::Map(Vec::new()), place, mark: Mark::None };
        merge(earlier, later).unwrap_or(nothing)
    })
}
