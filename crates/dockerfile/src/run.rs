//! RUN and its flags.

use crate::error::{ParseErrorKind, excerpt};
use crate::flags::Takes;
use crate::instruction::{Device, Heredoc, Mount, MountOption, Network, Run, Security};
use crate::keyword::Keyword;
use crate::line::Line;

/// Reads a RUN.
pub(crate) fn read(line: &Line<'_>, heredocs: Vec<Heredoc>) -> Result<Run, ParseErrorKind> {
    let flags = line.flags(&[
        ("mount", Takes::Values),
        ("network", Takes::Value),
        ("security", Takes::Value),
        ("device", Takes::Values),
    ])?;
    let network = match flags.values("network").next() {
        None => None,
        Some("default") => Some(Network::Default),
        Some("none") => Some(Network::None),
        Some("host") => Some(Network::Host),
        Some(value) => return Err(bad_value("network", value, "default, none or host")),
    };
    let security = match flags.values("security").next() {
        None => None,
        Some("sandbox") => Some(Security::Sandbox),
        Some("insecure") => Some(Security::Insecure),
        Some(value) => return Err(bad_value("security", value, "sandbox or insecure")),
    };
    Ok(Run {
        mounts: flags.values("mount").map(mount).collect::<Result<_, _>>()?,
        network,
        security,
        devices: flags.values("device").map(device).collect::<Result<_, _>>()?,
        command: line.command(),
        heredocs,
        original: line.original.to_owned(),
    })
}

fn bad_value(flag: &'static str, value: &str, expected: &'static str) -> ParseErrorKind {
    let keyword = Keyword::Run;
    ParseErrorKind::BadFlagValue { keyword, flag, value: excerpt(value), expected }
}

fn mount(list: &str) -> Result<Mount, ParseErrorKind> {
    let mut options = Vec::new();
    for field in option_list("mount", list)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field.as_str(), None),
        };
        let key = key.to_lowercase();
        if let ("from", Some(value)) = (key.as_str(), value)
            && value.find('$').is_some_and(|at| at + 1 < value.len())
        {
            let (keyword, option) = (Keyword::Run, "--mount=from");
            return Err(ParseErrorKind::FromVariable { keyword, option, value: excerpt(value) });
        }
        options.push(MountOption { key, value: value.map(str::to_owned) });
    }
    Ok(Mount { options })
}

/// Reads `NAME[,required[=BOOL]]` or `name=NAME[,...]`.
fn device(list: &str) -> Result<Device, ParseErrorKind> {
    let expected = "NAME[,required]";
    let mut name = None;
    let mut required = false;
    for field in option_list("device", list)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        match (key.as_str(), value) {
            ("required", None) => required = true,
            ("required", Some(value)) => {
                required = boolean(value).ok_or_else(|| bad_value("device", list, expected))?;
            }
            ("name", Some(value)) if name.is_none() => name = Some(value.to_owned()),
            // The names of devices hold equals signs: `vendor.example/class=0`.
            _ if name.is_none() => name = Some(field),
            _ => return Err(bad_value("device", list, expected)),
        }
    }
    let name = name.filter(|name| !name.is_empty());
    Ok(Device { name: name.ok_or_else(|| bad_value("device", list, expected))?, required })
}

fn boolean(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Splits a line of comma-separated values. A field that begins with `"` ends at the next one,
/// where `""` is a quote.
fn option_list(flag: &'static str, list: &str) -> Result<Vec<String>, ParseErrorKind> {
    let misplaced = || ParseErrorKind::BadOptionList { flag, value: excerpt(list) };
    let mut fields = Vec::new();
    let mut rest = list;
    loop {
        let mut field = String::new();
        let after = match rest.strip_prefix('"') {
            None => {
                let (plain, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                if plain.contains('"') {
                    return Err(misplaced());
                }
                field.push_str(plain);
                after
            }
            Some(mut quoted) => loop {
                let (part, after) = quoted.split_once('"').ok_or_else(misplaced)?;
                field.push_str(part);
                match after.strip_prefix('"') {
                    Some(more) => quoted = more,
                    None => break after,
                }
                field.push('"');
            },
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => return Ok(fields),
            None => return Err(misplaced()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_comma_separated_values() {
        for (list, expected) in [
            ("a=1,b", Some(&["a=1", "b"][..])),
            (r#"a,"b=c,""d""",e"#, Some(&["a", "b=c,\"d\"", "e"])),
            ("a,,", Some(&["a", "", ""])),
            ("", Some(&[""])),
            ("a\"b", None),
            ("\"a", None),
            ("\"a\"b", None),
        ] {
            let fields = option_list("mount", list).ok();
            assert_eq!(fields, expected.map(|e| e.iter().map(|s| s.to_string()).collect()));
        }
    }

    #[test]
    fn a_device_has_a_name() {
        let read = |list| device(list).map(|device| (device.name, device.required)).ok();
        assert_eq!(read("vendor.example/class=0"), Some(("vendor.example/class=0".into(), false)));
        assert_eq!(read("required,name=x"), Some(("x".into(), true)));
        assert_eq!(read("x,required=false"), Some(("x".into(), false)));
        for list in ["", "required", "x,y", "x,required=maybe"] {
            assert_eq!(read(list), None, "{list}");
        }
    }
}
