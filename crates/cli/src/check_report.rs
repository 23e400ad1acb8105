//! The findings of `xbuild check`, for people, for programs and for code hosts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use xbuild_dockerfile::{Diagnostics, Rule};
use xbuild_plan::Span;
use xbuild_wording::redacted;

use crate::report::{self, Problem, printable};

/// The rule of errors in SARIF.
const BUILD_ERROR: &str = "BuildError";

/// The findings in one Dockerfile.
#[derive(Debug)]
pub(crate) struct Findings<'a> {
    /// The name of the file that the user knows.
    pub(crate) name: &'a str,
    /// The path by which a terminal can open it.
    pub(crate) path: &'a str,
    /// The text of the file.
    pub(crate) source: &'a str,
    /// The broken rules.
    pub(crate) warnings: &'a Diagnostics,
    /// The error that stops a build.
    pub(crate) problem: Option<Problem>,
}

impl Findings<'_> {
    /// Returns the warnings with excerpts, and their number. The caller prints the error.
    pub(crate) fn text(&self) -> String {
        let lines: Vec<&str> = self.source.lines().collect();
        let mut text = String::new();
        for warning in self.warnings {
            text.push_str(&report::finding(warning, (self.path, &lines)));
            text.push('\n');
        }
        let name = printable(self.name);
        text.push_str(&match (self.warnings.len(), &self.problem) {
            (0, Some(_)) => return text,
            (0, None) => format!("{name}: no warnings\n"),
            (1, _) => format!("{name}: 1 warning\n"),
            (count, _) => format!("{name}: {count} warnings\n"),
        });
        text
    }

    fn json_warnings(&self) -> impl Iterator<Item = Value> {
        self.warnings.iter().map(|warning| {
            let mut value = json!({
                "ruleName": warning.rule.name(),
                "description": warning.rule.description(),
                "detail": redacted(&warning.message),
                "location": location(&warning.span),
            });
            if let Some(url) = warning.rule.url() {
                value["url"] = url.into();
            }
            value
        })
    }

    fn json_errors(&self) -> impl Iterator<Item = Value> {
        self.errors().into_iter().map(|(message, span)| {
            let mut value = json!({ "message": message });
            if let Some(span) = span {
                value["location"] = location(span);
            }
            value
        })
    }

    fn sarif_results(&self) -> Vec<Value> {
        let warnings = self.warnings.iter().map(|warning| {
            self.sarif_result(warning.rule.name(), "warning", &warning.message, Some(&warning.span))
        });
        let errors = self.errors().into_iter();
        let errors =
            errors.map(|(message, span)| self.sarif_result(BUILD_ERROR, "error", message, span));
        errors.chain(warnings).collect()
    }

    fn sarif_result(&self, rule: &str, level: &str, message: &str, span: Option<&Span>) -> Value {
        let region = span
            .map(|span| json!({ "startLine": span.lines.start(), "endLine": span.lines.end() }));
        let mut place = json!({ "artifactLocation": { "uri": uri(self.name) } });
        if let Some(region) = region {
            place["region"] = region;
        }
        json!({
            "ruleId": rule,
            "level": level,
            "message": { "text": redacted(message) },
            "locations": [{ "physicalLocation": place }],
        })
    }

    fn errors(&self) -> Vec<(&str, Option<&Span>)> {
        self.problem.as_ref().map(Problem::each).unwrap_or_default()
    }
}

