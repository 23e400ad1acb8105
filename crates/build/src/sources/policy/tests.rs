//! Tests of policies.

use super::*;

fn applied(policies: &[&str], identifier: &str) -> Result<Subject, SourceError> {
    let policies: Vec<Policy> =
        policies.iter().map(|text| Policy::read("policy.json", text).unwrap()).collect();
    let compiled: Vec<_> = policies.iter().map(|policy| policy.compile().unwrap()).collect();
    let mut subject = Subject {
        identifier: identifier.to_owned(),
        attributes: BTreeMap::new(),
        converted_by: None,
    };
    apply(&compiled, &mut subject).map(|()| subject)
}

#[test]
fn the_last_rule_that_matches_counts() {
    let text = r#"{"rules": [
        {"action": "DENY", "selector": {"identifier": "docker-image://*"}},
        {"action": "ALLOW", "selector": {"identifier": "docker-image://r.example/*"}}
    ]}"#;
    assert!(applied(&[text], "docker-image://r.example/a:1").is_ok());
    assert!(applied(&[text], "https://x.example/file").is_ok());
    let denied = applied(&[text], "docker-image://docker.io/library/a:1").unwrap_err();
    assert!(matches!(denied, SourceError::Denied { .. }), "{denied}");
}

#[test]
fn conversions_take_parts_of_the_name_along() {
    let one = |rule: &str| format!(r#"{{"rules": [{{"action": "CONVERT", {rule}}}]}}"#);
    for (rule, from, to) in [
        (
            r#""selector": {"identifier": "docker-image://docker.io/library/go:*"},
               "updates": {"identifier": "docker-image://docker.io/library/go:${1}-alpine"}"#,
            "docker-image://docker.io/library/go:1.19",
            // It is converted until nothing changes.
            "",
        ),
        (
            r#""selector": {"identifier": "docker-image://docker.io/*"},
               "updates": {"identifier": "docker-image://mirror.example/${1}"}"#,
            "docker-image://docker.io/library/go:1",
            "docker-image://mirror.example/library/go:1",
        ),
        (
            r#""selector": {"identifier": "^https://([a-z]+)\\.example/", "match_type": "REGEX"},
               "updates": {"identifier": "https://x/$1/"}"#,
            "https://some.example/file",
            "https://x/some/file",
        ),
        (
            r#""selector": {"identifier": "a*b", "match_type": "EXACT"},
               "updates": {"identifier": "c"}"#,
            "acb",
            "acb",
        ),
    ] {
        match applied(&[&one(rule)], from) {
            Ok(subject) => assert_eq!(subject.identifier, to),
            Err(error) => {
                assert!(to.is_empty() && error.to_string().contains("again"), "{error}")
            }
        }
    }
    let checksum = one(
        r#""selector": {"identifier": "https://*"}, "updates": {"attrs": {"http.checksum": "x"}}"#,
    );
    let subject = applied(&[&checksum], "https://a/b").unwrap();
    assert_eq!(
        (subject.identifier.as_str(), subject.attributes[CHECKSUM].as_str()),
        ("https://a/b", "x")
    );
}

#[test]
fn what_cannot_be_kept_is_refused() {
    for (text, word) in [
        ("{", "not a source policy"),
        (r#"{"rules": [{"selector": {"identifier": "a"}, "else": 1}]}"#, "else"),
        (r#"{"rules": [{"action": "MAYBE", "selector": {"identifier": "a"}}]}"#, "MAYBE"),
        (r#"{"rules": [{"action": "CONVERT", "selector": {"identifier": "a"}}]}"#, "rule 1"),
        (r#"{"rules": [{"selector": {"identifier": "(", "match_type": "REGEX"}}]}"#, "rule 1"),
        (r#"{"rules": [{"selector": {"identifier": "a**"}}]}"#, "**"),
        (r#"{"version": 2, "rules": []}"#, "version is 2"),
        (r#"{"file": "x", "rules": []}"#, "is not a member"),
        (
            r#"{"rules": [{"selector": {"identifier": "a",
                "constraints": [{"key": "git.keepgitdir", "value": "true"}]}}]}"#,
            "git.keepgitdir",
        ),
        (
            r#"{"rules": [{"action": "CONVERT", "selector": {"identifier": "a"},
                "updates": {"attrs": {"http.checksum": "a", "http.checksum": "b"}}}]}"#,
            "stands twice",
        ),
        (
            r#"{"rules": [{"action": "CONVERT", "selector": {"identifier": "a"},
                "updates": {"attrs": {"git.fullurl": "b"}}}]}"#,
            "git.fullurl",
        ),
    ] {
        let error = Policy::read("policy.json", text).unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("policy.json"), "{text}: {error}");
    }
}
