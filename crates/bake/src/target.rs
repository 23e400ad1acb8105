//! Targets: what is built, and how.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::entries::{self, Options, Secret, Ssh};
use crate::value::Value;

/// Names and values, of which a value may be left to the Dockerfile.
pub type Pairs = BTreeMap<String, Option<String>>;

/// A build: the attributes of buildx's `target`, in the order of its `--print`. `None` is what nobody
/// has said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The targets whose attributes it has, too; empty once these are part of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inherits: Vec<String>,
    /// Annotations: `[manifest:]NAME=VALUE`.
    #[serde(skip_serializing_if = "is_empty")]
    pub annotations: Option<Vec<String>>,
    /// Attestations.
    #[serde(skip_serializing_if = "is_empty")]
    pub attest: Option<Vec<Options>>,
    /// The main context: a folder, a URL or a repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Named contexts; `target:NAME` is the result of another target.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub contexts: BTreeMap<String, String>,
    /// The Dockerfile, in the main context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// The text of the Dockerfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile_inline: Option<String>,
    /// Build arguments.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub args: Pairs,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Pairs,
    /// The names of the image.
    #[serde(skip_serializing_if = "is_empty")]
    pub tags: Option<Vec<String>>,
    /// The caches to read.
    #[serde(skip_serializing_if = "is_empty")]
    pub cache_from: Option<Vec<Options>>,
    /// The caches to write.
    #[serde(skip_serializing_if = "is_empty")]
    pub cache_to: Option<Vec<Options>>,
    /// The stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Secrets.
    #[serde(skip_serializing_if = "is_empty")]
    pub secret: Option<Vec<Secret>>,
    /// SSH agents.
    #[serde(skip_serializing_if = "is_empty")]
    pub ssh: Option<Vec<Ssh>>,
    /// The platforms.
    #[serde(skip_serializing_if = "is_empty")]
    pub platforms: Option<Vec<String>>,
    /// Where the result goes.
    #[serde(skip_serializing_if = "is_empty")]
    pub output: Option<Vec<Options>>,
    /// Whether registries are asked for base images that are here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull: Option<bool>,
    /// Whether every step runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_cache: Option<bool>,
    /// The network of steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The stages whose steps run in any case.
    #[serde(skip_serializing_if = "is_empty")]
    pub no_cache_filter: Option<Vec<String>>,
    /// The size of `/dev/shm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<String>,
    /// Resource limits of steps: `NAME=SOFT[:HARD]`.
    #[serde(skip_serializing_if = "is_empty")]
    pub ulimits: Option<Vec<String>>,
    /// Limits on processor and memory; values are texts, or integers without quotes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, serde_json::Value>,
    /// `build`, `check`, `outline` or `targets`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// What its steps ask for.
    #[serde(skip_serializing_if = "is_empty")]
    pub entitlements: Option<Vec<String>>,
    /// Lines of `/etc/hosts`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_hosts: Pairs,
    /// Whether it is built only as the context of another.
    #[serde(skip)]
    pub is_linked: bool,
}

fn is_empty<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_none_or(Vec::is_empty)
}

/// The attributes of a target that have texts, numbers and bools.
pub(crate) const ATTRIBUTES: &[&str] = &[
    "annotations",
    "args",
    "attest",
    "cache-from",
    "cache-to",
    "call",
    "context",
    "contexts",
    "description",
    "dockerfile",
    "dockerfile-inline",
    "entitlements",
    "extra-hosts",
    "inherits",
    "labels",
    "network",
    "no-cache",
    "no-cache-filter",
    "output",
    "platforms",
    "pull",
    "resources",
    "secret",
    "shm-size",
    "ssh",
    "tags",
    "target",
    "ulimits",
];

/// The resources of a step, and whether each is a number.
pub(crate) const RESOURCES: &[(&str, bool)] = &[
    ("memory", false),
    ("memory-swap", false),
    ("cpu-shares", true),
    ("cpu-period", true),
    ("cpu-quota", true),
    ("cpuset-cpus", false),
    ("cpuset-mems", false),
];

