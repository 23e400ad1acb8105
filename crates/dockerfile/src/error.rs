//! Errors in a Dockerfile.

use std::fmt;

use thiserror::Error;
use xbuild_wording::{Hint, hints, quoted};

use crate::instruction::Dockerfile;
use crate::keyword::Keyword;
use crate::span::Span;

/// All errors of a Dockerfile.
///
/// **Shape**: in the order of the lines, at least one. After [`ParseErrors::LIMIT`] errors the
/// rest of the file is not read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ParseErrors {
    pub(crate) list: Vec<ParseError>,
    pub(crate) above: Box<Dockerfile>,
}

impl ParseErrors {
    /// The most errors that are collected. More would help nobody, and a file that is not a
    /// Dockerfile would report each of its lines.
    pub const LIMIT: usize = 50;

    /// Returns the errors in order.
    pub fn iter(&self) -> std::slice::Iter<'_, ParseError> {
        self.list.iter()
    }

    /// Returns the lines above the first error, for the linter. They may have no stage.
    pub fn above(&self) -> &Dockerfile {
        &self.above
    }
}

impl<'a> IntoIterator for &'a ParseErrors {
    type Item = &'a ParseError;
    type IntoIter = std::slice::Iter<'a, ParseError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for ParseErrors {
    /// Writes one line for each error: place, message, hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}: {error}", error.span)?;
            if let Some(hint) = error.hint() {
                write!(f, " ({hint})")?;
            }
        }
        Ok(())
    }
}

/// One error and the lines that it is about. Its message does not repeat the place.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{kind}")]
pub struct ParseError {
    /// The kind of the error.
    pub kind: ParseErrorKind,
    /// The place.
    pub span: Span,
}

impl ParseError {
    /// Returns advice on how to mend it, if any is known.
    pub fn hint(&self) -> Option<Hint> {
        match &self.kind {
            ParseErrorKind::UnknownInstruction { suggestion, .. } => {
                suggestion.map(hints::did_you_mean)
            }
            ParseErrorKind::UnknownFlag { suggestion, .. } => {
                suggestion.map(|flag| hints::did_you_mean(format_args!("--{flag}")))
            }
            ParseErrorKind::FromVariable { .. } => Some(hints::stage_for_variable()),
            ParseErrorKind::UnsupportedSyntax { .. } => Some(hints::built_in_frontend()),
            ParseErrorKind::HeredocBlank { name, .. } => Some(hints::heredoc_without_blank(name)),
            ParseErrorKind::Binary | ParseErrorKind::NotADockerfile => {
                Some(hints::another_dockerfile())
            }
            ParseErrorKind::Utf16 => Some(hints::save_as_utf8()),
            _ => None,
        }
    }
}

