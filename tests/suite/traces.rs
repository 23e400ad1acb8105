//! Traces of builds: sent to a stand-in for an OpenTelemetry collector, read as the protocol has it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Finished, Place, Registry, User, cached, needs};

/// A collector that keeps what it gets, and answers in one way.
struct Collector {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

struct Request {
    path: String,
    /// By names in lower case.
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Collector {
    /// Starts a collector that answers with each of these texts in turn, then with the last one.
    fn start(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = request(&stream);
                let mut kept = kept.lock().unwrap();
                let answer = answers[kept.len().min(answers.len() - 1)];
                kept.push(request);
                drop(kept);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> std::sync::MutexGuard<'_, Vec<Request>> {
        self.requests.lock().unwrap()
    }

    /// Returns the spans of the only request, which is JSON.
    fn spans(&self) -> Vec<Value> {
        let requests = self.requests();
        assert_eq!(requests.len(), 1);
        let request = &requests[0];
        assert_eq!(request.path, "/v1/traces");
        assert_eq!(request.headers["content-type"], "application/json");
        let document: Value = serde_json::from_slice(&request.body).unwrap();
        document["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone()
    }
}

fn request(stream: &TcpStream) -> Request {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let path = line.split(' ').nth(1).unwrap().to_owned();
    assert!(line.starts_with("POST "), "{line}");
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    Request { path, headers, body }
}

const TAKEN: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\
                     Connection: close\r\n\r\n{}";
const BUSY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const REFUSED: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A Dockerfile without RUN.
fn place() -> Place {
    let place = Place::new(User::Me);
    place.write("file", "text");
    place.dockerfile("FROM scratch AS one\nCOPY file /\nFROM one\nCOPY file /other\n");
    place
}

/// Builds with variables.
fn build(place: &Place, args: &[&str], variables: &[(&str, &str)]) -> Finished {
    let mut command = place.xbuild(place.build_args(args));
    command.envs(variables.iter().copied());
    Finished::run(command)
}

fn attribute<'a>(span: &'a Value, name: &str) -> Option<&'a Value> {
    let attributes = span["attributes"].as_array().unwrap();
    attributes.iter().find(|attribute| attribute["key"] == name).map(|found| &found["value"])
}

#[track_caller]
fn named<'a>(spans: &'a [Value], part: &str) -> &'a Value {
    let is_it = |span: &&Value| span["name"].as_str().unwrap().contains(part);
    spans.iter().find(is_it).unwrap_or_else(|| panic!("no span {part} in {spans:#?}"))
}

const JSON: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");

#[test]
fn a_build_is_a_span_with_a_span_for_each_step() {
    let collector = Collector::start(&[TAKEN]);
    let place = place();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
        JSON,
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hunter2"),
    ];
    build(&place, &["-t", "example/traced:1"], &variables).ok().does_not_say("hunter2");
    let spans = collector.spans();
    assert_eq!(collector.requests()[0].headers["authorization"], "Bearer hunter2");
    assert_eq!(spans.len(), 3, "{spans:#?}");
    let root = named(&spans, "xbuild build");
    assert_eq!(root.get("parentSpanId"), None);
    let names = attribute(root, "xbuild.names").unwrap();
    assert_eq!(names["arrayValue"]["values"], json!([{"stringValue": "example/traced:1"}]));
    assert_eq!(attribute(root, "xbuild.steps"), Some(&json!({"intValue": "2"})));
    assert_eq!(attribute(root, "xbuild.steps.cached"), Some(&json!({"intValue": "0"})));
    let (first, second) = (named(&spans, "[one 1/1]"), named(&spans, "COPY file /other"));
    let time = |span: &Value, name: &str| span[name].as_str().unwrap().parse::<u64>().unwrap();
    for step in [first, second] {
        assert_eq!(step["traceId"], root["traceId"]);
        assert_eq!(step["parentSpanId"], root["spanId"]);
        assert_eq!(attribute(step, "xbuild.step.cached"), Some(&json!({"boolValue": false})));
        let reason = attribute(step, "xbuild.step.reason").unwrap();
        assert_eq!(reason, &json!({"stringValue": "first time"}));
        assert!(attribute(step, "xbuild.step.bytes").is_some());
        let (began, ended) = (time(step, "startTimeUnixNano"), time(step, "endTimeUnixNano"));
        assert!(time(root, "startTimeUnixNano") <= began && began <= ended);
        assert!(ended <= time(root, "endTimeUnixNano"));
    }
    assert_eq!(second["links"][0]["spanId"], first["spanId"]);

    // From the cache, and as a part of a job's trace.
    let collector = Collector::start(&[TAKEN]);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()), JSON, ("TRACEPARENT", parent)];
    build(&place, &[], &variables).ok();
    let spans = collector.spans();
    let root = named(&spans, "xbuild build");
    assert_eq!(root["traceId"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(root["parentSpanId"], "b7ad6b7169203331");
    let step = named(&spans, "COPY file /other");
    assert_eq!(attribute(step, "xbuild.step.cached"), Some(&json!({"boolValue": true})));
    assert_eq!(attribute(step, "xbuild.step.reason"), None);
}

#[test]
fn a_failure_is_told_with_its_exit_code() {
    needs!(Run);
    let collector = Collector::start(&[TAKEN]);
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nRUN echo hunter2; exit 3\n");
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()), JSON];
    let context = place.base("busybox");
    build(&place, &["--build-context", &context], &variables).fails(3, &["exit code 3"]);
    let spans = collector.spans();
    for part in ["xbuild build", "RUN echo"] {
        let span = named(&spans, part);
        assert_eq!(span["status"]["code"], 2, "{span:#}");
        assert!(span["status"]["message"].as_str().unwrap().contains("exit code 3"), "{span:#}");
        assert_eq!(attribute(span, "process.exit.code"), Some(&json!({"intValue": "3"})));
    }
    assert_eq!(named(&spans, "RUN echo")["events"][0]["name"], "ready");
}

