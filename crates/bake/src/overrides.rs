//! `--set TARGET.ATTRIBUTE=VALUE`.
//!
//! **Source** — buildx `docs/reference/buildx_bake.md` § --set.

use xbuild_wording::quoted;

use crate::config::Config;
use crate::entries::{self, Options, Secret, Ssh};
use crate::error::BakeError;
use crate::pattern::Pattern;
use crate::similar::{similar, suggestion};
use crate::target::Target;

/// What the command line says of targets.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    list: Vec<Override>,
}

/// All that the command line says of one attribute of some targets.
#[derive(Debug, Clone)]
struct Override {
    targets: Vec<String>,
    /// The attribute.
    key: String,
    /// The name within the attribute, such as that of a build argument.
    name: Option<String>,
    values: Vec<String>,
    /// Whether the values are added to those that are there.
    is_added: bool,
    /// The text of the command line, for errors.
    text: String,
}

/// Attributes of which a name is set.
const NAMED: &[&str] = &["args", "contexts", "extra-hosts", "labels", "resources", "secret"];

/// Attributes that have several values: each `--set` gives one.
const SEVERAL: &[&str] = &[
    "annotations",
    "attest",
    "cache-from",
    "cache-to",
    "entitlements",
    "no-cache-filter",
    "output",
    "platform",
    "secrets",
    "ssh",
    "tags",
    "ulimits",
];

/// Attributes that have one value.
const SINGLE: &[&str] = &[
    "call",
    "context",
    "dockerfile",
    "load",
    "network",
    "no-cache",
    "pull",
    "push",
    "shm-size",
    "target",
];

impl Overrides {
    /// Reads the texts of `--set`. `environment` returns the variable that a build argument without
    /// value is.
    pub fn parse(
        texts: &[String],
        config: &Config,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, BakeError> {
        let mut overrides = Self::default();
        for text in texts {
            overrides.add(text, config, environment)?;
        }
        Ok(overrides)
    }

    fn add(
        &mut self,
        text: &str,
        config: &Config,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), BakeError> {
        let fail =
            |reason: String| BakeError::Override { option: "set", text: text.to_owned(), reason };
        let (path, value) = text.split_once('=').map_or((text, None), |(path, v)| (path, Some(v)));
        let (path, is_added) = path.strip_suffix('+').map_or((path, false), |path| (path, true));
        let mut parts = path.splitn(3, '.');
        let (target, key, name) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
        let key = key.ok_or_else(|| fail("expected TARGET.ATTRIBUTE=VALUE".to_owned()))?;
        let known = || [NAMED, SEVERAL, SINGLE].concat();
        if !known().contains(&key) {
            let near = similar(key, known().into_iter());
            return Err(fail(format!("{key} cannot be set{}", suggestion(near.as_deref()))));
        }
        match name {
            None if NAMED.contains(&key) => {
                return Err(fail(format!("{key} needs a name: TARGET.{key}.NAME=VALUE")));
            }
            Some(_) if !NAMED.contains(&key) => return Err(fail(format!("{key} has no names"))),
            _ => {}
        }
        if is_added && !SEVERAL.contains(&key) {
            return Err(fail(format!("nothing can be added to {key}")));
        }
        let value = match (value, name) {
            (Some(value), _) => value.to_owned(),
            (None, Some(name)) if key == "args" => match environment(name) {
                Some(value) => value,
                None => return Ok(()),
            },
            _ => return Err(fail("the value is missing".to_owned())),
        };
        let targets = matching(target, config)?;
        let same = |known: &&mut Override| {
            known.key == key && known.name.as_deref() == name && known.targets == targets
        };
        match self.list.iter_mut().find(same) {
            Some(known) if SEVERAL.contains(&key) => {
                known.values.push(value);
                known.is_added = is_added;
            }
            Some(known) => known.values = vec![value],
            None => self.list.push(Override {
                targets,
                key: key.to_owned(),
                name: name.map(str::to_owned),
                values: vec![value],
                is_added,
                text: text.to_owned(),
            }),
        }
        Ok(())
    }

    /// Changes a target as the command line says.
    pub(crate) fn apply(&self, name: &str, target: &mut Target) -> Result<(), BakeError> {
        // Secrets are declared before their sources are changed.
        let (late, early): (Vec<&Override>, Vec<&Override>) =
            self.list.iter().partition(|known| known.key == "secret");
        for change in early.into_iter().chain(late) {
            if change.targets.iter().any(|other| other == name) {
                change.apply(target).map_err(|reason| BakeError::Override {
                    option: "set",
                    text: change.text.clone(),
                    reason,
                })?;
            }
        }
        Ok(())
    }

    /// Returns the paths that the command line gives: the user means them.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        for change in &self.list {
            for value in &change.values {
                match change.key.as_str() {
                    "context" | "dockerfile" | "contexts" => paths.push(value.clone()),
                    "output" => paths.extend(
                        entries::output(value).ok().and_then(|o| o.attributes.get("dest").cloned()),
                    ),
                    "secrets" | "secret" => paths.extend(Secret::parse(value).ok().map(|s| s.src)),
                    "ssh" => paths.extend(Ssh::parse(value).paths),
                    _ => {}
                }
            }
        }
        paths
    }
}

/// Returns the targets that a pattern means.
fn matching(pattern: &str, config: &Config) -> Result<Vec<String>, BakeError> {
    if config.target(pattern).is_some() {
        return Ok(vec![pattern.to_owned()]);
    }
    let matcher = Pattern::new(pattern);
    let names = config.targets.iter().map(|(name, _)| name).filter(|name| matcher.matches(name));
    let names: Vec<String> = names.cloned().collect();
    match names.is_empty() {
        true => Err(BakeError::NoMatch { pattern: pattern.to_owned() }),
        false => Ok(names),
    }
}

