//! Progress for programs: lines of JSON in the form of BuildKit's `rawjson`.
//!
//! Each line is an object with some of the members `vertexes`, `statuses`, `logs` and `warnings`, which
//! are lists. A vertex is known by its digest; a later object about the same vertex replaces the
//! former. Bytes are base64.
//!
//! **Source** — moby/buildkit `client/graph.go` (`SolveStatus`).

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};
use xbuild_dockerfile::Diagnostics;
use xbuild_model::Digest;
use xbuild_model::transfer::{Transfer, TransferState};
use xbuild_wording::redacted;

/// The name of the vertex that has everything which is no step's.
const OWN: &str = "[internal] xbuild";

/// The time between two lines about a transfer.
const PAUSE: Duration = Duration::from_millis(100);

/// The number of the stream of a line of output. Both streams of a command are one pipe.
const STREAM: u32 = 1;

/// A vertex, the members in BuildKit's order.
#[derive(Debug, Serialize)]
pub(crate) struct Vertex {
    pub(crate) digest: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) inputs: Vec<String>,
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) completed: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cached: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) error: String,
}

/// Makes the lines of a build that are about no step.
#[derive(Debug, Default)]
pub(crate) struct RawJson {
    /// Whether the vertex of everything else was told.
    is_begun: bool,
    /// The transfers under way: when they began, what was moved, and when that was last told.
    transfers: HashMap<u64, (String, u64, Instant)>,
}

impl RawJson {
    /// Returns the line about a state of a transfer; `None` if it was told a moment ago.
    pub(crate) fn transfer(
        &mut self,
        transfer: &Transfer,
        state: TransferState,
        at: Instant,
    ) -> Option<String> {
        let now = now();
        let own = self.begin(&now);
        let name = format!("{} {}", transfer.direction, transfer.place);
        let (began, moved, told) =
            self.transfers.entry(transfer.id).or_insert_with(|| (now.clone(), 0, at));
        if let TransferState::Moved(bytes) = state {
            *moved += bytes;
            if at.duration_since(*told) < PAUSE {
                return None;
            }
        }
        *told = at;
        let digest = transfer.digest.as_ref().map_or_else(|| "layer".to_owned(), Digest::to_string);
        let mut status = json!({
            "id": format!("{name} {digest} {}", transfer.id),
            "vertex": own_digest(),
            "name": name,
            "current": *moved,
            "timestamp": now.clone(),
            "started": began.clone(),
        });
        if let Some(total) = transfer.total {
            status["total"] = json!(total);
        }
        if state == TransferState::Ended {
            status["completed"] = json!(now);
            self.transfers.remove(&transfer.id);
        }
        Some(own + &line(&json!({ "statuses": [status] })))
    }

    /// Returns the line about a text that belongs to no step.
    pub(crate) fn text(&mut self, text: &str) -> String {
        let now = now();
        self.begin(&now) + &log(&own_digest(), &format!("{text}\n"), &now)
    }

    /// Returns the line about a warning.
    pub(crate) fn warning(&mut self, text: &str) -> String {
        let own = self.begin(&now());
        let warning = json!({ "vertex": own_digest(), "level": 1, "short": base64(text) });
        own + &line(&json!({ "warnings": [warning] }))
    }

    /// Returns the line about broken rules of a Dockerfile; an empty text if there are none.
    pub(crate) fn findings(&mut self, findings: &Diagnostics, source: &str) -> String {
        if findings.is_empty() {
            return String::new();
        }
        let own = self.begin(&now());
        let warning = |finding: &xbuild_dockerfile::Diagnostic| {
            let mut warning = json!({
                "vertex": own_digest(),
                "level": 1,
                "short": base64(&redacted(&format!("{}: {}", finding.rule, finding.message))),
                "sourceInfo": { "filename": &*finding.span.file, "data": base64(&redacted(source)) },
                "range": [{
                    "start": { "line": finding.span.lines.start() },
                    "end": { "line": finding.span.lines.end() },
                }],
            });
            if let Some(url) = finding.rule.url() {
                warning["url"] = json!(url);
            }
            warning
        };
        let warnings: Vec<Value> = findings.iter().map(warning).collect();
        own + &line(&json!({ "warnings": warnings }))
    }

    /// Returns the last line; an empty text if no vertex is open.
    pub(crate) fn end(&mut self) -> String {
        if !std::mem::take(&mut self.is_begun) {
            return String::new();
        }
        let now = now();
        line(&json!({ "vertexes": [own(&now, Some(now.clone()))] }))
    }

    /// Returns the line that begins the vertex of everything else, if that is not begun.
    fn begin(&mut self, now: &str) -> String {
        match std::mem::replace(&mut self.is_begun, true) {
            true => String::new(),
            false => line(&json!({ "vertexes": [own(now, None)] })),
        }
    }
}

fn own(started: &str, completed: Option<String>) -> Vertex {
    Vertex {
        digest: own_digest(),
        inputs: Vec::new(),
        name: OWN.to_owned(),
        started: Some(started.to_owned()),
        completed,
        cached: false,
        error: String::new(),
    }
}

fn own_digest() -> String {
    Digest::of(OWN.as_bytes()).to_string()
}

/// Returns a line with output of a vertex.
pub(crate) fn log(vertex: &str, text: &str, now: &str) -> String {
    let log = json!({ "vertex": vertex, "stream": STREAM, "data": base64(text), "timestamp": now });
    line(&json!({ "logs": [log] }))
}

/// Returns a line with an object.
pub(crate) fn line(value: &Value) -> String {
    format!("{value}\n")
}

fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

/// Returns the time now, RFC 3339.
pub(crate) fn now() -> String {
    humantime::format_rfc3339_nanos(SystemTime::now()).to_string()
}
