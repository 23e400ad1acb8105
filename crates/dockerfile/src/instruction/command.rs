//! Commands, and the documents that instructions hold.

/// A command in one of its two forms. The builder expands neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// One line for the SHELL; may be empty.
    Shell(String),
    /// The arguments, decoded from JSON; may be empty.
    Exec(Vec<String>),
}

/// A document written into the Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that opened it, as written: `<<-"EOF"`.
    pub word: String,
    /// The delimiter without its quotes; the name of the file that COPY and ADD make.
    pub name: String,
    /// The lines with their line ends (`\r\n` kept), without the terminator. Leading tabs are
    /// gone if it was opened with `<<-`.
    pub body: String,
    /// Whether the body is expanded: the delimiter has no quotes. RUN does not use this.
    pub expand: bool,
}
