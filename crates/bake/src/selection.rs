//! What a command asks for: the targets of the groups and targets that it names, with all that they
//! inherit and all that the command line says of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::config::{Config, Group, once};
use crate::entries::Options;
use crate::error::BakeError;
use crate::functions::{clean, html_safe};
use crate::local::is_local;
use crate::overrides::Overrides;
use crate::pattern::Pattern;
use crate::similar::similar;
use crate::target::Target;

/// Targets to build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// The groups that lead to them.
    pub groups: BTreeMap<String, Group>,
    /// The targets, with those that are only contexts of others.
    pub targets: BTreeMap<String, Target>,
    /// Paths that the command line gave.
    pub given_paths: Vec<String>,
}

/// The most targets that one inherits from.
const LONGEST: usize = 500;

/// What `--print` prints.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(rename = "group", skip_serializing_if = "BTreeMap::is_empty")]
    groups: &'a BTreeMap<String, Group>,
    #[serde(rename = "target")]
    targets: BTreeMap<&'a str, Target>,
}

impl Config {
    /// Selects targets and groups by name or pattern; none stands for `default`.
    pub fn select(&self, names: &[String], overrides: &Overrides) -> Result<Selection, BakeError> {
        let default = ["default".to_owned()];
        let names = if names.is_empty() { &default[..] } else { names };
        let mut asked = Vec::new();
        for name in names {
            // The names of services may have dots.
            asked.extend(self.matching(&name.replace('.', "_"))?);
        }
        let asked = once(asked);
        let mut selection = Selection { given_paths: overrides.paths(), ..Selection::default() };
        for name in &asked {
            let (mut targets, mut groups) = (Vec::new(), Vec::new());
            self.expand(name, &mut targets, &mut groups);
            for target in once(targets) {
                let resolved = self.resolved(&target, overrides)?;
                selection.targets.insert(target, resolved);
            }
            for group in groups {
                if let Some(found) = self.group(&group) {
                    selection.groups.insert(group, found.clone());
                }
            }
        }
        for name in asked {
            if name == "default" && selection.groups.contains_key("default") {
                continue;
            }
            selection.groups.entry("default".to_owned()).or_default().targets.push(name);
        }
        if let Some(default) = selection.groups.get_mut("default") {
            default.targets = once(std::mem::take(&mut default.targets));
            default.targets.sort();
        }
        let mut done = BTreeSet::new();
        for name in selection.targets.keys().cloned().collect::<Vec<_>>() {
            self.link(&name, &mut selection.targets, overrides, &mut done)?;
        }
        Ok(selection)
    }

    fn matching(&self, pattern: &str) -> Result<Vec<String>, BakeError> {
        if !Pattern::is_one(pattern) {
            return Ok(vec![pattern.to_owned()]);
        }
        let matcher = Pattern::new(pattern);
        let groups = self.groups.iter().map(|(name, _)| name);
        let all = groups.chain(self.targets.iter().map(|(name, _)| name));
        let found: Vec<String> = all.filter(|name| matcher.matches(name)).cloned().collect();
        match found.is_empty() {
            true => Err(BakeError::NoMatch { pattern: pattern.to_owned() }),
            false => Ok(found),
        }
    }

    /// Adds the targets and groups that a name leads to, in the order of the groups.
    fn expand(&self, name: &str, targets: &mut Vec<String>, groups: &mut Vec<String>) {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        // What is still ahead, the next one last, with the group that it is a member of.
        let mut ahead = vec![(name, None)];
        while let Some((name, above)) = ahead.pop() {
            // A member of the name of its group is the target.
            let group = if above == Some(name) { None } else { self.group(name) };
            let Some(group) = group else {
                targets.push(name.to_owned());
                continue;
            };
            if seen.insert(name) {
                groups.push(name.to_owned());
                let members = group.targets.iter().rev();
                ahead.extend(members.map(|member| (member.as_str(), Some(name))));
            }
        }
    }

    /// Returns a target with all that it inherits, and with what has a default.
    fn resolved(&self, name: &str, overrides: &Overrides) -> Result<Target, BakeError> {
        let mut target = self.inherited(name, overrides, &mut BTreeMap::new())?;
        let context = target.context.take().unwrap_or_else(|| ".".to_owned());
        target.context = Some(match context.strip_prefix("cwd://") {
            Some(path) => clean(path),
            None if is_local(&context) => clean(&context),
            None => context,
        });
        if target.dockerfile.as_deref().is_none_or(str::is_empty) {
            target.dockerfile = Some("Dockerfile".to_owned());
        }
        Ok(target)
    }

