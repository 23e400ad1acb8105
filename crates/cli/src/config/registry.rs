//! The options of registries, as `xbuild config set` writes them.

use toml_edit::Value;
use xbuild_build::{REGISTRY_OPTIONS, RegistryOption};
use xbuild_wording::{hints, quoted};

use super::key::{name_of, unknown};
use crate::report::Problem;
use crate::switches::boolean;

/// Returns the value of a key of the table of registries, in the form of the option.
///
/// `key` has the table, the host and the option, and for a header its name.
pub(crate) fn registry_value(key: &[String], texts: &[String]) -> Result<Value, Problem> {
    let [_, _, option, rest @ ..] = key else {
        let message = format!("{} is no option of a registry", name_of(key));
        return Err(Problem::input(message).with_hint(hints::option_of_registry()));
    };
    let form = REGISTRY_OPTIONS.iter().find(|(name, _)| name == option).map(|(_, form)| *form);
    match (form, rest) {
        (Some(RegistryOption::Headers), [_]) | (Some(_), []) => {}
        _ => return Err(unknown_option(key)),
    }
    let one = || match texts {
        [text] => Ok(text.as_str()),
        _ => Err(Problem::command_line(format!("{} takes one value", name_of(key)))),
    };
    let invalid = |text: &str, reason: &str| {
        Problem::input(format!("invalid {} {}: {reason}", name_of(key), quoted(&text)))
    };
    match (form, rest) {
        (Some(RegistryOption::Texts), _) => Ok(texts.iter().map(String::as_str).collect()),
        (Some(RegistryOption::Truth), _) => {
            let text = one()?;
            boolean(text).map(Value::from).map_err(|reason| invalid(text, &reason))
        }
        (Some(RegistryOption::Size), _) => {
            let text = one()?;
            let size = text.parse::<i64>().ok().filter(|size| *size > 0);
            size.map(Value::from).ok_or_else(|| invalid(text, "expected a number of bytes"))
        }
        (Some(RegistryOption::Headers), []) => {
            let message = format!("{} is a table", name_of(key));
            Err(Problem::input(message).with_hint(hints::header_of_registry(name_of(key))))
        }
        _ => one().map(Value::from),
    }
}

/// Returns the problem of an option that no registry has. A host without quotes is taken apart at its dots.
fn unknown_option(key: &[String]) -> Problem {
    let names = || REGISTRY_OPTIONS.iter().map(|(name, _)| *name);
    if let [table, host @ .., option] = key
        && host.len() > 1
        && names().any(|name| name == option)
    {
        let meant = name_of(&[table.clone(), host.join("."), option.clone()]);
        let message = format!("unknown key {}", name_of(key));
        return Problem::input(message).with_hint(hints::did_you_mean(meant));
    }
    match key {
        [_, _, option, _, ..] if names().any(|name| name == option) => unknown("key", key, []),
        _ => unknown("key", &key[..key.len().min(3)], names()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(key: &[&str], texts: &[&str]) -> String {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        match registry_value(&owned(key), &owned(texts)) {
            Ok(value) => value.to_string().trim().to_owned(),
            Err(problem) => problem.render(),
        }
    }

    #[test]
    fn values_have_the_form_of_their_option() {
        let key = |option: &'static str| ["registry", "r.example", option];
        for (option, texts, expected) in [
            ("mirrors", &["m.example", "5000"][..], "[\"m.example\", \"5000\"]"),
            ("ca", &["ca.pem"], "[\"ca.pem\"]"),
            ("insecure", &["true"], "true"),
            ("chunk-size", &["5000"], "5000"),
            ("client-key", &["7"], "\"7\""),
        ] {
            assert_eq!(shown(&key(option), texts), expected);
        }
        assert_eq!(shown(&["registry", "r.example", "headers", "X-A"], &["1"]), "\"1\"");
    }

    #[test]
    fn what_no_registry_has_is_refused() {
        for (key, texts, words) in [
            (&["registry"][..], &["a"][..], "registry.\"HOST\".mirrors"),
            (&["registry", "r"], &["a"], "registry.\"HOST\".mirrors"),
            (&["registry", "r", "mirror"], &["a"], "did you mean registry.r.mirrors?"),
            (
                &["registry", "r", "example", "mirrors"],
                &["a"],
                "did you mean registry.\"r.example\".mirrors?",
            ),
            (&["registry", "r", "mirrors", "a"], &["a"], "unknown key registry.r.mirrors.a"),
            (&["registry", "r", "insecure"], &["maybe"], "expected true or false"),
            (&["registry", "r", "insecure"], &["true", "true"], "takes one value"),
            (&["registry", "r", "chunk-size"], &["0"], "expected a number of bytes"),
            (&["registry", "r", "headers"], &["a"], "registry.r.headers.NAME"),
        ] {
            let shown = shown(key, texts);
            assert!(shown.starts_with("error: ") && shown.contains(words), "{shown}");
        }
    }
}
