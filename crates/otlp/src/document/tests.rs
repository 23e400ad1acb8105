use std::convert::Infallible;
use std::io::Read as _;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::*;
use crate::context::Parent;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn span(name: &str) -> Span {
    Span {
        name: name.to_owned(),
        kind: Kind::Internal,
        started: at(10),
        ended: at(12),
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        error: None,
    }
}

fn trace() -> Trace {
    let attributes = vec![
        ("text", Value::Text("a".to_owned())),
        ("number", Value::Number(-3)),
        ("truth", Value::Truth(true)),
        ("texts", Value::Texts(vec!["b".to_owned()])),
    ];
    let failed = Span {
        attributes,
        events: vec![(at(11), "ready")],
        links: vec![0, 7],
        error: Some("exit code 1".to_owned()),
        ..span("RUN")
    };
    let pull = Span { kind: Kind::Client, ended: at(1), ..span("pull") };
    Trace { id: [1; 16], root: span("build"), children: vec![pull, failed] }
}

fn settings() -> Settings {
    let look_up =
        |name: &str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| "http://c.example".to_owned());
    Settings::read(&look_up).0.unwrap()
}

fn made(settings: &Settings) -> Document {
    let mut next = 1;
    let made = document(settings, &trace(), &mut |bytes: &mut [u8]| {
        next += 1;
        bytes.fill(next);
        Ok::<(), Infallible>(())
    });
    made.unwrap()
}

fn as_json(settings: Settings) -> Json {
    let document = made(&Settings { is_json: true, ..settings });
    assert_eq!(document.content_type, "application/json");
    serde_json::from_slice(&document.body).unwrap()
}

#[test]
fn json_has_the_names_and_forms_of_the_specification() {
    let document = as_json(settings());
    let resource = &document["resourceSpans"][0];
    assert_eq!(
        resource["resource"]["attributes"][0],
        json!({"key": "service.name", "value": {"stringValue": "xbuild"}})
    );
    let scope = &resource["scopeSpans"][0];
    assert_eq!(scope["scope"]["name"], "xbuild");
    let [build, pull, run] = &scope["spans"].as_array().unwrap()[..] else { panic!("{scope}") };
    assert_eq!(build["traceId"], "01".repeat(16));
    assert_eq!(build["spanId"], "02".repeat(8));
    assert_eq!(build.get("parentSpanId"), None);
    assert_eq!(build["startTimeUnixNano"], "10000000000");
    assert_eq!(pull["parentSpanId"], build["spanId"]);
    assert_eq!((&pull["kind"], &run["kind"]), (&json!(3), &json!(1)));
    assert_eq!(pull["endTimeUnixNano"], pull["startTimeUnixNano"], "no span ends before it began");
    assert_eq!(run["status"], json!({"message": "exit code 1", "code": 2}));
    assert_eq!(run["events"], json!([{"timeUnixNano": "11000000000", "name": "ready"}]));
    assert_eq!(run["links"], json!([{"traceId": "01".repeat(16), "spanId": "03".repeat(8)}]));
    let values: Vec<&Json> =
        run["attributes"].as_array().unwrap().iter().map(|attribute| &attribute["value"]).collect();
    let expected = [
        json!({"stringValue": "a"}),
        json!({"intValue": "-3"}),
        json!({"boolValue": true}),
        json!({"arrayValue": {"values": [{"stringValue": "b"}]}}),
    ];
    assert_eq!(values, expected.iter().collect::<Vec<_>>());
}

#[test]
fn a_build_is_part_of_the_trace_that_the_environment_names() {
    let parent = Parent {
        trace_id: [0xaa; 16],
        span_id: [0xbb; 8],
        is_sampled: true,
        state: "v=1".to_owned(),
    };
    let document = as_json(Settings { parent: Some(parent), ..settings() });
    let spans = document["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    assert!(spans.iter().all(|span| span["traceId"] == "aa".repeat(16)));
    assert_eq!(spans[0]["parentSpanId"], "bb".repeat(8));
    assert_eq!(spans[1]["parentSpanId"], spans[0]["spanId"]);
    assert_eq!(spans[0]["traceState"], "v=1");
}

#[test]
fn protobuf_says_the_same_also_compressed() {
    let plain = made(&settings());
    assert_eq!((plain.content_type, plain.encoding), ("application/x-protobuf", None));
    let read = Request::decode(&plain.body[..]).unwrap();
    let json: Json = serde_json::from_slice(&serde_json::to_vec(&read).unwrap()).unwrap();
    assert_eq!(json, as_json(settings()));
    let compressed = made(&Settings { is_compressed: true, ..settings() });
    assert_eq!(compressed.encoding, Some("gzip"));
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&compressed.body[..]).read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, plain.body);
}

#[test]
fn long_texts_are_cut_between_characters() {
    let text = bounded(&"ä".repeat(LONGEST));
    assert_eq!(text.len(), LONGEST);
    assert_eq!(bounded(&format!("a{text}")).len(), LONGEST - 1);
}

#[test]
fn an_answer_may_refuse_some_spans() {
    let json = Settings { is_json: true, ..settings() };
    let refused = Rejected { spans: 2, message: "too old".to_owned() };
    for number in [json!(2), json!("2")] {
        let partial = json!({"rejectedSpans": number, "errorMessage": "too old"});
        let answer = json!({"partialSuccess": partial}).to_string();
        assert_eq!(rejected(&json, answer.as_bytes()), Some(refused.clone()));
    }
    for answer in ["{}", "{\"partialSuccess\":{}}", "", "<html>", "[1]"] {
        assert_eq!(rejected(&json, answer.as_bytes()), None, "{answer}");
    }
    assert_eq!(rejected(&settings(), b""), None);
    assert_eq!(rejected(&settings(), b"\xff\xff"), None);
    // Field 1, a message of 2 bytes: field 1, the number 2.
    let answer = b"\x0a\x02\x08\x02";
    assert_eq!(rejected(&settings(), answer).map(|rejected| rejected.spans), Some(2));
}