    /// Returns a target with all that it inherits. `known` has the targets that are worked out already,
    /// and `None` for those under way: who inherits from itself has nothing more to give.
    fn inherited(
        &self,
        name: &str,
        overrides: &Overrides,
        known: &mut BTreeMap<String, Option<Target>>,
    ) -> Result<Target, BakeError> {
        if let Some(target) = known.get(name) {
            return Ok(target.clone().unwrap_or_default());
        }
        let own = self.target(name).ok_or_else(|| {
            let names = self.targets.iter().map(|(name, _)| name);
            let names = names.chain(self.groups.iter().map(|(name, _)| name));
            let similar = similar(name, names.map(String::as_str));
            BakeError::NoTarget { name: name.to_owned(), similar }
        })?;
        if known.len() > LONGEST {
            let reason = format!("it inherits from more than {LONGEST} targets");
            return Err(BakeError::Target { target: name.to_owned(), reason });
        }
        known.insert(name.to_owned(), None);
        let mut target = Target::default();
        for parent in &own.inherits {
            target.merge(&self.inherited(parent, overrides, known)?);
        }
        target.merge(own);
        overrides.apply(name, &mut target)?;
        target.normalize();
        // They are part of it now. Each level would otherwise double the list of the one below.
        target.inherits.clear();
        known.insert(name.to_owned(), Some(target.clone()));
        Ok(target)
    }

    /// Returns a target that is only the context of another.
    fn linked(&self, name: &str, overrides: &Overrides) -> Result<Target, BakeError> {
        let mut target = self.resolved(name, overrides)?;
        let kind = "cacheonly".to_owned();
        target.output = Some(vec![Options { kind, attributes: BTreeMap::new() }]);
        target.is_linked = true;
        Ok(target)
    }

    /// Adds the targets that are contexts of a target, and the contexts of these. `done` has the targets
    /// whose contexts are all there.
    fn link(
        &self,
        name: &str,
        targets: &mut BTreeMap<String, Target>,
        overrides: &Overrides,
        done: &mut BTreeSet<String>,
    ) -> Result<(), BakeError> {
        let fail =
            |name: &str, reason: String| Err(BakeError::Target { target: name.to_owned(), reason });
        // The targets that lead to the last one, each with the contexts that are still ahead.
        let mut path = vec![(name.to_owned(), links(name, targets))];
        while let Some((name, ahead)) = path.last_mut() {
            let name = name.clone();
            let Some(linked) = ahead.pop() else {
                path.pop();
                done.insert(name);
                continue;
            };
            if linked == name {
                return fail(&name, "it is a context of itself".to_owned());
            }
            if path.iter().any(|(above, _)| *above == linked) {
                let reason = format!("target {linked}, a context of it, needs it as a context");
                return fail(&name, reason);
            }
            if !targets.contains_key(&linked) {
                targets.insert(linked.clone(), self.linked(&linked, overrides)?);
            }
            if done.contains(&linked) {
                adopt(&name, &linked, targets).or_else(|reason| fail(&name, reason))?;
            } else if let Some((_, ahead)) = path.last_mut() {
                // Its own contexts come first.
                ahead.push(linked.clone());
                let more = links(&linked, targets);
                path.push((linked, more));
            }
        }
        Ok(())
    }
}

/// Returns the targets that are contexts of one, the first one last.
fn links(name: &str, targets: &BTreeMap<String, Target>) -> Vec<String> {
    let contexts = targets.get(name).map(|target| target.contexts.values().rev());
    let linked = contexts.into_iter().flatten().filter_map(|place| place.strip_prefix("target:"));
    linked.map(str::to_owned).collect()
}

/// Gives a target what a context of it asks for; fails if it is built for platforms that the context is
/// not for.
fn adopt(name: &str, linked: &str, targets: &mut BTreeMap<String, Target>) -> Result<(), String> {
    let granted = targets.get(linked).cloned().unwrap_or_default();
    let Some(own) = targets.get_mut(name) else { return Ok(()) };
    for entitlement in granted.entitlements.iter().flatten() {
        let own = own.entitlements.get_or_insert_default();
        if !own.contains(entitlement) {
            own.push(entitlement.clone());
        }
    }
    let (wide, narrow) = (granted.platforms.unwrap_or_default(), own.platforms.clone());
    let narrow = narrow.unwrap_or_default();
    if narrow.len() > 1 && wide.len() > 1 && !narrow.iter().all(|p| wide.contains(p)) {
        return Err(format!(
            "target {linked}, a context of it, is only for {}, not for all of {}",
            wide.join(", "),
            narrow.join(", ")
        ));
    }
    Ok(())
}

impl Selection {
    /// Gives all targets the build argument `SOURCE_DATE_EPOCH`, unless they have one.
    pub fn set_epoch(&mut self, epoch: &str) {
        for target in self.targets.values_mut() {
            let arg = target.args.entry("SOURCE_DATE_EPOCH".to_owned());
            arg.or_insert_with(|| Some(epoch.to_owned()));
        }
    }

    /// Returns the selection as buildx prints it: JSON, indented by two blanks, with a line end.
    pub fn to_json(&self) -> String {
        let targets = self.targets.iter().map(|(name, target)| (name.as_str(), target.printed()));
        let printed = Printed { groups: &self.groups, targets: targets.collect() };
        let json = serde_json::to_string_pretty(&printed).unwrap_or_default();
        html_safe(&json) + "\n"
    }
}

#[cfg(test)]
mod tests;
