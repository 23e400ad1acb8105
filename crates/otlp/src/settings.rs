//! What the environment says about traces.
//!
//! **Source** — OpenTelemetry specification 1.49: § Environment Variable Specification, § OpenTelemetry
//! Protocol Exporter, § Environment Variables as Context Propagation Carriers.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use xbuild_wording::quoted;

use crate::context::{ContextError, Parent};

/// The time that a collector gets unless a variable says otherwise. The specification has ten seconds;
/// nobody should wait that long for a build that is done.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest time that a collector gets, whatever a variable says.
const MOST_PATIENCE: Duration = Duration::from_secs(60);
/// Where collectors listen for OTLP over HTTP.
const USUAL: &str = "http://localhost:4318";
/// The path for traces below an endpoint that is for all kinds of data.
const PATH: &str = "v1/traces";

/// Where a trace goes, and what it is part of.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// An `http` or `https` URL.
    pub url: String,
    /// Headers of the request, which may hold secrets.
    pub headers: Vec<(String, String)>,
    /// Whether the document is JSON; else it is protobuf.
    pub is_json: bool,
    /// Whether the document is compressed.
    pub is_compressed: bool,
    /// The time that the collector gets for all attempts.
    pub patience: Duration,
    /// A file with certificates to trust, PEM.
    pub certificate: Option<PathBuf>,
    /// The names of attributes of the whole trace with their values, `service.name` first.
    pub resource: Vec<(String, String)>,
    /// The span that the build is a part of.
    pub parent: Option<Parent>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("is_json", &self.is_json).finish_non_exhaustive()
    }
}

/// A variable that does not have the effect that it asks for. It displays as one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsFault {
    /// gRPC is asked for.
    #[error(
        "{variable} asks for gRPC, which is not implemented, so no trace is sent: set it to http/protobuf or http/json, and the endpoint to the collector's port for HTTP, 4318 as a rule"
    )]
    Grpc {
        /// The variable.
        variable: &'static str,
    },
    /// A value is not implemented or unknown.
    #[error("{variable}={value} is not implemented, {consequence}: expected {expected}")]
    Value {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What happens instead.
        consequence: &'static str,
        /// The values that are implemented.
        expected: &'static str,
    },
    /// The value has another form; it is not shown, since it may hold a secret.
    #[error("{variable} is not of the form {expected}: {consequence}")]
    Form {
        /// The variable.
        variable: &'static str,
        /// What happens instead.
        consequence: &'static str,
        /// The form.
        expected: &'static str,
    },
    /// `TRACEPARENT` cannot be read.
    #[error("TRACEPARENT {text} begins no trace: {error}; the build has a trace of its own", text = quoted(.text))]
    Parent {
        /// Its value.
        text: String,
        /// The fault.
        error: ContextError,
    },
}

/// Looks a variable up: `None` if it is unset or empty.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// Reads the variables that `look_up` returns. `None` if no trace is to be sent: without an
    /// endpoint or an exporter, or if something speaks against it.
    pub fn read(look_up: Lookup<'_>) -> (Option<Self>, Vec<SettingsFault>) {
        let mut reader = Reader { look_up, faults: Vec::new() };
        let settings = reader.settings();
        (settings, reader.faults)
    }
}

struct Reader<'a> {
    look_up: Lookup<'a>,
    faults: Vec<SettingsFault>,
}

