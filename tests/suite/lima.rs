//! `fixtures/lima/xbuild.yaml`: a parser of YAML reads it, its fields are those that Lima documents, and
//! its script and its commands are sound.

use std::fs;

use serde_json::Value;

use crate::ci_templates::yaml;
use crate::harness::{checkout, program, tool};

/// The fields of Lima 2.0 that the template may use, with those below them.
///
/// **Source** — Lima 2.0, `templates/default.yaml`; `base` in its documentation, § Templates.
const FIELDS: [(&str, &[&str]); 7] = [
    ("minimumLimaVersion", &[]),
    ("base", &[]),
    ("vmType", &[]),
    ("containerd", &["system", "user"]),
    ("mounts", &["location", "mountPoint", "writable"]),
    ("provision", &["mode", "script"]),
    ("message", &[]),
];

fn template() -> Value {
    let path = checkout().join("fixtures/lima/xbuild.yaml");
    yaml(&fs::read_to_string(path).unwrap())
}

#[test]
fn has_the_fields_that_lima_documents() {
    for (name, value) in template().as_object().unwrap() {
        let known = FIELDS.iter().find(|(field, _)| field == name);
        let (_, below) = known.unwrap_or_else(|| panic!("Lima has no field {name}"));
        let parts = value.as_array().map_or_else(|| vec![value], |list| list.iter().collect());
        for field in parts.iter().filter_map(|part| part.as_object()).flatten() {
            assert!(below.contains(&field.0.as_str()), "{name} has no field {}", field.0);
        }
    }
    let template = template();
    assert_eq!(template["minimumLimaVersion"], "2.0.0");
    for base in template["base"].as_array().unwrap() {
        assert!(base.as_str().unwrap().starts_with("template:_"), "{base}");
    }
}

#[test]
fn its_script_is_one_of_the_shell() {
    for part in template()["provision"].as_array().unwrap() {
        assert!(["system", "user"].contains(&part["mode"].as_str().unwrap()));
        let script = part["script"].as_str().unwrap();
        assert!(script.starts_with("#!/bin/sh\n"));
        tool("sh", ["-n", "-c", script]);
    }
}

#[test]
fn its_message_names_commands_that_exist() {
    let template = template();
    let message = template["message"].as_str().unwrap();
    let mut count = 0;
    for line in message.lines().map(str::trim).filter(|line| line.starts_with("limactl ")) {
        assert!(line.contains("{{.Name}}"), "{line}");
        if let Some((_, command)) = line.split_once(" xbuild ") {
            let name = command.split(' ').next().unwrap();
            let help = tool(program().to_str().unwrap(), [name, "--help"]);
            assert!(help.contains("Usage: xbuild"), "{line}");
            count += 1;
        }
    }
    assert_eq!(count, 2);
}
