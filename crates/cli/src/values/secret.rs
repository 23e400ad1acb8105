//! Values of `--secret` and `--ssh`.

use std::path::PathBuf;

use xbuild_build::request::{AgentSource, SecretPlace, SecretSource};
use xbuild_wording::{hints, quoted};

use super::csv;
use crate::environment;
use crate::report::Problem;

/// Reads a value of `--secret`.
pub(crate) fn secret(text: &str) -> Result<SecretSource, Problem> {
    parse(text, |name| environment::raw_variable(name).is_some())
}

/// Reads a value of `--ssh`, `ID[=SOCKET|=KEY[,KEY..]]`; an id alone stands for the agent of
/// `SSH_AUTH_SOCK`.
///
/// **Source** — `docker buildx build` reference, § --ssh.
pub(crate) fn agent(text: &str) -> AgentSource {
    let (id, paths) = text.split_once('=').unwrap_or((text, ""));
    let id = if id.is_empty() { "default" } else { id }.to_owned();
    let paths = paths.split(',').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
    AgentSource { id, paths }
}

/// Reads `id=ID[,src=FILE|,env=VARIABLE][,type=file|env]`.
///
/// **Source** — `docker buildx build` reference, § --secret: an id alone names the variable if that
/// is set, else the file; with `type=env`, `src` names the variable.
fn parse(text: &str, is_set: impl Fn(&str) -> bool) -> Result<SecretSource, Problem> {
    let fail = |reason: &str| {
        Problem::command_line(format!("invalid --secret {text}: {reason}", text = quoted(&text)))
            .with_hint(hints::form_of_secret())
    };
    let (mut id, mut file, mut variable) = (String::new(), String::new(), String::new());
    let mut is_variable = false;
    for part in csv::split(text) {
        let Some((key, value)) = part.split_once('=') else {
            return Err(fail("each part is key=value"));
        };
        match key.to_ascii_lowercase().as_str() {
            "id" => id = value.to_owned(),
            "src" | "source" => file = value.to_owned(),
            "env" => variable = value.to_owned(),
            "type" => match value {
                "env" => is_variable = true,
                "file" => is_variable = false,
                _ => return Err(fail("the type is file or env")),
            },
            key => {
                let known = ["id", "src", "source", "env", "type"];
                return Err(fail(&format!("{key}= is unknown")).did_you_mean(key, known, "="));
            }
        }
    }
    if id.is_empty() {
        return Err(fail("id= is missing"));
    }
    if is_variable && variable.is_empty() {
        variable = std::mem::take(&mut file);
    }
    let place = match (file.is_empty(), variable.is_empty()) {
        (false, false) => return Err(fail("src and env exclude each other")),
        (false, true) => SecretPlace::File(file.into()),
        (true, false) => SecretPlace::Variable(variable),
        (true, true) if is_variable || is_set(&id) => SecretPlace::Variable(id.clone()),
        (true, true) => SecretPlace::File(id.clone().into()),
    };
    Ok(SecretSource { id, place })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_buildx_reads() {
        let file = |path: &str| SecretPlace::File(path.into());
        let variable = |name: &str| SecretPlace::Variable(name.to_owned());
        for (text, id, place) in [
            ("id=a,src=f", "a", file("f")),
            ("id=a,source=f,type=file", "a", file("f")),
            ("ID=a,\"src=f,g\"", "a", file("f,g")),
            ("id=a,env=V", "a", variable("V")),
            ("type=env,id=a,src=V", "a", variable("V")),
            ("type=env,id=a,env=V", "a", variable("V")),
            ("id=SET", "SET", variable("SET")),
            ("id=unset", "unset", file("unset")),
            ("id=unset,type=env", "unset", variable("unset")),
        ] {
            let parsed = parse(text, |name| name == "SET").unwrap();
            assert_eq!(parsed, SecretSource { id: id.to_owned(), place }, "{text}");
        }
        for (text, word) in [
            ("a", "key=value"),
            ("src=f", "id="),
            ("id=a,type=other", "type"),
            ("id=a,src=f,env=V", "exclude"),
            ("id=a,dst=f", "dst="),
        ] {
            let problem = parse(text, |_| false).unwrap_err();
            assert!(problem.message().contains(word), "{text}: {}", problem.message());
        }
    }

    #[test]
    fn an_agent_has_an_id_and_paths() {
        for (text, shown) in [
            ("default", "default"),
            ("a=/s", "a=/s"),
            ("=/s", "default=/s"),
            ("a=/k,,/l", "a=/k,/l"),
        ] {
            assert_eq!(agent(text).to_string(), shown);
        }
    }
}