impl Reader<'_> {
    fn settings(&mut self) -> Option<Settings> {
        if !self.is_wanted() {
            return None;
        }
        let is_json = self.is_json()?;
        let url = self.url()?;
        let parent = self.parent();
        if !self.is_sampled(parent.as_ref()) {
            return None;
        }
        Some(Settings {
            url,
            headers: self.headers(),
            is_json,
            is_compressed: self.is_compressed(),
            patience: self.patience(),
            certificate: self.certificate(),
            resource: self.resource(),
            parent,
        })
    }

    fn get(&self, name: &str) -> Option<String> {
        (self.look_up)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Returns the first of some variables that is set.
    fn first(&self, names: [&'static str; 2]) -> Option<(&'static str, String)> {
        names.into_iter().find_map(|name| Some((name, self.get(name)?)))
    }

    fn is_wanted(&mut self) -> bool {
        const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
        if self.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return false;
        }
        let Some(list) = self.get(EXPORTER) else {
            return ENDPOINTS.iter().any(|name| self.get(name).is_some());
        };
        let mut has_otlp = false;
        for exporter in list.split(',').map(str::trim) {
            match exporter {
                "otlp" => has_otlp = true,
                "none" | "" => {}
                other => self.faults.push(SettingsFault::Value {
                    variable: EXPORTER,
                    value: other.to_owned(),
                    consequence: "so nothing is sent there",
                    expected: "otlp or none",
                }),
            }
        }
        has_otlp
    }

    fn is_json(&mut self) -> Option<bool> {
        const NAMES: [&str; 2] =
            ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
        let Some((variable, value)) = self.first(NAMES) else { return Some(false) };
        match value.as_str() {
            "http/protobuf" => return Some(false),
            "http/json" => return Some(true),
            "grpc" => self.faults.push(SettingsFault::Grpc { variable }),
            _ => self.faults.push(SettingsFault::Value {
                variable,
                value,
                consequence: "so no trace is sent",
                expected: "http/protobuf or http/json",
            }),
        }
        None
    }

    /// Returns the URL for traces: the one that is for them alone, or a path below the one for
    /// everything.
    fn url(&mut self) -> Option<String> {
        let (variable, url) = match self.first(ENDPOINTS) {
            Some((variable @ TRACES_ENDPOINT, url)) => (variable, url),
            Some((variable, base)) => (variable, below(&base)),
            None => (TRACES_ENDPOINT, below(USUAL)),
        };
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        if rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', ':'])) {
            return Some(url);
        }
        self.faults.push(SettingsFault::Form {
            variable,
            consequence: "no trace is sent",
            expected: "http://HOST[:PORT][/PATH] or https://..",
        });
        None
    }

    fn headers(&mut self) -> Vec<(String, String)> {
        const NAMES: [&str; 2] =
            ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
        let Some((variable, text)) = self.first(NAMES) else { return Vec::new() };
        self.pairs(variable, &text)
    }

    /// Reads `NAME=VALUE,..` with values in percent-encoding.
    fn pairs(&mut self, variable: &'static str, text: &str) -> Vec<(String, String)> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let read = |part: &str| {
            let (name, value) = part.split_once('=')?;
            let decode = |text: &str| {
                percent_decode_str(text.trim()).decode_utf8().ok().map(|text| text.into_owned())
            };
            let (name, value) = (decode(name)?, decode(value)?);
            (!name.is_empty()).then_some((name, value))
        };
        let pairs: Vec<_> = parts.map(read).collect();
        if pairs.iter().any(Option::is_none) {
            self.faults.push(SettingsFault::Form {
                variable,
                consequence: "a part without that form has no effect",
                expected: "NAME=VALUE,.. with percent-encoding",
            });
        }
        pairs.into_iter().flatten().collect()
    }

    fn is_compressed(&mut self) -> bool {
        const NAMES: [&str; 2] =
            ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
        match self.first(NAMES) {
            None => false,
            Some((_, value)) if value == "gzip" => true,
            Some((_, value)) if value == "none" => false,
            Some((variable, value)) => {
                self.faults.push(SettingsFault::Value {
                    variable,
                    value,
                    consequence: "so nothing is compressed",
                    expected: "gzip or none",
                });
                false
            }
        }
    }

    fn patience(&mut self) -> Duration {
        const NAMES: [&str; 2] =
            ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
        let Some((variable, text)) = self.first(NAMES) else { return PATIENCE };
        match text.parse() {
            Ok(millis) if millis > 0 => Duration::from_millis(millis).min(MOST_PATIENCE),
            _ => {
                self.faults.push(SettingsFault::Form {
                    variable,
                    consequence: "the collector gets 5 seconds",
                    expected: "a number of milliseconds",
                });
                PATIENCE
            }
        }
    }

    fn certificate(&mut self) -> Option<PathBuf> {
        const OWN: [[&str; 2]; 2] = [
            [
                "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            ],
            ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"],
        ];
        for names in OWN {
            if let Some((variable, value)) = self.first(names) {
                self.faults.push(SettingsFault::Value {
                    variable,
                    value,
                    consequence: "so the collector gets no certificate",
                    expected: "no value",
                });
            }
        }
        const NAMES: [&str; 2] =
            ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
        self.first(NAMES).map(|(_, path)| PathBuf::from(path))
    }

    /// Returns the attributes of the whole trace. The name of the service counts most, then what the
    /// user gave, then what is known here.
    fn resource(&mut self) -> Vec<(String, String)> {
        const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
        let given = self.get(ATTRIBUTES).unwrap_or_default();
        let given = self.pairs(ATTRIBUTES, &given);
        let service = self.get("OTEL_SERVICE_NAME").map(|name| (SERVICE.to_owned(), name));
        let known = [(SERVICE, "xbuild"), ("service.version", env!("CARGO_PKG_VERSION"))];
        let known = known.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut list: Vec<(String, String)> = Vec::new();
        for (name, value) in service.into_iter().chain(given).chain(known) {
            if !list.iter().any(|(other, _)| *other == name) {
                list.push((name, value));
            }
        }
        list.sort_by_key(|(name, _)| name != SERVICE);
        list
    }

    fn parent(&mut self) -> Option<Parent> {
        let text = self.get("TRACEPARENT")?;
        let state = self.get("TRACESTATE").unwrap_or_default();
        match Parent::parse(&text, &state) {
            Ok(parent) => Some(parent),
            Err(error) => {
                self.faults.push(SettingsFault::Parent { text, error });
                None
            }
        }
    }

    /// Returns whether the trace is recorded: as its parent is, unless a variable says otherwise.
    fn is_sampled(&mut self, parent: Option<&Parent>) -> bool {
        const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
        let as_parent = |else_: bool| parent.map_or(else_, |parent| parent.is_sampled);
        let Some(sampler) = self.get(SAMPLER) else { return as_parent(true) };
        match sampler.as_str() {
            "always_on" => true,
            "always_off" => false,
            "parentbased_always_on" => as_parent(true),
            "parentbased_always_off" => as_parent(false),
            _ => {
                self.faults.push(SettingsFault::Value {
                    variable: SAMPLER,
                    value: sampler,
                    consequence: "so the trace is recorded if its parent is",
                    expected: "always_on, always_off, parentbased_always_on or parentbased_always_off",
                });
                as_parent(true)
            }
        }
    }
}

