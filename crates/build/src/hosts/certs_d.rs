//! Folders with a folder for each registry: certificates as docker keeps them (`*.crt`, `*.cert` with
//! `*.key`), and containerd's `hosts.toml`.
//!
//! **Source** — docker documentation § Verify repository client with certificates;
//! `containers-certs.d(5)`; containerd documentation, `docs/hosts.md`.

use std::fs;
use std::path::{Path, PathBuf};

use toml::Value;
use xbuild_registry::Secret;

use super::gathered::{Fault, Gathered, Said, beside, mirror, texts, toml};

pub(super) fn read(folder: &Path, gathered: &mut Gathered, tell: &dyn Fn(&Path, Fault)) {
    // A folder that does not exist, or that this user may not read, has nothing for this user.
    for host in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = host.path();
        let Some(name) = host.file_name().to_str().map(str::to_owned) else { continue };
        let mut said = Said::default();
        let mut files: Vec<PathBuf> =
            fs::read_dir(&path).into_iter().flatten().flatten().map(|file| file.path()).collect();
        files.sort();
        for file in files {
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => said.roots.push(file),
                Some("cert") => {
                    let key = file.with_extension("key");
                    said.pair = said.pair.take().or(Some((file, key)));
                }
                _ => {}
            }
        }
        hosts_toml(&path.join("hosts.toml"), &mut said, gathered, tell);
        gathered.add(&name, said);
    }
}

/// Reads the mirrors of a registry. Those that cannot pull do not count.
fn hosts_toml(path: &Path, said: &mut Said, gathered: &mut Gathered, tell: &dyn Fn(&Path, Fault)) {
    let table = match toml(path) {
        Ok(Some(table)) => table,
        Ok(None) => return,
        Err(fault) => return tell(path, fault),
    };
    let hosts = table.get("host").and_then(Value::as_table);
    for (url, members) in hosts.into_iter().flatten() {
        let member = |name: &str| members.get(name);
        let can = member("capabilities").and_then(texts);
        let (mut place, is_plain) = mirror(url);
        place.path = place.path.trim_start_matches("v2").trim_matches('/').to_owned();
        if can.is_none_or(|can| can.iter().any(|one| one == "pull")) {
            said.mirrors.push(place.clone());
        }
        let skips = member("skip_verify").and_then(Value::as_bool).unwrap_or_default();
        let headers = member("header").and_then(Value::as_table).into_iter().flatten();
        let headers = headers.filter_map(|(name, value)| {
            Some((name.clone(), Secret::new(texts(value)?.first()?.clone())))
        });
        let pair = member("client").and_then(Value::as_array).and_then(|pairs| {
            let pair = pairs.first()?;
            let [chain, key] = &texts(pair)?[..] else { return None };
            Some((beside(path, chain), beside(path, key)))
        });
        gathered.add(
            &place.host,
            Said {
                insecure: (skips || is_plain).then_some(true),
                roots: member("ca")
                    .and_then(texts)
                    .into_iter()
                    .flatten()
                    .map(|ca| beside(path, &ca))
                    .collect(),
                headers: headers.collect(),
                pair,
                ..Said::default()
            },
        );
    }
}