impl Target {
    /// Sets an attribute from the value of an expression.
    pub(crate) fn set(&mut self, name: &str, value: Value) -> Result<(), String> {
        if value == Value::Null {
            return Ok(());
        }
        match name {
            "annotations" => self.annotations = Some(texts(value)?),
            "args" => self.args = pairs(value)?,
            "attest" => {
                let text = |text: &str| Ok(vec![entries::attestation(text)?]);
                self.attest = Some(entries::list(value, text, entries::attestation_of)?);
            }
            "cache-from" => self.cache_from = Some(caches(value)?),
            "cache-to" => self.cache_to = Some(caches(value)?),
            "call" => self.call = Some(text(&value)?),
            "context" => self.context = Some(text(&value)?),
            "contexts" => {
                let set = pairs(value)?.into_iter();
                self.contexts = set.filter_map(|(name, value)| Some((name, value?))).collect();
            }
            "description" => self.description = Some(text(&value)?).filter(|text| !text.is_empty()),
            "dockerfile" => self.dockerfile = Some(text(&value)?),
            "dockerfile-inline" => self.dockerfile_inline = Some(text(&value)?),
            "entitlements" => self.entitlements = Some(texts(value)?),
            "extra-hosts" => self.extra_hosts = pairs(value)?,
            "inherits" => self.inherits = texts(value)?,
            "labels" => self.labels = pairs(value)?,
            "network" => self.network = Some(text(&value)?),
            "no-cache" => self.no_cache = Some(truth(&value)?),
            "no-cache-filter" => self.no_cache_filter = Some(texts(value)?),
            "output" => {
                let text = |text: &str| Ok(vec![entries::output(text)?]);
                self.output = Some(entries::list(value, text, entries::options_of)?);
            }
            "platforms" => self.platforms = Some(texts(value)?),
            "pull" => self.pull = Some(truth(&value)?),
            "resources" => {
                for (name, value) in pairs(value)? {
                    self.set_resource(&name, &value.unwrap_or_default())?;
                }
            }
            "secret" => {
                let text = |text: &str| Ok(vec![Secret::parse(text)?]);
                self.secret = Some(entries::list(value, text, entries::secret_of)?);
            }
            "shm-size" => self.shm_size = Some(text(&value)?),
            "ssh" => {
                let text = |text: &str| Ok(vec![Ssh::parse(text)]);
                self.ssh = Some(entries::list(value, text, entries::ssh_of)?);
            }
            "tags" => self.tags = Some(texts(value)?),
            "target" => self.target = Some(text(&value)?),
            "ulimits" => self.ulimits = Some(texts(value)?),
            _ => return Err("there is no such attribute".to_owned()),
        }
        Ok(())
    }

    /// Sets a limit on processor or memory.
    pub(crate) fn set_resource(&mut self, name: &str, value: &str) -> Result<(), String> {
        let known = RESOURCES.iter().find(|(known, _)| *known == name);
        let (_, is_number) = known.ok_or_else(|| format!("there is no resource {name}"))?;
        let json = match is_number {
            true => {
                value.parse::<i64>().map_err(|_| format!("{name}: an integer required"))?.into()
            }
            false => serde_json::Value::from(value),
        };
        self.resources.insert(name.to_owned(), json);
        Ok(())
    }

    /// Returns a target with the attributes of `later` over those of this one.
    ///
    /// **Source** — buildx `docs/bake-reference.md` § File format: which attributes are merged.
    pub(crate) fn merge(&mut self, later: &Self) {
        replace(&mut self.description, &later.description);
        replace(&mut self.context, &later.context);
        replace(&mut self.dockerfile, &later.dockerfile);
        replace(&mut self.dockerfile_inline, &later.dockerfile_inline);
        replace(&mut self.target, &later.target);
        replace(&mut self.call, &later.call);
        replace(&mut self.pull, &later.pull);
        replace(&mut self.no_cache, &later.no_cache);
        replace(&mut self.network, &later.network);
        replace(&mut self.shm_size, &later.shm_size);
        replace(&mut self.tags, &later.tags);
        replace(&mut self.platforms, &later.platforms);
        replace(&mut self.cache_to, &later.cache_to);
        replace(&mut self.output, &later.output);
        for (own, later) in [
            (&mut self.args, &later.args),
            (&mut self.labels, &later.labels),
            (&mut self.extra_hosts, &later.extra_hosts),
        ] {
            let given = later.iter().filter(|(_, value)| value.is_some());
            own.extend(given.map(|(name, value)| (name.clone(), value.clone())));
        }
        self.contexts.extend(later.contexts.clone());
        self.resources.extend(later.resources.clone());
        append(&mut self.annotations, &later.annotations);
        append(&mut self.attest, &later.attest);
        append(&mut self.secret, &later.secret);
        append(&mut self.ssh, &later.ssh);
        append(&mut self.cache_from, &later.cache_from);
        append(&mut self.no_cache_filter, &later.no_cache_filter);
        append(&mut self.ulimits, &later.ulimits);
        append(&mut self.entitlements, &later.entitlements);
        self.inherits.extend(later.inherits.iter().cloned());
        self.drop_repeated();
    }

