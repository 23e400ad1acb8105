//! The table `registry` of xbuild's own configuration, `config.toml`. The others are the face's, which
//! refuses those that it does not know.

use std::path::Path;

use toml::Value;
use xbuild_registry::{Mirror, Secret};
use xbuild_wording::quoted;

use super::gathered::{Fault, Gathered, Said, beside, texts, toml};

/// The form of an option of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryOption {
    /// A list of texts.
    Texts,
    /// A text.
    Text,
    /// `true` or `false`.
    Truth,
    /// A number of bytes, at least 1.
    Size,
    /// A table of texts.
    Headers,
}

/// The options of a registry, by name.
pub const REGISTRY_OPTIONS: &[(&str, RegistryOption)] = &[
    ("mirrors", RegistryOption::Texts),
    ("insecure", RegistryOption::Truth),
    ("credentials-over-http", RegistryOption::Truth),
    ("ca", RegistryOption::Texts),
    ("client-cert", RegistryOption::Text),
    ("client-key", RegistryOption::Text),
    ("chunk-size", RegistryOption::Size),
    ("headers", RegistryOption::Headers),
];

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_is_read_in_its_form_alone() {
        let values: toml::Table =
            "texts = ['a']\ntext = 'a'\ntruth = true\nsize = 1\nheaders = { A = 'a' }\n"
                .parse()
                .unwrap();
        for (name, form) in REGISTRY_OPTIONS {
            let read = |form: &str| {
                member(Path::new("c"), name, &values[form], &mut Said::default()).is_some()
            };
            let (own, other) = match form {
                RegistryOption::Texts => ("texts", "truth"),
                RegistryOption::Text => ("text", "size"),
                RegistryOption::Truth => ("truth", "text"),
                RegistryOption::Size => ("size", "text"),
                RegistryOption::Headers => ("headers", "texts"),
            };
            assert!(read(own) && !read(other), "{name}");
        }
        assert!(member(Path::new("c"), "mirror", &values["texts"], &mut Said::default()).is_none());
    }
}
