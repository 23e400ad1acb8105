//! `null` in the JSON of programs written in Go.

use serde::{Deserialize, Deserializer};

/// Reads `null` as the default value: Go writes it for nil slices and maps.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