    fn drop_repeated(&mut self) {
        self.attest.iter_mut().for_each(|list| entries::last_of_each(list, |e| e.kind.clone()));
        self.secret.iter_mut().for_each(|list| entries::last_of_each(list, |e| e.id.clone()));
        self.ssh.iter_mut().for_each(|list| entries::last_of_each(list, |e| e.id.clone()));
        self.cache_from.iter_mut().for_each(entries::once_each);
    }

    /// Drops what is there twice and what is empty, and adds what follows from other attributes.
    pub(crate) fn normalize(&mut self) {
        self.drop_repeated();
        self.cache_to.iter_mut().for_each(entries::once_each);
        self.output.iter_mut().for_each(entries::once_each);
        if self.network.as_deref() == Some("host") {
            self.entitlements.get_or_insert_default().push("network.host".to_owned());
        }
        for list in [
            &mut self.annotations,
            &mut self.tags,
            &mut self.platforms,
            &mut self.no_cache_filter,
            &mut self.ulimits,
            &mut self.entitlements,
        ] {
            list.iter_mut().for_each(firsts);
        }
        self.contexts.retain(|_, place| !place.is_empty());
    }

    /// Returns an attribute as the value that other expressions see.
    pub(crate) fn attribute(&self, name: &str) -> Value {
        let json = serde_json::to_value(self).ok();
        let found = json.and_then(|mut json| json.get_mut(name).map(serde_json::Value::take));
        found.and_then(Value::from_json).unwrap_or(Value::Null)
    }

    /// Returns the target as `--print` shows it: so that it means the same when it is read as a
    /// definition.
    pub(crate) fn printed(&self) -> Self {
        let escape = |text: &String| text.replace("${", "$${").replace("%{", "%%{");
        let pairs = |pairs: &Pairs| -> Pairs {
            pairs.iter().map(|(name, v)| (name.clone(), v.as_ref().map(escape))).collect()
        };
        Self {
            annotations: self.annotations.as_ref().map(|list| list.iter().map(escape).collect()),
            dockerfile_inline: self.dockerfile_inline.as_ref().map(escape),
            labels: pairs(&self.labels),
            args: pairs(&self.args),
            extra_hosts: pairs(&self.extra_hosts),
            ..self.clone()
        }
    }
}

fn replace<T: Clone>(own: &mut Option<T>, later: &Option<T>) {
    if later.is_some() {
        own.clone_from(later);
    }
}

fn append<T: Clone>(own: &mut Option<Vec<T>>, later: &Option<Vec<T>>) {
    if let Some(later) = later {
        own.get_or_insert_default().extend_from_slice(later);
    }
}

/// Keeps the first of equal texts; drops empty ones.
fn firsts(texts: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    texts.retain(|text| !text.is_empty() && seen.insert(text.clone()));
}

fn text(value: &Value) -> Result<String, String> {
    value.as_text().ok_or_else(|| format!("a string required, found {}", value.kind()))
}

fn truth(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("a bool required, found {}", value.kind()))
}

fn texts(value: Value) -> Result<Vec<String>, String> {
    let elements = value.as_elements();
    let elements = elements.ok_or_else(|| format!("a list required, found {}", value.kind()))?;
    elements.iter().filter(|element| **element != Value::Null).map(text).collect()
}

fn pairs(value: Value) -> Result<Pairs, String> {
    match value {
        Value::Map(values) => values
            .into_iter()
            .map(|(name, value)| match value {
                Value::Null => Ok((name, None)),
                value => match text(&value) {
                    Ok(text) => Ok((name, Some(text))),
                    Err(reason) => Err(format!("{name}: {reason}")),
                },
            })
            .collect(),
        other => Err(format!("an object required, found {}", other.kind())),
    }
}

fn caches(value: Value) -> Result<Vec<Options>, String> {
    entries::list(value, entries::caches, entries::options_of)
}
