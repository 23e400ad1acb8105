//! The table `registry` of xbuild's own configuration, `config.toml`. The others are the face's, which
//! refuses those that it does not know.

use std::path::Path;

use toml::Value;
use xbuild_registry::{Mirror, Secret};
use xbuild_wording::quoted;

use super::gathered::{Fault, Gathered, Said, beside, texts, toml};

pub(super) fn read(path: Option<&Path>, gathered: &mut Gathered, tell: &dyn Fn(&Path, Fault)) {
    let Some(path) = path else { return };
    let table = match toml(path) {
        Ok(Some(table)) => table,
        Ok(None) => return,
        Err(fault) => return tell(path, fault),
    };
    let odd = |name: String| {
        tell(path, Fault::Part(format!("{name} has no effect", name = quoted(&name))))
    };
    let Some(registries) = table.get("registry") else { return };
    let Some(registries) = registries.as_table() else { return odd("registry".to_owned()) };
    for (host, members) in registries {
        let mut said = Said::default();
        for (name, value) in members.as_table().into_iter().flatten() {
            if member(path, name, value, &mut said).is_none() {
                odd(format!("registry.{host}.{name}"));
            }
        }
        gathered.add(host, said);
    }
}

/// Reads a member; `None` if it is not known, or not of the expected form.
fn member(path: &Path, name: &str, value: &Value, said: &mut Said) -> Option<()> {
    match name {
        "mirrors" => said.mirrors = texts(value)?.iter().map(|text| Mirror::parse(text)).collect(),
        "insecure" => said.insecure = Some(value.as_bool()?),
        "credentials-over-http" => said.insecure_credentials = Some(value.as_bool()?),
        "ca" => said.roots = texts(value)?.iter().map(|text| beside(path, text)).collect(),
        "client-cert" => {
            let key = said.pair.take().map(|pair| pair.1).unwrap_or_default();
            said.pair = Some((beside(path, value.as_str()?), key));
        }
        "client-key" => {
            let chain = said.pair.take().map(|pair| pair.0).unwrap_or_default();
            said.pair = Some((chain, beside(path, value.as_str()?)));
        }
        "chunk-size" => {
            let size = u64::try_from(value.as_integer()?).ok().filter(|size| *size > 0)?;
            said.chunk = Some(size);
        }
        "headers" => {
            let header = |(name, value): (&String, &Value)| {
                Some((name.clone(), Secret::new(value.as_str()?)))
            };
            said.headers = value.as_table()?.iter().map(header).collect::<Option<_>>()?;
        }
        _ => return None,
    }
    Some(())
}