/// Returns the JSON of `docker buildx build --call check,format=json`, with all errors added as
/// `buildErrors`.
pub(crate) fn json(files: &[Findings<'_>]) -> Value {
    let sources = files.iter().map(|file| {
        json!({
            "filename": file.name,
            "language": "Dockerfile",
            "data": STANDARD.encode(&*redacted(file.source)),
        })
    });
    let mut document = json!({
        "warnings": files.iter().flat_map(Findings::json_warnings).collect::<Vec<_>>(),
        "sources": sources.collect::<Vec<_>>(),
    });
    let errors: Vec<Value> = files.iter().flat_map(Findings::json_errors).collect();
    if let Some(first) = errors.first() {
        document["buildError"] = first.clone();
        document["buildErrors"] = errors.into();
    }
    document
}

/// Returns a SARIF log of one run.
///
/// **Source** — OASIS SARIF 2.1.0, § 3.13 sarifLog and below.
pub(crate) fn sarif(files: &[Findings<'_>]) -> Value {
    let rules = Rule::ALL.map(|rule| {
        let mut value = json!({
            "id": rule.name(),
            "shortDescription": { "text": rule.description() },
            "defaultConfiguration": { "level": "warning" },
        });
        if let Some(url) = rule.url() {
            value["helpUri"] = url.into();
        }
        value
    });
    let error = json!({
        "id": BUILD_ERROR,
        "shortDescription": { "text": "The Dockerfile can be built" },
        "defaultConfiguration": { "level": "error" },
    });
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": env!("CARGO_PKG_NAME"),
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.into_iter().chain([error]).collect::<Vec<_>>(),
            }},
            "results": files.iter().flat_map(Findings::sarif_results).collect::<Vec<_>>(),
        }],
    })
}

/// Returns the lines of a span in the form of BuildKit.
pub(crate) fn location(span: &Span) -> Value {
    json!({ "ranges": [{
        "start": { "line": span.lines.start() },
        "end": { "line": span.lines.end() },
    }]})
}

/// Returns a path as a URI reference.
///
/// **Source** — RFC 3986 § 2.3, § 3.3.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use xbuild_build::error::PlanningError;
    use xbuild_dockerfile::{Checks, lint, parse};

    const SOURCE: &str = "FROM a AS B\nMAINTAINER c\n";

    fn with_findings(look: impl FnOnce(&Findings<'_>)) {
        let file = parse("a b/Dockerfile", SOURCE.as_bytes()).unwrap();
        let warnings = lint(&file, &Checks::default());
        let errors = parse("a b/Dockerfile", b"ONE\nTWO\n").unwrap_err();
        let files = [("a b/Dockerfile", SOURCE)];
        let problem = Problem::in_files(&PlanningError::from(errors), &files);
        look(&Findings {
            name: "a b/Dockerfile",
            path: "a b/Dockerfile",
            source: SOURCE,
            warnings: &warnings,
            problem: Some(problem),
        });
    }

    #[test]
    fn people_see_the_lines() {
        with_findings(|findings| {
            let text = findings.text();
            assert!(text.contains("warning: StageNameCasing: "), "{text}");
            assert!(text.contains("   1 |> FROM a AS B\n"), "{text}");
            assert!(text.contains("see: https://docs.docker.com/go/dockerfile/rule/"), "{text}");
            assert!(text.ends_with("\na b/Dockerfile: 2 warnings\n"), "{text}");
        });
    }

    #[test]
    fn programs_see_what_buildx_prints() {
        with_findings(|findings| {
            let json = json(std::slice::from_ref(findings));
            assert_eq!(json["warnings"][0]["ruleName"], "StageNameCasing");
            assert_eq!(json["warnings"][1]["location"]["ranges"][0]["start"]["line"], 2);
            assert_eq!(json["sources"][0]["filename"], "a b/Dockerfile");
            assert_eq!(json["buildError"]["message"], "unknown instruction \"ONE\"");
            assert_eq!(json["buildErrors"][1]["location"]["ranges"][0]["end"]["line"], 2);
        });
    }

    #[test]
    fn code_hosts_see_rules_and_places() {
        with_findings(|findings| {
            let run = &sarif(std::slice::from_ref(findings))["runs"][0];
            let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
            let results = run["results"].as_array().unwrap();
            assert_eq!(results.len(), 4);
            for result in results {
                assert!(rules.iter().any(|rule| rule["id"] == result["ruleId"]));
            }
            assert_eq!(results[0]["level"], "error");
            let place = &results[3]["locations"][0]["physicalLocation"];
            assert_eq!(place["artifactLocation"]["uri"], "a%20b/Dockerfile");
            assert_eq!(place["region"]["startLine"], 2);
        });
    }
}