/// The kind of an error in a line or an instruction. Text from the file is quoted and escaped.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are what the message names")]
pub enum ParseErrorKind {
    /// The file has no FROM.
    #[error("the file has no FROM instruction")]
    NoStage,
    /// An instruction other than ARG stands before the first FROM.
    #[error("{keyword} before the first FROM: only ARG may stand there")]
    BeforeFrom { keyword: Keyword },
    /// A line is not text.
    #[error("line {line} is not valid UTF-8")]
    NotUtf8 { line: u32 },
    /// A line holds a NUL, which no argument, variable or path can hold.
    #[error("line {line} holds a NUL byte")]
    NulByte { line: u32 },
    /// A line of a file without any instruction is not text.
    #[error("the file is binary, not a Dockerfile")]
    Binary,
    /// The file is text in an encoding that editors of Windows write.
    #[error("the file is UTF-16, and a Dockerfile is UTF-8")]
    Utf16,
    /// None of the lines begins with an instruction.
    #[error("the file is not a Dockerfile: no line of it begins with an instruction")]
    NotADockerfile,
    /// A directive is given twice.
    #[error("the parser directive {name} is given twice")]
    DuplicateDirective { name: &'static str },
    /// The escape directive has an unusable value.
    #[error("invalid escape character {value}: escape must be \\ or `", value = quoted(.value))]
    BadEscape { value: String },
    /// The check directive has an unusable value.
    #[error("invalid check directive: {source}")]
    BadCheck { source: CheckError },
    /// The syntax directive asks for another frontend.
    #[error(
        "unsupported syntax {value}: only docker/dockerfile is built in",
        value = quoted(.value)
    )]
    UnsupportedSyntax { value: String },
    /// The first word is not an instruction.
    #[error("unknown instruction {word}", word = quoted(.word))]
    UnknownInstruction { word: String, suggestion: Option<Keyword> },
    /// The instruction does not have this flag.
    #[error("unknown flag {flag} of {keyword}", flag = quoted(.flag))]
    UnknownFlag { keyword: Keyword, flag: String, suggestion: Option<&'static str> },
    /// A flag that may stand once is given twice.
    #[error("duplicate flag --{flag} of {keyword}")]
    DuplicateFlag { keyword: Keyword, flag: &'static str },
    /// A flag has no value.
    #[error("flag --{flag} of {keyword} is missing a value")]
    FlagWithoutValue { keyword: Keyword, flag: &'static str },
    /// A flag has an invalid value.
    #[error(
        "invalid value {value} of flag --{flag} of {keyword}: expected {expected}",
        value = quoted(.value)
    )]
    BadFlagValue { keyword: Keyword, flag: &'static str, value: String, expected: &'static str },
    /// The value of `from` would have to be expanded.
    #[error(
        "invalid value {value} of {option} of {keyword}: variables do not expand there",
        value = quoted(.value)
    )]
    FromVariable { keyword: Keyword, option: &'static str, value: String },
    /// The instruction stands alone.
    #[error("{keyword} requires at least one argument")]
    NoArgument { keyword: Keyword },
    /// The instruction stands alone.
    #[error("{keyword} requires exactly one argument")]
    NotOneArgument { keyword: Keyword },
    /// FROM has an odd number of words.
    #[error("FROM requires either one argument or three: IMAGE [AS NAME]")]
    FromWords,
    /// The name of a stage has invalid characters.
    #[error(
        "invalid name for a stage {name}: it must begin with a letter and hold only letters, \
         digits, - _ and .", name = quoted(.name)
    )]
    BadStageName { name: String },
    /// COPY or ADD has fewer than two words.
    #[error("{keyword} requires at least two arguments: SOURCE... DESTINATION")]
    NoDestination { keyword: Keyword },
    /// ENV or LABEL has a name and nothing else.
    #[error("{keyword} requires a value: {keyword} NAME=VALUE")]
    NoValue { keyword: Keyword },
    /// A word of ENV or LABEL has no equals sign.
    #[error("missing = in {word}: {keyword} must be of the form NAME=VALUE", word = quoted(.word))]
    NoEquals { keyword: Keyword, word: String },
    /// A name of ARG, ENV or LABEL is empty.
    #[error("{keyword} has an empty name")]
    EmptyName { keyword: Keyword },
    /// A path of VOLUME is blank.
    #[error("{keyword} has an empty path")]
    EmptyPath { keyword: Keyword },
    /// The array of an exec form holds other values than strings.
    #[error("the JSON array of {keyword} must hold only strings")]
    NotStrings { keyword: Keyword },
    /// SHELL takes the exec form only.
    #[error("{keyword} requires its arguments in JSON form: [\"program\", \"argument\"]")]
    NotJson { keyword: Keyword },
    /// A heredoc has no end.
    #[error("unterminated heredoc: missing a line that holds only {name}", name = quoted(.name))]
    UnterminatedHeredoc { name: String },
    /// The destination of COPY or ADD is a heredoc.
    #[error("{keyword} cannot have a heredoc as its destination")]
    HeredocDestination { keyword: Keyword },
    /// COPY or ADD has a blank between `<<` and the delimiter.
    #[error("{keyword} cannot have a blank between << and {name}", name = quoted(.name))]
    HeredocBlank { keyword: Keyword, name: String },
    /// A `--mount` or `--device` cannot be taken apart.
    #[error(
        "invalid value {value} of flag --{flag}: a quote is out of place",
        value = quoted(.value)
    )]
    BadOptionList { flag: &'static str, value: String },
    /// The first word of HEALTHCHECK is neither CMD nor NONE.
    #[error("unknown type {word} of HEALTHCHECK: expected CMD or NONE", word = quoted(.word))]
    HealthcheckType { word: String },
    /// HEALTHCHECK NONE has arguments.
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthcheckNone,
    /// HEALTHCHECK CMD has no command.
    #[error("missing command after HEALTHCHECK CMD")]
    HealthcheckCommand,
    /// ONBUILD holds an instruction that it may not.
    #[error("ONBUILD cannot hold {keyword}")]
    OnbuildTrigger { keyword: Keyword },
    /// A trigger of a base image is not exactly one instruction.
    #[error("a trigger must be exactly one instruction")]
    NotOneInstruction,
}

