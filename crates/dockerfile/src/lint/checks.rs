//! The rules that are on: the value of `# check=`.

use std::collections::BTreeSet;

use super::rule::Rule;
use crate::error::{CheckError, excerpt};
use crate::instruction::{Directive, Dockerfile};

/// The rules that are on, and whether a warning fails a build. By default all rules but the
/// experimental ones are on, and warnings do not fail a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    skip: Rules,
    experimental: Rules,
    error: bool,
}

/// Some of the rules, by name. Unknown names do no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rules {
    All,
    Named(BTreeSet<String>),
}

impl Default for Rules {
    fn default() -> Self {
        Rules::Named(BTreeSet::new())
    }
}

impl Rules {
    fn parse(text: &str) -> Self {
        match text.trim() {
            "all" => Rules::All,
            names => Rules::Named(names.split(',').map(|name| name.trim().to_owned()).collect()),
        }
    }

    fn contains(&self, rule: Rule) -> bool {
        match self {
            Rules::All => true,
            Rules::Named(names) => names.contains(rule.name()),
        }
    }
}

impl Checks {
    /// Reads `skip=A,B|all;experimental=A,B|all;error=true`, any of the three.
    ///
    /// The text after the first blank is a remark and is not read.
    ///
    /// **Errors**: a part is not an option, or `error` is neither true nor false.
    ///
    /// **Source**: Docker's build checks reference § Skip checks.
    pub fn parse(text: &str) -> Result<Self, CheckError> {
        let mut checks = Checks::default();
        let text = text.split_whitespace().next().unwrap_or_default();
        for part in text.split(';').filter(|part| !part.is_empty()) {
            let option = || CheckError::UnknownOption { option: excerpt(part) };
            let (name, value) = part.split_once('=').ok_or_else(option)?;
            match name {
                "skip" => checks.skip = Rules::parse(value),
                "experimental" => checks.experimental = Rules::parse(value),
                "error" => {
                    checks.error = match value.to_ascii_lowercase().as_str() {
                        "true" | "t" | "1" => true,
                        "false" | "f" | "0" => false,
                        _ => return Err(CheckError::BadSwitch { value: excerpt(value) }),
                    };
                }
                _ => return Err(option()),
            }
        }
        Ok(checks)
    }

    /// Returns the checks of the directive at the top of a file; the default without one.
    pub fn of(dockerfile: &Dockerfile) -> Self {
        let checks = dockerfile.directives.iter().find_map(|directive| match &directive.value {
            Directive::Check(text) => Some(Checks::parse(text)),
            _ => None,
        });
        // The parser reports a directive that cannot be read.
        checks.and_then(Result::ok).unwrap_or_default()
    }

    /// Returns whether a warning fails a build.
    pub fn fails_build(&self) -> bool {
        self.error
    }

    /// Returns whether a rule is on for an instruction with the checks `local` of its own.
    pub(super) fn is_on(&self, rule: Rule, local: &Checks) -> bool {
        if rule.is_experimental() {
            // `skip=all` leaves rules on that were asked for by name.
            self.experimental.contains(rule) || local.experimental.contains(rule)
        } else {
            !self.skip.contains(rule) && !local.skip.contains(rule)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_say_which_rules_are_on() {
        let none = Checks::default();
        for (text, casing, description, error) in [
            ("", true, false, false),
            ("skip=all", false, false, false),
            ("skip=FromAsCasing,Other;error=TRUE", false, false, true),
            ("skip=Other", true, false, false),
            ("error=true;experimental=all", true, true, true),
            ("skip=all;experimental=InvalidDefinitionDescription", false, true, false),
            ("skip=Other all of this is a remark; error=true", true, false, false),
        ] {
            let checks = Checks::parse(text).expect(text);
            assert_eq!(checks.is_on(Rule::FromAsCasing, &none), casing, "{text}");
            let rule = Rule::InvalidDefinitionDescription;
            assert_eq!(checks.is_on(rule, &none), description, "{text}");
            assert_eq!(none.is_on(rule, &checks), description, "{text}");
            assert_eq!(checks.fails_build(), error, "{text}");
        }
        for text in ["all", "skip", "error=maybe", "skip=all;eror=true"] {
            assert!(Checks::parse(text).is_err(), "{text}");
        }
    }
}
