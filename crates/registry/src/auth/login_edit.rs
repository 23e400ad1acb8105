//! Keeping and forgetting logins in the text of Docker's `config.json`.
//!
//! All other members stay as they are. **Source** — docker CLI reference § docker login.

use base64::Engine as _;
use serde_json::{Map, Value, json};
use xbuild_image::printable::printable;
use xbuild_model::reference::DOCKER_HUB;

use crate::auth::credential::Secret;
use crate::auth::credential_helper;
use crate::auth::login_file::{canonical_host, split_key};
use crate::error::CredentialsError;

/// The key that Docker keeps the credentials of its own registry under.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// A changed `config.json`.
#[derive(Debug)]
pub struct LoginEdit {
    /// The new text.
    pub text: String,
    /// The helper that keeps the logins of the registry; `None` if the file does.
    pub helper: Option<String>,
    /// The key of the registry, for the helper and in the file.
    pub key: String,
}

impl LoginEdit {
    /// Adds a login. With a helper the file only names the registry, as docker has it.
    ///
    /// **Errors** — the file is not of the expected form. It is not changed then: it may be another
    /// program's.
    pub fn add(
        text: &str,
        registry: &str,
        user: &str,
        password: &Secret,
    ) -> Result<Self, CredentialsError> {
        let File { mut members, helper, key } = read(text, registry)?;
        let entry = match helper {
            Some(_) => json!({}),
            None => {
                let text = format!("{user}:{}", password.expose());
                json!({"auth": base64::engine::general_purpose::STANDARD.encode(text)})
            }
        };
        auths(&mut members)?.insert(key.clone(), entry);
        Ok(Self { text: write(&members), helper, key })
    }

    /// Removes the logins of a registry, whatever their keys are; `None` if the file has none. Those
    /// for repositories of it stay.
    pub fn remove(text: &str, registry: &str) -> Result<Option<Self>, CredentialsError> {
        let File { mut members, helper, key } = read(text, registry)?;
        let auths = auths(&mut members)?;
        let before = auths.len();
        let own = (canonical_host(registry), String::new());
        auths.retain(|key, _| split_key(key) != own);
        let is_changed = auths.len() < before || helper.is_some();
        Ok(is_changed.then(|| Self { text: write(&members), helper, key }))
    }
}

/// A file, with the helper and the key of a registry.
struct File {
    members: Map<String, Value>,
    helper: Option<String>,
    key: String,
}

fn read(text: &str, registry: &str) -> Result<File, CredentialsError> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let text = if text.is_empty() { "{}" } else { text };
    let malformed =
        |e: serde_json::Error| CredentialsError::Malformed { line: e.line(), column: e.column() };
    // Go writes `null` for what is absent.
    let members: Option<Map<String, Value>> = serde_json::from_str(text).map_err(malformed)?;
    let members = members.unwrap_or_default();
    let host = canonical_host(registry);
    let own = members.get("credHelpers").and_then(Value::as_object).into_iter().flatten();
    let own = own.filter(|(key, _)| split_key(key).0 == host).map(|(_, name)| name).next();
    let name = own.or_else(|| members.get("credsStore")).and_then(Value::as_str);
    let helper = name.filter(|name| !name.is_empty()).map(str::to_owned);
    helper.iter().try_for_each(|name| credential_helper::check_name(name))?;
    let key = if host == DOCKER_HUB { DOCKER_HUB_KEY.to_owned() } else { registry.to_owned() };
    Ok(File { members, helper, key })
}

fn auths(file: &mut Map<String, Value>) -> Result<&mut Map<String, Value>, CredentialsError> {
    let auths = file.entry("auths").or_insert(Value::Null);
    if auths.is_null() {
        *auths = json!({});
    }
    let wrong = || CredentialsError::Member { name: printable("auths", 200) };
    auths.as_object_mut().ok_or_else(wrong)
}

fn write(file: &Map<String, Value>) -> String {
    // A map of JSON values can always be written. Docker writes tabs.
    format!("{:#}\n", Value::Object(file.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::credentials::Credentials;

    #[test]
    fn a_login_that_is_added_is_found_and_removed() {
        let secret = Secret::new("pa:ss");
        for registry in ["r.example:5000", "docker.io"] {
            let text = r#"{"auths": null, "HttpHeaders": {"a": "b"}, "x": 1}"#;
            let edit = LoginEdit::add(text, registry, "user", &secret).unwrap();
            assert!(edit.text.contains("HttpHeaders") && edit.helper.is_none());
            let mut credentials = Credentials::default();
            assert!(credentials.add_file(&edit.text).is_empty());
            let found = credentials.lookup(registry, "a").unwrap();
            assert!(format!("{found:?}").contains("\"user\""), "{found:?}");
            let removed = LoginEdit::remove(&edit.text, registry).unwrap().unwrap();
            assert!(!removed.text.contains("auth\":") && removed.text.contains("HttpHeaders"));
            assert!(LoginEdit::remove(&removed.text, registry).unwrap().is_none());
        }
        for empty in ["", "null", " null\n", "{}"] {
            let edit = LoginEdit::add(empty, "r.example", "u", &secret).unwrap();
            assert!(edit.text.contains("r.example"), "{empty}");
            assert!(LoginEdit::remove(empty, "r.example").unwrap().is_none(), "{empty}");
        }
    }

    #[test]
    fn a_helper_keeps_what_it_is_named_for() {
        let text = r#"{"credsStore": "all", "credHelpers": {"r.example": "own"}}"#;
        for (registry, expected) in [("r.example", "own"), ("s.example", "all")] {
            let edit = LoginEdit::add(text, registry, "u", &Secret::new("SECRET")).unwrap();
            assert_eq!(edit.helper.as_deref(), Some(expected));
            assert!(
                !edit.text.contains(&base64::engine::general_purpose::STANDARD.encode("u:SECRET"))
            );
        }
        for bad in ["{", "[]", r#"{"auths": 1}"#, r#"{"credsStore": "../x"}"#] {
            assert!(LoginEdit::add(bad, "r.example", "u", &Secret::new("p")).is_err(), "{bad}");
        }
    }
}
