//! From a trace to the body of a request, and the answer to it.

use std::io::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;

use crate::message::{
    Answer, AnyValue, ArrayValue, Content, Event, KeyValue, Link, Request, Resource, ResourceSpans,
    Scope, ScopeSpans, Span as SpanMessage, Status,
};
use crate::settings::Settings;
use crate::trace::{Kind, Span, Trace, Value};

/// The flag of a span that is recorded. Without `CONTEXT_HAS_IS_REMOTE` nothing is said of the parent.
///
/// **Source** — `trace.proto`, `SpanFlags`; W3C Trace Context, § trace-flags.
const SAMPLED: u32 = 1;

/// The most bytes of a text. Collectors refuse documents of some MiB, and a build has thousands of
/// steps at most.
const LONGEST: usize = 4096;

/// The body of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The bytes.
    pub body: Vec<u8>,
    /// The `Content-Type`.
    pub content_type: &'static str,
    /// The `Content-Encoding`, if there is one.
    pub encoding: Option<&'static str>,
}

/// Spans that a collector refused though it took the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Their number; with 0 the collector only has something to say.
    pub spans: i64,
    /// The collector's words.
    pub message: String,
}

/// Returns the document of a trace. `random` fills bytes with random ones, for the ids of
/// spans.
///
/// **Errors** — those of `random`.
pub fn document<E>(
    settings: &Settings,
    trace: &Trace,
    random: &mut dyn FnMut(&mut [u8]) -> Result<(), E>,
) -> Result<Document, E> {
    let trace_id = settings.parent.as_ref().map_or(trace.id, |parent| parent.trace_id);
    let mut ids = vec![[0; 8]; trace.children.len() + 1];
    ids.iter_mut().try_for_each(|id| random(id))?;
    let request = request(settings, trace, trace_id, &ids);
    let (body, content_type) = match settings.is_json {
        true => (serde_json::to_vec(&request).unwrap_or_default(), "application/json"),
        false => (request.encode_to_vec(), "application/x-protobuf"),
    };
    // Bytes that cannot be compressed are sent as they are.
    let compressed = settings.is_compressed.then(|| gzip(&body).ok()).flatten();
    let encoding = compressed.is_some().then_some("gzip");
    Ok(Document { body: compressed.unwrap_or(body), content_type, encoding })
}

fn request(settings: &Settings, trace: &Trace, trace_id: [u8; 16], ids: &[[u8; 8]]) -> Request {
    let parent = settings.parent.as_ref();
    let root_parent = parent.map(|parent| parent.span_id.to_vec()).unwrap_or_default();
    let (root_id, child_ids) = ids.split_first().expect("the root has an id");
    let link = |id: &[u8; 8]| Link { trace_id: trace_id.to_vec(), span_id: id.to_vec() };
    let message = |span: &Span, id: &[u8; 8], parent_span_id: Vec<u8>| SpanMessage {
        trace_id: trace_id.to_vec(),
        span_id: id.to_vec(),
        trace_state: parent.map(|parent| parent.state.clone()).unwrap_or_default(),
        parent_span_id,
        flags: SAMPLED,
        name: bounded(&span.name),
        kind: match span.kind {
            Kind::Internal => SpanMessage::INTERNAL,
            Kind::Client => SpanMessage::CLIENT,
        },
        start_time_unix_nano: nanos(span.started),
        end_time_unix_nano: nanos(span.ended.max(span.started)),
        attributes: span.attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
        events: span.events.iter().map(event).collect(),
        links: span.links.iter().filter_map(|at| child_ids.get(*at)).map(link).collect(),
        status: span
            .error
            .as_ref()
            .map(|error| Status { message: bounded(error), code: Status::ERROR }),
    };
    let children = trace.children.iter().zip(child_ids);
    let children = children.map(|(span, id)| message(span, id, root_id.to_vec()));
    let spans =
        std::iter::once(message(&trace.root, root_id, root_parent)).chain(children).collect();
    let resource = settings.resource.iter();
    let resource = resource.map(|(name, value)| attribute(name, &Value::Text(value.clone())));
    Request {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes: resource.collect() }),
            scope_spans: vec![ScopeSpans {
                scope: Some(Scope {
                    name: "xbuild".to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                }),
                spans,
            }],
        }],
    }
}

fn event((at, name): &(SystemTime, &'static str)) -> Event {
    Event { time_unix_nano: nanos(*at), name: (*name).to_owned() }
}

/// Reads the answer to a document; `None` if the collector took everything and has nothing to say.
pub fn rejected(settings: &Settings, answer: &[u8]) -> Option<Rejected> {
    let answer = match settings.is_json {
        true => serde_json::from_slice(answer).ok(),
        false => Answer::decode(answer).ok(),
    };
    let partial = answer?.partial_success?;
    let rejected = Rejected { spans: partial.rejected_spans, message: partial.error_message };
    (rejected.spans != 0 || !rejected.message.is_empty()).then_some(rejected)
}

fn attribute(name: &str, value: &Value) -> KeyValue {
    let text = |text: &String| Content::Text(bounded(text));
    let content = match value {
        Value::Text(value) => text(value),
        Value::Number(number) => Content::Number(*number),
        Value::Truth(truth) => Content::Truth(*truth),
        Value::Texts(texts) => {
            let value = |value| AnyValue { content: Some(text(value)) };
            Content::List(ArrayValue { values: texts.iter().map(value).collect() })
        }
    };
    KeyValue { key: name.to_owned(), value: Some(AnyValue { content: Some(content) }) }
}

/// Returns at most [`LONGEST`] bytes of a text.
fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(LONGEST)].to_owned()
}

/// Returns nanoseconds since the epoch; 0 before it.
fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests;
