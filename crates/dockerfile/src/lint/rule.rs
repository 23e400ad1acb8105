//! The rules of the linter.

use std::fmt;

/// A rule of the linter, by the name that `# check=skip=NAME` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rule {
    /// The name of a stage has capitals.
    StageNameCasing,
    /// FROM and AS differ in case.
    FromAsCasing,
    /// A blank line stands within a continued instruction.
    NoEmptyContinuation,
    /// The instructions of the file differ in case.
    ConsistentInstructionCasing,
    /// Two stages have the same name. A reference to it means the last such stage above.
    DuplicateStageName,
    /// The name of a stage has another meaning.
    ReservedStageName,
    /// CMD or ENTRYPOINT is in shell form: the shell, not the program, gets the signals.
    JSONArgsRecommended,
    /// MAINTAINER is deprecated.
    MaintainerDeprecated,
    /// FROM uses a variable that no global ARG declares.
    UndefinedArgInFrom,
    /// A relative WORKDIR depends on that of the base image.
    WorkdirRelativePath,
    /// A variable is used that is never set.
    UndefinedVar,
    /// A stage has the same instruction twice, and only the last one counts.
    MultipleInstructionsDisallowed,
    /// `ENV name value` or `LABEL name value`, without an equals sign.
    LegacyKeyValueFormat,
    /// The base image is for another platform than the one asked for.
    InvalidBaseImagePlatform,
    /// `FROM --platform=$TARGETPLATFORM` spells out the default.
    RedundantTargetPlatform,
    /// ARG or ENV holds a secret, by its name.
    SecretsUsedInArgOrEnv,
    /// FROM names no image when the global ARGs have their defaults.
    InvalidDefaultArgInFrom,
    /// FROM `--platform` does not depend on the platform asked for.
    FromPlatformFlagConstDisallowed,
    /// COPY or ADD names a path that the ignore file excludes.
    CopyIgnoredFile,
    /// The comment above a FROM or ARG does not describe it. Off by default.
    InvalidDefinitionDescription,
    /// The protocol of EXPOSE has capitals.
    ExposeProtoCasing,
    /// EXPOSE has an address or a port of the host.
    ExposeInvalidFormat,
}

/// Each rule with its name and its demand, in the order of [`Rule`].
const RULES: [(Rule, &str, &str); 22] = [
    (Rule::StageNameCasing, "StageNameCasing", "Names of stages are in lower case"),
    (Rule::FromAsCasing, "FromAsCasing", "FROM and AS are in the same case"),
    (
        Rule::NoEmptyContinuation,
        "NoEmptyContinuation",
        "No empty lines stand within an instruction",
    ),
    (
        Rule::ConsistentInstructionCasing,
        "ConsistentInstructionCasing",
        "All instructions of a file are in the same case",
    ),
    (Rule::DuplicateStageName, "DuplicateStageName", "Names of stages are unique"),
    (Rule::ReservedStageName, "ReservedStageName", "No stage has a name with another meaning"),
    (
        Rule::JSONArgsRecommended,
        "JSONArgsRecommended",
        "CMD and ENTRYPOINT are in JSON form, so that the program itself gets signals",
    ),
    (
        Rule::MaintainerDeprecated,
        "MaintainerDeprecated",
        "A label, not MAINTAINER, names the author of an image",
    ),
    (
        Rule::UndefinedArgInFrom,
        "UndefinedArgInFrom",
        "FROM uses only variables that a global ARG declares",
    ),
    (
        Rule::WorkdirRelativePath,
        "WorkdirRelativePath",
        "The first WORKDIR is absolute, so that a change of the base image does not move it",
    ),
    (Rule::UndefinedVar, "UndefinedVar", "Variables are set before they are used"),
    (
        Rule::MultipleInstructionsDisallowed,
        "MultipleInstructionsDisallowed",
        "A stage has one CMD, one ENTRYPOINT and one HEALTHCHECK: only the last counts",
    ),
    (Rule::LegacyKeyValueFormat, "LegacyKeyValueFormat", "ENV and LABEL have an equals sign"),
    (
        Rule::InvalidBaseImagePlatform,
        "InvalidBaseImagePlatform",
        "The base image is for the platform asked for",
    ),
    (
        Rule::RedundantTargetPlatform,
        "RedundantTargetPlatform",
        "FROM does not ask for $TARGETPLATFORM, the default",
    ),
    (
        Rule::SecretsUsedInArgOrEnv,
        "SecretsUsedInArgOrEnv",
        "Secrets come from RUN --mount=type=secret, not from ARG or ENV, which the image keeps",
    ),
    (
        Rule::InvalidDefaultArgInFrom,
        "InvalidDefaultArgInFrom",
        "The defaults of the global ARGs make a valid name of each base image",
    ),
    (
        Rule::FromPlatformFlagConstDisallowed,
        "FromPlatformFlagConstDisallowed",
        "FROM --platform is not a constant, unless the stage is named for it",
    ),
    (
        Rule::CopyIgnoredFile,
        "CopyIgnoredFile",
        "COPY and ADD do not name files that the ignore file excludes",
    ),
    (
        Rule::InvalidDefinitionDescription,
        "InvalidDefinitionDescription",
        "The comment right above a FROM or ARG begins with the name that it describes",
    ),
    (Rule::ExposeProtoCasing, "ExposeProtoCasing", "The protocol of EXPOSE is in lower case"),
    (
        Rule::ExposeInvalidFormat,
        "ExposeInvalidFormat",
        "EXPOSE has neither an address nor a port of the host",
    ),
];

impl Rule {
    /// All rules.
    pub const ALL: [Rule; 22] = {
        let mut all = [Rule::StageNameCasing; RULES.len()];
        let mut index = 0;
        while index < all.len() {
            all[index] = RULES[index].0;
            index += 1;
        }
        all
    };

    /// Returns the name of the rule.
    pub fn name(self) -> &'static str {
        self.details().1
    }

    /// Returns the demand of the rule, in one sentence without a period.
    pub fn description(self) -> &'static str {
        self.details().2
    }

    /// Returns the page of Docker's documentation about the rule, if there is one.
    pub fn url(self) -> Option<String> {
        if self == Rule::InvalidBaseImagePlatform {
            return None;
        }
        let mut page = String::new();
        let mut last_was_small = false;
        // Only this acronym runs into the next word.
        for c in self.name().replace("JSON", "Json").chars() {
            if c.is_ascii_uppercase() && last_was_small {
                page.push('-');
            }
            last_was_small = c.is_ascii_lowercase();
            page.push(c.to_ascii_lowercase());
        }
        Some(format!("https://docs.docker.com/go/dockerfile/rule/{page}/"))
    }

    /// Returns whether the rule is off until `# check=experimental=` turns it on.
    pub fn is_experimental(self) -> bool {
        self == Rule::InvalidDefinitionDescription
    }

    fn details(self) -> &'static (Rule, &'static str, &'static str) {
        &RULES[self as usize]
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_named_for_the_rule() {
        let page = |rule: Rule| rule.url().unwrap_or_default();
        assert!(page(Rule::JSONArgsRecommended).ends_with("/json-args-recommended/"));
        assert!(page(Rule::FromAsCasing).ends_with("/from-as-casing/"));
        assert!(page(Rule::UndefinedVar).ends_with("/undefined-var/"));
        assert_eq!(Rule::InvalidBaseImagePlatform.url(), None);
        for rule in Rule::ALL {
            assert_eq!(format!("{rule:?}"), rule.name());
            assert_eq!(rule.details().0, rule);
        }
    }
}
