//! `registries.conf` of podman, buildah and skopeo.
//!
//! **Source** — `containers-registries.conf(5)`, version 2.

use std::fs;
use std::path::{Path, PathBuf};

use toml::Value;

use super::gathered::{Fault, Gathered, Said, mirror, toml};

/// Reads the first file that is there, and the files in its folder `registries.conf.d`.
pub(super) fn read(paths: &[PathBuf], gathered: &mut Gathered, tell: &dyn Fn(&Path, Fault)) {
    let Some(path) = paths.iter().find(|path| path.exists()) else { return };
    let mut folder = path.clone().into_os_string();
    folder.push(".d");
    let entries = fs::read_dir(PathBuf::from(folder)).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "conf"));
    files.push(path.clone());
    // The last of them counts most.
    files[..].sort_by_key(|file| (file == path, std::cmp::Reverse(file.clone())));
    for file in files {
        match toml(&file) {
            Ok(Some(table)) => entries_of(&file, &table, gathered, tell),
            Ok(None) => {}
            Err(fault) => tell(&file, fault),
        }
    }
}

fn entries_of(
    path: &Path,
    table: &toml::Table,
    gathered: &mut Gathered,
    tell: &dyn Fn(&Path, Fault),
) {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    for entry in list(table.get("registry")) {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let flag = |entry: &Value, name: &str| entry.get(name).and_then(Value::as_bool);
        let location = text("location");
        let prefix = if text("prefix").is_empty() { location } else { text("prefix") };
        let is_host = !prefix.is_empty() && !prefix.contains(['/', '*']);
        if !is_host || (!location.is_empty() && location != prefix) {
            let part = format!("the registry {prefix:?} has no effect: only whole hosts are known");
            tell(path, Fault::Part(part));
            continue;
        }
        let mut said = Said { insecure: flag(&entry, "insecure"), ..Said::default() };
        for one in list(entry.get("mirror")) {
            let location = one.get("location").and_then(Value::as_str).unwrap_or_default();
            let (place, _) = mirror(location);
            if let Some(insecure) = flag(&one, "insecure") {
                let said = Said { insecure: Some(insecure), ..Said::default() };
                gathered.add(&place.host, said);
            }
            said.mirrors.push(place);
        }
        gathered.add(prefix, said);
    }
}
