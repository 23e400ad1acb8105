//! Maps in which each name stands once: of two values that a merge or an editor has left, nobody knows
//! which counts.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use xbuild_wording::quoted;

/// Reads a map.
///
/// **Errors** — a name stands twice.
pub(super) fn read<'de, D, T>(input: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    input.deserialize_map(Reader(PhantomData))
}

struct Reader<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((name, value)) = input.next_entry::<String, T>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom(format_args!("{} stands twice", quoted(&name))));
            }
            map.insert(name, value);
        }
        Ok(map)
    }
}
