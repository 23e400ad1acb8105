//! Values of whole files.

use std::collections::BTreeMap;

use crate::{BakeError, Config, File, Given, World};

/// Reads a file with variables of the environment and of the command line.
fn read(
    (name, text): (&str, &str),
    environment: &[(&str, &str)],
    variables: &[(&str, &str)],
) -> Result<Config, BakeError> {
    let variable = |name: &str| {
        let found = environment.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let given = Given {
        variables: variables.iter().map(own).collect(),
        environment: &variable,
        files: &|_| Ok(None),
        built_in: BTreeMap::new(),
        world: World { now: 0, home: "/root".to_owned(), random: || [0; 16] },
    };
    Config::read(&[File { name: name.to_owned(), text: text.to_owned() }], &given)
}

/// Returns the value of an expression as JSON.
fn json(expr: &str) -> Result<String, String> {
    let text = format!(
        "function \"upper\" {{\n params = [x]\n result = \"mine\"\n}}\n\
         target \"t\" {{\n args = {{ x = jsonencode({expr}) }}\n}}\n"
    );
    let config = read(("b.hcl", &text), &[], &[]).map_err(|error| error.to_string())?;
    Ok(config.targets[0].1.args["x"].clone().unwrap_or_default())
}

#[test]
fn both_results_of_a_condition_have_one_type() {
    for (expr, expected) in [
        (r#"true ? 1 : "a""#, r#""1""#),
        (r#"false ? "a" : true"#, r#""true""#),
        ("true ? 1 : null", "1"),
        (r#"true ? [1] : ["a", "b"]"#, r#"["1"]"#),
        (r#"true ? {a = 1} : {b = "x"}"#, r#"{"a":"1"}"#),
        ("true ? 1 : nosuch", "1"),
        ("true ? {a = 1, b = [1]} : {}", r#"{"a":1,"b":[1]}"#),
        (r#"[for x in [1, 2] : x > 1 ? x : "none"]"#, r#"["none","2"]"#),
    ] {
        assert_eq!(json(expr).as_deref(), Ok(expected), "{expr}");
    }
    for expr in ["true ? 1 : false", r#"true ? [1] : "a""#, "true ? {} : []"] {
        let message = json(expr).unwrap_err();
        assert!(message.contains("the results of the condition are"), "{message}");
    }
}

#[test]
fn a_built_in_function_counts() {
    assert_eq!(json(r#"upper("a")"#).as_deref(), Ok(r#""A""#));
}

#[test]
fn a_byte_order_mark_makes_no_difference() {
    for (name, text) in [
        ("b.hcl", "target \"t\" {}\n"),
        ("b.json", "{\"target\": {\"t\": {}}}\n"),
        ("b", "{\"target\": {\"t\": {}}}\n"),
        ("b.yaml", "services: {t: {build: .}}\n"),
        ("b", "services: {t: {build: .}}\n"),
    ] {
        let config = read((name, &format!("\u{feff}{text}")), &[], &[]);
        let config = config.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(config.targets[0].0, "t", "{name}");
    }
    let text = "\u{feff}target \"t\" { args = { x = \"${y}\" } }\n";
    let message = read(("b.hcl", text), &[], &[]).unwrap_err().to_string();
    assert!(message.starts_with("b.hcl:1: there is no variable named y"), "{message}");
}

#[test]
fn messages_say_where_a_value_comes_from() {
    let number = "\nvariable \"N\" { default = 1 }\n";
    let list = "variable \"L\" { type = list(list(string)) }\n";
    let bad = &[("N", "abc"), ("L", "a")];
    for (text, environment, variables, expected) in [
        (
            number,
            &bad[..],
            &[][..],
            "b.hcl:2: variable N, from N of the environment: \"abc\" is no number",
        ),
        (number, &[], &bad[..], "b.hcl:2: variable N, from --var N: \"abc\" is no number"),
        (
            list,
            bad,
            &[],
            "b.hcl:1: variable L, from L of the environment: a value of type list of string is given as JSON, in L_JSON",
        ),
        (
            list,
            &[("L_JSON", "[")],
            &[],
            "b.hcl:1: variable L, from L_JSON of the environment: not JSON",
        ),
    ] {
        let message = read(("b.hcl", text), environment, variables).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn errors_of_syntax_name_the_column() {
    let message = read(("b.hcl", "a = 1\nb = = 2\n"), &[], &[]).unwrap_err().to_string();
    assert!(message.starts_with("b.hcl:2: column 5: "), "{message}");
    let message = read(("b.yaml", "a: 1\nb: [1\n"), &[], &[]).unwrap_err().to_string();
    assert!(message.starts_with("b.yaml:") && message.contains(": column "), "{message}");
}
