//! BuildKit's `buildkitd.toml`: its table `registry`.
//!
//! **Source** — BuildKit documentation, `docs/buildkitd.toml.md`.

use std::fs;
use std::path::{Path, PathBuf};

use toml::Value;

use super::gathered::{Fault, Gathered, Said, beside, mirror, texts, toml};

/// Reads the first file that is there.
pub(super) fn read(paths: &[PathBuf], gathered: &mut Gathered, tell: &dyn Fn(&Path, Fault)) {
    let Some(path) = paths.iter().find(|path| path.exists()) else { return };
    let table = match toml(path) {
        Ok(Some(table)) => table,
        Ok(None) => return,
        Err(fault) => return tell(path, fault),
    };
    let registries = table.get("registry").and_then(Value::as_table);
    for (host, members) in registries.into_iter().flatten() {
        let list = |name: &str| members.get(name).and_then(texts).unwrap_or_default();
        let flag = |name: &str| members.get(name).and_then(Value::as_bool);
        let mut said = Said {
            insecure: [flag("http"), flag("insecure")].into_iter().flatten().max(),
            mirrors: list("mirrors").iter().map(|text| mirror(text).0).collect(),
            roots: list("ca").iter().map(|ca| beside(path, ca)).collect(),
            ..Said::default()
        };
        let pair = members.get("keypair").and_then(Value::as_array).and_then(|list| list.first());
        said.pair = pair.and_then(|pair| {
            let file = |name: &str| Some(beside(path, pair.get(name)?.as_str()?));
            Some((file("cert")?, file("key")?))
        });
        for folder in list("tlsconfigdir") {
            let files = fs::read_dir(beside(path, &folder)).into_iter().flatten().flatten();
            let files = files.map(|file| file.path());
            said.roots.extend(files.filter(|file| file.extension().is_some_and(|e| e == "crt")));
        }
        gathered.add(host, said);
    }
}
