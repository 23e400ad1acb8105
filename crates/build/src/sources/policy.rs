//! Source policies: rules that allow, deny or convert what a build takes from elsewhere.
//!
//! **Source** — BuildKit, `sourcepolicy/pb/policy.proto`, `docs/build-repro.md` § Source policies.

use std::collections::BTreeMap;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::error::SourceError;
use super::unique_names;

/// Conversions of one source at most.
const MAX_CONVERSIONS: usize = 20;

/// A policy, as its file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The name of the file, for messages.
    #[serde(default)]
    pub file: String,
    #[serde(default)]
    version: u64,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[serde(default)]
    action: Action,
    selector: Selector,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    updates: Option<Updates>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Action {
    #[default]
    Allow,
    Deny,
    Convert,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Selector {
    identifier: String,
    #[serde(default, alias = "matchType")]
    match_type: MatchType,
    #[serde(default)]
    constraints: Vec<Constraint>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum MatchType {
    #[default]
    Wildcard,
    Exact,
    Regex,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Constraint {
    key: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    condition: Condition,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Condition {
    #[default]
    Equal,
    NotEqual,
    Matches,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Updates {
    #[serde(default)]
    identifier: String,
    #[serde(default, deserialize_with = "unique_names::read")]
    attrs: BTreeMap<String, String>,
}

/// The version of policies; 0 stands for it as well.
const VERSION: u64 = 1;

/// Why a file is no policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// It is no JSON of that form.
    #[error("{file} is not a source policy: {error}")]
    Form {
        /// The file.
        file: String,
        /// The reason.
        error: serde_json::Error,
    },
    /// It is another kind of policy.
    #[error("{file} is not a source policy: {reason}")]
    Other {
        /// The file.
        file: String,
        /// The reason.
        reason: String,
    },
    /// It has a rule that cannot be kept.
    #[error("the source policy {file}: rule {rule}: {reason}")]
    Rule {
        /// The file.
        file: String,
        /// The number of the rule, from 1.
        rule: usize,
        /// The reason.
        reason: String,
    },
}

/// The attribute of a file of a web server with the digest that it must have.
pub(super) const CHECKSUM: &str = "http.checksum";

impl Policy {
    /// Reads a policy. All its patterns are checked.
    pub fn read(file: &str, text: &str) -> Result<Self, PolicyError> {
        let form = |error| PolicyError::Form { file: file.to_owned(), error };
        let mut policy: Self = serde_json::from_str(text).map_err(form)?;
        let other =
            |reason: &str| PolicyError::Other { file: file.to_owned(), reason: reason.to_owned() };
        if !policy.file.is_empty() {
            return Err(other("\"file\" is not a member of one"));
        }
        if policy.version > VERSION {
            return Err(other(&format!(
                "its version is {}, and {VERSION} is read",
                policy.version
            )));
        }
        file.clone_into(&mut policy.file);
        policy.compile()?;
        Ok(policy)
    }

    /// Compiles the patterns of the rules.
    pub(super) fn compile(&self) -> Result<Compiled<'_>, PolicyError> {
        let fault = |number: usize, reason: String| PolicyError::Rule {
            file: self.file.clone(),
            rule: number + 1,
            reason,
        };
        let mut rules = Vec::new();
        for (number, rule) in self.rules.iter().enumerate() {
            let pattern = rule.selector.pattern().map_err(|reason| fault(number, reason))?;
            let mut constraints = Vec::new();
            for constraint in &rule.selector.constraints {
                // A rule that looks at what is not known here would never match, or always.
                if constraint.key != CHECKSUM {
                    let reason = format!("the attribute {} is not implemented", constraint.key);
                    return Err(fault(number, reason));
                }
                let regex = match constraint.condition {
                    Condition::Matches => Regex::new(&constraint.value).map(Some),
                    _ => Ok(None),
                };
                let regex = regex.map_err(|error| fault(number, error.to_string()))?;
                constraints.push((constraint, regex));
            }
            let updates = rule.updates.iter().flat_map(|updates| updates.attrs.keys());
            if let Some(other) = updates.into_iter().find(|name| *name != CHECKSUM) {
                return Err(fault(number, format!("the attribute {other} is not implemented")));
            }
            if rule.action == Action::Convert && rule.updates.is_none() {
                return Err(fault(number, "a conversion has no updates".to_owned()));
            }
            rules.push(CompiledRule { rule, pattern, constraints });
        }
        Ok(Compiled { file: &self.file, rules })
    }
}

impl Selector {
    fn pattern(&self) -> Result<Option<Regex>, String> {
        let text = match self.match_type {
            MatchType::Exact => return Ok(None),
            MatchType::Regex => self.identifier.clone(),
            MatchType::Wildcard if self.identifier.contains("**") => {
                return Err("a pattern with ** is not valid".to_owned());
            }
            MatchType::Wildcard => {
                format!("^{}$", regex::escape(&self.identifier).replace("\\*", "(.*)"))
            }
        };
        Regex::new(&text).map(Some).map_err(|error| error.to_string())
    }
}

/// A policy with its patterns.
pub(super) struct Compiled<'a> {
    file: &'a str,
    rules: Vec<CompiledRule<'a>>,
}

struct CompiledRule<'a> {
    rule: &'a Rule,
    /// `None` for an exact match.
    pattern: Option<Regex>,
    constraints: Vec<(&'a Constraint, Option<Regex>)>,
}

/// A source, as policies see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    /// Its identifier, with a scheme.
    pub(super) identifier: String,
    /// Its attributes.
    pub(super) attributes: BTreeMap<String, String>,
    /// The file of the last policy that converted it.
    pub(super) converted_by: Option<String>,
}

/// Applies policies to a source, again after each conversion; of the rules of a policy that allow or
/// deny, the last that matches counts.
pub(super) fn apply(policies: &[Compiled<'_>], subject: &mut Subject) -> Result<(), SourceError> {
    let first = subject.identifier.clone();
    for _ in 0..=MAX_CONVERSIONS {
        let mut is_converted = false;
        for policy in policies {
            is_converted = policy.apply(subject)?;
            if is_converted {
                break;
            }
        }
        if !is_converted {
            return Ok(());
        }
    }
    Err(SourceError::Endless { source_name: first })
}

impl Compiled<'_> {
    /// Applies the rules, up to the first that converts the source; returns whether there was one.
    fn apply(&self, subject: &mut Subject) -> Result<bool, SourceError> {
        let mut is_denied = false;
        for rule in &self.rules {
            if !rule.matches(subject) {
                continue;
            }
            match rule.rule.action {
                Action::Allow => is_denied = false,
                Action::Deny => is_denied = true,
                Action::Convert if rule.convert(subject) => {
                    subject.converted_by = Some(self.file.to_owned());
                    return Ok(true);
                }
                Action::Convert => {}
            }
        }
        let (file, source_name) = (self.file.to_owned(), subject.identifier.clone());
        if is_denied { Err(SourceError::Denied { file, source_name }) } else { Ok(false) }
    }
}

impl CompiledRule<'_> {
    fn matches(&self, subject: &Subject) -> bool {
        let holds = |(constraint, regex): &(&Constraint, Option<Regex>)| {
            let value = subject.attributes.get(&constraint.key).map_or("", String::as_str);
            match constraint.condition {
                Condition::Equal => value == constraint.value,
                Condition::NotEqual => value != constraint.value,
                Condition::Matches => regex.as_ref().is_some_and(|regex| regex.is_match(value)),
            }
        };
        let identifier = &subject.identifier;
        self.constraints.iter().all(holds)
            && (self.rule.selector.identifier == *identifier
                || self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(identifier)))
    }

    /// Converts the source; returns whether that changed it.
    fn convert(&self, subject: &mut Subject) -> bool {
        let Some(updates) = &self.rule.updates else { return false };
        let selector = &self.rule.selector;
        let to =
            if updates.identifier.is_empty() { &selector.identifier } else { &updates.identifier };
        let to = match (&self.pattern, selector.match_type) {
            (Some(pattern), MatchType::Regex) => {
                pattern.replace_all(&subject.identifier, to.as_str()).into_owned()
            }
            (Some(pattern), MatchType::Wildcard) => {
                let mut text = String::new();
                match pattern.captures(&subject.identifier) {
                    // Without a new identifier the pattern itself would be one.
                    Some(_) if updates.identifier.is_empty() => {
                        text.clone_from(&subject.identifier)
                    }
                    Some(captures) => captures.expand(to, &mut text),
                    None => text.clone_from(&subject.identifier),
                }
                text
            }
            _ => to.clone(),
        };
        let mut changed = false;
        if !to.is_empty() && subject.identifier != to {
            (subject.identifier, changed) = (to, true);
        }
        for (name, value) in &updates.attrs {
            changed |=
                subject.attributes.insert(name.clone(), value.clone()).as_ref() != Some(value);
        }
        changed
    }
}

#[cfg(test)]
mod tests;