const SERVICE: &str = "service.name";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const ENDPOINTS: [&str; 2] = [TRACES_ENDPOINT, "OTEL_EXPORTER_OTLP_ENDPOINT"];

fn below(base: &str) -> String {
    format!("{}/{PATH}", base.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (Option<Settings>, Vec<String>) {
        let look_up = |name: &str| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let (settings, faults) = Settings::read(&look_up);
        (settings, faults.iter().map(ToString::to_string).collect())
    }

    const BASE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c.example/otlp/");
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";

    #[test]
    fn an_endpoint_or_an_exporter_asks_for_a_trace() {
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c.example/own");
        for (variables, url) in [
            (&[][..], None),
            (&[BASE], Some("https://c.example/otlp/v1/traces")),
            (&[BASE, own], Some("http://c.example/own")),
            (&[("OTEL_TRACES_EXPORTER", "otlp")], Some("http://localhost:4318/v1/traces")),
            (&[BASE, ("OTEL_TRACES_EXPORTER", "none")], None),
            (&[BASE, ("OTEL_SDK_DISABLED", "TRUE")], None),
            (&[BASE, ("OTEL_SDK_DISABLED", "0")], Some("https://c.example/otlp/v1/traces")),
            (&[BASE, ("OTEL_TRACES_SAMPLER", "always_off")], None),
        ] {
            let (settings, faults) = read(variables);
            assert_eq!(settings.map(|settings| settings.url).as_deref(), url, "{variables:?}");
            assert!(faults.is_empty(), "{faults:?}");
        }
    }

    #[test]
    fn what_is_not_implemented_is_named() {
        for (variable, value, is_sent, part) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", false, "gRPC"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc", false, "_TRACES_PROTOCOL asks for gRPC"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/xml", false, "expected http/protobuf"),
            ("OTEL_TRACES_EXPORTER", "otlp,zipkin", true, "OTEL_TRACES_EXPORTER=zipkin"),
            ("OTEL_TRACES_EXPORTER", "console", false, "OTEL_TRACES_EXPORTER=console"),
            ("OTEL_TRACES_SAMPLER", "traceidratio", true, "traceidratio"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", true, "so nothing is compressed"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key", true, "OTLP_CLIENT_KEY=/key"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", true, "a number of milliseconds"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret", true, "NAME=VALUE"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "c.example:4317", false, "http://HOST"),
            ("TRACEPARENT", "x", true, "TRACEPARENT \"x\""),
        ] {
            let (settings, faults) = read(&[(variable, value), BASE]);
            assert_eq!(settings.is_some(), is_sent, "{variable}={value}");
            let [fault] = &faults[..] else { panic!("{variable}={value}: {faults:?}") };
            assert!(fault.contains(part), "{fault}");
            assert!(!fault.contains("secret"), "{fault}");
        }
    }

    #[test]
    fn the_rest_is_read_as_specified() {
        let (settings, faults) = read(&[
            BASE,
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20a%3Db, x-team = one"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
            ("OTEL_RESOURCE_ATTRIBUTES", "team=a%2Cb,service.name=other"),
            ("OTEL_SERVICE_NAME", "images"),
            ("TRACEPARENT", &format!("{PARENT}-01")),
            ("TRACESTATE", "v=1"),
        ]);
        assert!(faults.is_empty(), "{faults:?}");
        let settings = settings.unwrap();
        let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let headers = [("authorization", "Bearer a=b"), ("x-team", "one")].map(pair);
        assert_eq!(settings.headers, headers);
        assert!(settings.is_json && settings.is_compressed);
        assert_eq!(settings.patience, Duration::from_millis(1500));
        assert_eq!(settings.certificate.as_deref(), Some("/ca.pem".as_ref()));
        let version = ("service.version", env!("CARGO_PKG_VERSION"));
        let resource = [("service.name", "images"), ("team", "a,b"), version].map(pair);
        assert_eq!(settings.resource, resource);
        assert_eq!(settings.parent.unwrap().state, "v=1");
        assert!(!format!("{:?}", read(&[BASE]).0.unwrap()).contains("example"));
    }

    #[test]
    fn a_trace_that_its_parent_does_not_record_is_not_sent() {
        let parent = format!("{PARENT}-00");
        for (sampler, is_sent) in
            [("", false), ("always_on", true), ("parentbased_always_off", false)]
        {
            let variables = [BASE, ("TRACEPARENT", &parent), ("OTEL_TRACES_SAMPLER", sampler)];
            assert_eq!(read(&variables).0.is_some(), is_sent, "{sampler}");
        }
    }
}