/// Errors in the value of `# check=`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are what the message names")]
pub enum CheckError {
    /// A part is not an option.
    #[error(
        "unknown option {option}: expected skip=, experimental= or error=",
        option = quoted(.option)
    )]
    UnknownOption { option: String },
    /// `error` has an invalid value.
    #[error("invalid value {value} of error: expected true or false", value = quoted(.value))]
    BadSwitch { value: String },
}

/// Errors in a text that is expanded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are what the message names")]
pub enum ExpandError {
    /// A quote is never closed.
    #[error("unexpected end of text while looking for the matching {quote} quote")]
    OpenQuote { quote: &'static str },
    /// `${...` is never closed.
    #[error("missing '{missing}' in substitution")]
    OpenBrace { missing: char },
    /// `${}`, `${:x}`, `${{x}`.
    #[error("bad substitution")]
    BadSubstitution,
    /// The operator is unknown.
    #[error("unsupported modifier ({modifier}) in substitution")]
    UnsupportedModifier { modifier: String },
    /// A pattern has a backslash before a character that needs none.
    #[error(
        "invalid pattern {pattern} in substitution: stray backslash",
        pattern = quoted(.pattern)
    )]
    BadPattern { pattern: String },
    /// `${name:?message}` of a variable that is unset or empty.
    #[error("{name}: {message}")]
    Required { name: String, message: String },
    /// Substitutions nest too deeply.
    #[error("substitutions nest deeper than {limit}")]
    TooDeep { limit: usize },
    /// The result would be too large.
    #[error("the expanded text would be longer than {limit} bytes")]
    TooLong { limit: usize },
}

/// Errors in a word of EXPOSE.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are what the message names")]
pub enum PortError {
    /// The number is missing or not a number.
    #[error("invalid port {port}: not a number", port = quoted(.port))]
    NotANumber { port: String },
    /// The number is too large.
    #[error("invalid port {port}: out of the range 0 to 65535", port = quoted(.port))]
    OutOfRange { port: String },
    /// A range ends before it begins, or two ranges differ in length.
    #[error("invalid port range {port}", port = quoted(.port))]
    BadRange { port: String },
    /// The protocol is not tcp, udp or sctp.
    #[error(
        "invalid protocol {protocol} of port {port}: expected tcp, udp or sctp",
        protocol = quoted(.protocol), port = quoted(.port)
    )]
    BadProtocol { port: String, protocol: String },
    /// The address before the port is not an address.
    #[error(
        "invalid address {address} of port {port}",
        address = quoted(.address), port = quoted(.port)
    )]
    BadAddress { port: String, address: String },
}

/// Returns the beginning of a text of the file, for a message.
pub(crate) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
