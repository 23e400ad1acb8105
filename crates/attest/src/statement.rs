//! In-toto statements.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use xbuild_model::Digest;

/// The type of every statement.
const TYPE: &str = "https://in-toto.io/Statement/v1";

/// A statement about images or files.
///
/// **Source** — in-toto Attestation Framework, `spec/v1/statement.md`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: &'static str,
    /// The things that it is about; none for an image without a name, of which the manifest beside the
    /// statement tells.
    subject: Vec<Subject>,
    predicate_type: &'static str,
    predicate: Value,
}

/// Something that a statement is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subject {
    name: String,
    digest: BTreeMap<&'static str, String>,
}

impl Subject {
    /// Returns the subject with that name and digest.
    pub fn new(name: impl Into<String>, digest: &Digest) -> Self {
        Self { name: name.into(), digest: [("sha256", digest.hex())].into() }
    }
}

impl Statement {
    /// Returns a statement about `subject`.
    ///
    /// ```
    /// use xbuild_attest::{Statement, Subject};
    /// use xbuild_model::Digest;
    ///
    /// let subject = Subject::new("file", &Digest::of(b""));
    /// let statement = Statement::new(vec![subject], "https://type.example", serde_json::json!({}));
    /// assert!(statement.to_json().starts_with(br#"{"_type":"https://in-toto.io/Statement/v1","#));
    /// ```
    pub fn new(subject: Vec<Subject>, predicate_type: &'static str, predicate: Value) -> Self {
        Self { kind: TYPE, subject, predicate_type, predicate }
    }

    /// Returns the type of the predicate.
    pub fn predicate_type(&self) -> &'static str {
        self.predicate_type
    }

    /// Returns compact JSON, as a manifest refers to it.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a statement has string keys only")
    }

    /// Returns indented JSON, for a file that people read.
    pub fn to_pretty_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a statement has string keys only")
    }
}