impl Override {
    fn apply(&self, target: &mut Target) -> Result<(), String> {
        if let Some(name) = &self.name {
            return self.apply_named(name, target);
        }
        let value = self.values.last().cloned().unwrap_or_default();
        let truth = || {
            entries::bool_like(&value)
                .ok_or_else(|| format!("{value} is no bool", value = quoted(&value)))
        };
        let texts = self.values.clone();
        match self.key.as_str() {
            "annotations" => add(&mut target.annotations, texts, true),
            "attest" => {
                let list = self.each(|text| Ok(vec![entries::attestation(text)?]))?;
                add(&mut target.attest, list, true);
                target.attest.iter_mut().for_each(|l| entries::last_of_each(l, |e| e.kind.clone()));
            }
            "cache-from" => add(&mut target.cache_from, self.each(entries::caches)?, self.is_added),
            "cache-to" => add(&mut target.cache_to, self.each(entries::caches)?, self.is_added),
            "call" => target.call = Some(value),
            "context" => target.context = Some(value),
            "dockerfile" => target.dockerfile = Some(value),
            "entitlements" => add(&mut target.entitlements, texts, true),
            "load" => load(&mut target.output, truth()?),
            "network" => target.network = Some(value),
            "no-cache" => target.no_cache = Some(truth()?),
            "no-cache-filter" => add(&mut target.no_cache_filter, texts, self.is_added),
            "output" => {
                let list = self.each(|text| Ok(vec![entries::output(text)?]))?;
                add(&mut target.output, list, self.is_added);
            }
            "platform" => add(&mut target.platforms, texts, self.is_added),
            "pull" => target.pull = Some(truth()?),
            "push" => push(&mut target.output, truth()?),
            "secrets" => {
                let list = self.each(|text| Ok(vec![Secret::parse(text)?]))?;
                add(&mut target.secret, list, self.is_added);
            }
            "shm-size" => target.shm_size = Some(value),
            "ssh" => {
                let list = self.each(|text| Ok(vec![Ssh::parse(text)]))?;
                add(&mut target.ssh, list, self.is_added);
            }
            "tags" => add(&mut target.tags, texts, self.is_added),
            "target" => target.target = Some(value),
            "ulimits" => add(&mut target.ulimits, texts, self.is_added),
            key => return Err(format!("{key} cannot be set")),
        }
        Ok(())
    }

    /// Sets what has a name within the attribute.
    fn apply_named(&self, name: &str, target: &mut Target) -> Result<(), String> {
        let value = self.values.last().cloned().unwrap_or_default();
        let name = name.to_owned();
        match self.key.as_str() {
            "args" => _ = target.args.insert(name, Some(value)),
            "contexts" => _ = target.contexts.insert(name, value),
            "extra-hosts" => _ = target.extra_hosts.insert(name, Some(value)),
            "labels" => _ = target.labels.insert(name, Some(value)),
            "resources" => target.set_resource(&name, &value)?,
            "secret" => {
                let known = target.secret.iter_mut().flatten().find(|secret| secret.id == name);
                let known = known.ok_or_else(|| format!("the target has no secret {name}"))?;
                let new = Secret::parse(&value)?;
                if !new.id.is_empty() && new.id != name {
                    return Err(format!("the id of secret {name} cannot become {}", new.id));
                }
                *known = Secret { id: name, ..new };
            }
            key => return Err(format!("{key} cannot be set")),
        }
        Ok(())
    }

    fn each<T>(&self, read: impl Fn(&str) -> Result<Vec<T>, String>) -> Result<Vec<T>, String> {
        let mut all = Vec::new();
        for value in self.values.iter().filter(|value| !value.is_empty()) {
            all.extend(read(value)?);
        }
        Ok(all)
    }
}

fn add<T>(own: &mut Option<Vec<T>>, values: Vec<T>, is_added: bool) {
    match own {
        Some(own) if is_added => own.extend(values),
        own => *own = Some(values),
    }
}

/// Makes outputs that can be pushed be pushed, or not.
///
/// **Source** — buildx `docs/reference/buildx_bake.md` § --push: "Conditional".
fn push(output: &mut Option<Vec<Options>>, is_on: bool) {
    let outputs = output.get_or_insert_default();
    let value = is_on.to_string();
    if !is_on {
        // The last one takes the place of each that goes, as in buildx.
        while let Some(at) = outputs.iter().position(|output| output.kind == "registry") {
            outputs.swap_remove(at);
        }
    }
    for image in outputs.iter_mut().filter(|output| output.kind == "image") {
        image.attributes.insert("push".to_owned(), value.clone());
    }
    if is_on && outputs.iter().all(|output| output.kind == "docker") {
        let attributes = [("push".to_owned(), value)].into();
        outputs.push(Options { kind: "image".to_owned(), attributes });
    }
}

/// Adds an output to a container engine, unless there is one, or files are all that is wanted.
fn load(output: &mut Option<Vec<Options>>, is_on: bool) {
    let outputs = output.get_or_insert_default();
    let is_done = |output: &Options| match output.kind.as_str() {
        "docker" => !output.attributes.contains_key("dest"),
        "image" | "registry" | "oci" => false,
        _ => true,
    };
    if is_on && !outputs.iter().any(is_done) {
        outputs.push(Options { kind: "docker".to_owned(), attributes: [].into() });
    }
}
