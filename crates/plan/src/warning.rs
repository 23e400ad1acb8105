//! Warnings as values.

use std::fmt;

use xbuild_dockerfile::Span;

/// The stable name of a warning of the planner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rule {
    /// FROM uses a variable that no global ARG declares.
    UndefinedArgInFrom,
    /// The base image is for another platform than was asked for.
    InvalidBaseImagePlatform,
    /// A build argument that no ARG declares.
    UnusedBuildArg,
}

impl Rule {
    /// Returns the name of the rule.
    pub fn as_str(self) -> &'static str {
        match self {
            Rule::UndefinedArgInFrom => "UndefinedArgInFrom",
            Rule::InvalidBaseImagePlatform => "InvalidBaseImagePlatform",
            Rule::UnusedBuildArg => "UnusedBuildArg",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One warning.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Warning {
    /// Which rule.
    pub rule: Rule,
    /// What is wrong, for people; lower case, no period.
    pub message: String,
    /// Where, unless it is about the command line.
    pub span: Option<Span>,
}
