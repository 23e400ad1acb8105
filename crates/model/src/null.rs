//! `null` in the JSON of programs written in Go.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Reads `null` as the default value: Go writes it for nil slices and maps.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a map of texts: `null` as empty, and members that are `null` as absent.
pub(crate) fn texts<'de, D>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error>
where
    D: Deserializer<'de>,
{
    let map: Option<BTreeMap<String, Option<String>>> = Option::deserialize(deserializer)?;
    let members = map.unwrap_or_default().into_iter();
    Ok(members.filter_map(|(name, value)| Some((name, value?))).collect())
}

/// Reads a list: `null` as empty, and entries that are `null` as absent.
pub(crate) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let list: Option<Vec<Option<T>>> = Option::deserialize(deserializer)?;
    Ok(list.unwrap_or_default().into_iter().flatten().collect())
}
