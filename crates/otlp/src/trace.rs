//! A trace as plain values.

use std::time::SystemTime;

/// A build and what it did.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// The id, unless the settings name a trace that this one is a part of.
    pub id: [u8; 16],
    /// The build itself.
    pub root: Span,
    /// Its parts, all of them children of the root.
    pub children: Vec<Span>,
}

/// Something that took time.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The name on a screen.
    pub name: String,
    /// The kind.
    pub kind: Kind,
    /// When it began.
    pub started: SystemTime,
    /// When it ended; not before it began.
    pub ended: SystemTime,
    /// What is known of it: each name once.
    pub attributes: Vec<(&'static str, Value)>,
    /// Points in time within it.
    pub events: Vec<(SystemTime, &'static str)>,
    /// The children of the trace that it stands on, by their places in [`Trace::children`].
    pub links: Vec<usize>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// The kind of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Work of this program.
    Internal,
    /// Requests to a server.
    Client,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// Yes or no.
    Truth(bool),
    /// Texts, perhaps none.
    Texts(Vec<String>),
}