#[test]
fn pulls_and_pushes_have_spans() {
    needs!(Registry, Tool("skopeo"));
    let collector = Collector::start(&[TAKEN]);
    let registry = Registry::start();
    let image = registry.push_busybox("traces/base", &[]);
    let place = Place::new(User::Me);
    place.write("file", "text");
    place.dockerfile(&format!("FROM {image}\nCOPY file /\n"));
    let tag = format!("{}/traces/app:1", registry.host);
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()), JSON];
    build(&place, &["-t", &tag, "--push"], &variables).ok();
    let spans = collector.spans();
    for part in ["pull ", "push "] {
        let span = named(&spans, part);
        assert_eq!(span["kind"], 3);
        let bytes = &attribute(span, "xbuild.transfer.bytes").unwrap()["intValue"];
        assert!(bytes.as_str().unwrap().parse::<u64>().unwrap() > 0, "{span:#}");
    }
}

#[test]
fn a_collector_that_fails_is_one_warning() {
    let place = place();
    let port_of_nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let endpoint = |url: &str| {
        let began = Instant::now();
        let done = build(&place, &[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", url)]).ok();
        assert_eq!(
            done.stderr.matches("warning: the trace is not sent").count(),
            1,
            "{}",
            done.stderr
        );
        assert!(began.elapsed() < Duration::from_secs(20));
        done
    };
    endpoint(&port_of_nobody).says(&["127.0.0.1"]);
    endpoint(&Collector::start(&[REFUSED]).url).says(&["401"]);
    const PARTIAL: &[&str] =
        &["HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\n\
                   \x0a\x0b\x08\x02\x12\x07too old"];
    endpoint(&Collector::start(PARTIAL).url).says(&["refused 2 spans: too old"]);

    // One that is busy is asked again.
    let busy = Collector::start(&[BUSY, TAKEN]);
    build(&place, &[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &busy.url)])
        .ok()
        .does_not_say("warning: the trace");
    assert_eq!(busy.requests().len(), 2);

    // One that says nothing is waited for as long as the variable says.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let began = Instant::now();
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")];
    build(&place, &[], &variables).ok().says(&["warning: the trace is not sent"]);
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn what_is_not_implemented_is_a_warning_and_nothing_is_sent_unasked() {
    let collector = Collector::start(&[TAKEN]);
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str());
    let place = place();
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    build(&place, &[], &[endpoint, grpc]).ok().says(&["asks for gRPC, which is not implemented"]);
    for variables in [
        &[][..],
        &[endpoint, ("OTEL_SDK_DISABLED", "true")],
        &[endpoint, ("OTEL_TRACES_EXPORTER", "none")],
    ] {
        build(&place, &[], variables).ok().does_not_say("warning: the trace");
    }
    assert!(collector.requests().is_empty());
}

#[test]
fn the_targets_of_a_bake_file_have_one_trace() {
    let collector = Collector::start(&[TAKEN]);
    let place = place();
    place.write(
        "docker-bake.json",
        r#"{"group": {"default": {"targets": ["a", "b"]}},
            "target": {"a": {"labels": {"x": "1"}}, "b": {"labels": {"x": "2"}}}}"#,
    );
    let mut command = place.xbuild(["bake"]);
    command.current_dir(place.context());
    command.envs([("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()), JSON]);
    Finished::run(command).ok();
    let spans = collector.spans();
    let root = named(&spans, "xbuild bake");
    for part in ["[a ", "[b "] {
        assert_eq!(named(&spans, part)["parentSpanId"], root["spanId"]);
    }
}

/// Reads a body with the classes that are made from the protocol's own files.
const READ: &str = "
import gzip, json, sys
from google.protobuf import json_format, unknown_fields
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
data = sys.stdin.buffer.read()
kind, encoding = sys.argv[1:]
if encoding == 'gzip':
    data = gzip.decompress(data)
message = ExportTraceServiceRequest()
if kind == 'application/json':
    json_format.Parse(data, message)
else:
    message.MergeFromString(data)
    assert len(unknown_fields.UnknownFieldSet(message.resource_spans[0].scope_spans[0].spans[0])) == 0
spans = message.resource_spans[0].scope_spans[0].spans
if kind != 'application/json':
    assert all(len(span.trace_id) == 16 and len(span.span_id) == 8 for span in spans)
service = {item.key: item.value.string_value for item in message.resource_spans[0].resource.attributes}['service.name']
print(json.dumps({'service': service, 'spans': [span.name for span in spans]}))
";

#[test]
fn the_protocols_own_classes_read_it() {
    needs!(Otlp);
    for (protocol, compression) in
        [("http/protobuf", ""), ("http/protobuf", "gzip"), ("http/json", "gzip")]
    {
        let collector = Collector::start(&[TAKEN]);
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
            ("OTEL_SERVICE_NAME", "images"),
        ];
        build(&place(), &[], &variables).ok().does_not_say("warning: the trace");
        let requests = collector.requests();
        let request = &requests[0];
        let encoding = request.headers.get("content-encoding").cloned().unwrap_or_default();
        assert_eq!(encoding, compression);
        let mut command = Command::new(cached("otlp/bin/python"));
        command.args(["-c", READ, &request.headers["content-type"], &encoding]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&request.body).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{protocol} {compression}");
        let read: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(read["service"], "images");
        assert_eq!(read["spans"].as_array().unwrap().len(), 3, "{read}");
        assert_eq!(read["spans"][0], "xbuild build");
    }
}

#[test]
fn commands_that_move_images_have_a_trace() {
    needs!(Registry);
    let registry = Registry::start();
    let place = place();
    let name = format!("{}/traces/app:1", registry.host);
    let copy = format!("{}/traces/copy:1", registry.host);
    place.build(&["-t", &name]).ok();
    let traced = |args: &[&str]| {
        let collector = Collector::start(&[TAKEN]);
        let mut command = place.xbuild(args);
        command.current_dir(place.context());
        command.envs([("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()), JSON]);
        (Finished::run(command), collector.spans())
    };
    let transfer = |spans: &[Value], part: &str| {
        let span = named(spans, part);
        assert_eq!(span["parentSpanId"], named(spans, "xbuild ")["spanId"]);
        assert!(attribute(span, "xbuild.transfer.bytes").is_some(), "{span:#}");
    };
    let (done, spans) = traced(&["push", "--quiet", &name]);
    done.ok().does_not_say("push ");
    transfer(&spans, "push ");
    let names = attribute(named(&spans, "xbuild push"), "xbuild.names").unwrap();
    assert_eq!(names["arrayValue"]["values"], json!([{"stringValue": name}]));
    let root = place.out("other").display().to_string();
    let (done, spans) = traced(&["pull", "--root", &root, &name]);
    done.ok();
    named(&spans, "xbuild pull");
    let (done, spans) = traced(&["copy", &format!("docker://{name}"), &format!("docker://{copy}")]);
    done.ok();
    named(&spans, "xbuild copy");
    // Their times differ.
    let (done, spans) = traced(&["verify", &name, "."]);
    assert!([0, 6].contains(&done.status), "{}", done.stderr);
    named(&spans, "xbuild verify");
    named(&spans, "COPY file /other");
    let (done, spans) = traced(&["lock", "."]);
    done.ok();
    named(&spans, "xbuild lock");
    let (done, spans) = traced(&["pull", &format!("{}/traces/none:1", registry.host)]);
    assert_eq!(done.status, 4);
    assert_eq!(named(&spans, "xbuild pull")["status"]["code"], 2, "{spans:#?}");
}

#[test]
fn a_command_in_an_image_has_a_trace_with_its_status() {
    needs!(Run);
    let collector = Collector::start(&[TAKEN]);
    let place = Place::new(User::Me);
    let image = place.base("busybox").replacen("busybox=", "", 1);
    let mut command = place.xbuild(["run", &image, "sh", "-c", "exit 7"]);
    command.envs([("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()), JSON]);
    assert_eq!(Finished::run(command).status, 7);
    let spans = collector.spans();
    let root = named(&spans, "xbuild run");
    assert_eq!(attribute(root, "process.exit.code"), Some(&json!({"intValue": "7"})));
    assert_eq!(root["status"]["code"], 2);
}

/// Starts a build whose step takes long, ends it by a signal once that runs, and returns the time that it
/// took to end.
fn ended_by_signal(endpoint: &str) -> Duration {
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nRUN echo begun && sleep 600\n");
    let mut command = place.xbuild(place.build_args(&[]));
    command.envs([("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), JSON]);
    let mut build = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(build.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.take(1000).any(|line| line.ends_with(" begun")));
    let began = Instant::now();
    let id = rustix::process::Pid::from_child(&build);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let status = build.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
    began.elapsed()
}

#[test]
fn a_build_that_a_signal_ends_sends_its_trace() {
    needs!(Run);
    let collector = Collector::start(&[TAKEN]);
    ended_by_signal(&collector.url);
    let spans = collector.spans();
    for part in ["xbuild build", "RUN echo begun"] {
        let span = named(&spans, part);
        assert_eq!(span["status"]["code"], 2, "{span:#}");
        assert_eq!(span["status"]["message"], "ended by a signal", "{span:#}");
    }
    // A collector that says nothing does not keep the build.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let took = ended_by_signal(&url);
    assert!(took < Duration::from_secs(20), "{took:?}");
}
