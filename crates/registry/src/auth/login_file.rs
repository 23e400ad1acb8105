//! One file of logins: Docker's `config.json`, or a containers `auth.json`.
//!
//! Programs of all kinds write these files. A part that cannot be read is left out and reported, and
//! the rest counts: most builds need no login at all. Go writes `null` for what is absent.
//!
//! **Source** — docker CLI reference § docker login; `containers-auth.json(5)`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};
use xbuild_image::printable::printable;
use xbuild_model::reference::DOCKER_HUB;

use crate::auth::credential::{Credential, Secret};
use crate::auth::credential_helper;
use crate::error::CredentialsError;

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The logins of a file.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoginFile {
    /// The longest path first, so that the first match is the closest.
    pub(crate) entries: Vec<Entry>,
    /// Host and port -> name of the helper.
    pub(crate) helpers: BTreeMap<String, String>,
    /// The helper for all other hosts.
    pub(crate) store: Option<String>,
}

/// A login.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) host: String,
    /// The entry holds for repositories at or below this path; empty for all.
    pub(crate) path: String,
    pub(crate) credential: Credential,
}

impl LoginFile {
    /// Reads a file, and returns the faults of the parts that were left out.
    pub(crate) fn parse(text: &str) -> (Self, Vec<CredentialsError>) {
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            return Default::default();
        }
        // The parser's message may quote a secret; line and column say enough.
        let malformed = |e: serde_json::Error| {
            let (line, column) = (e.line(), e.column());
            (Self::default(), vec![CredentialsError::Malformed { line, column }])
        };
        let file: Value = match serde_json::from_str(text) {
            Ok(file) => file,
            Err(error) => return malformed(error),
        };
        let mut found = Self::default();
        let mut faults = Vec::new();
        let Some(file) = object(&file, "the file", &mut faults) else { return (found, faults) };
        if let Some(auths) = object(member(file, "auths"), "auths", &mut faults) {
            for (key, auth) in auths {
                match entry(key, auth) {
                    Ok(entry) => found.entries.extend(entry),
                    Err(fault) => faults.push(fault),
                }
            }
        }
        found.entries.sort_by_key(|entry| std::cmp::Reverse(entry.path.len()));
        if let Some(helpers) = object(member(file, "credHelpers"), "credHelpers", &mut faults) {
            for (key, name) in helpers {
                let name = helper(name, key, &mut faults);
                found.helpers.extend(name.map(|name| (split_key(key).0, name)));
            }
        }
        found.store = helper(member(file, "credsStore"), "credsStore", &mut faults);
        (found, faults)
    }
}

fn member<'v>(object: &'v Map<String, Value>, name: &str) -> &'v Value {
    object.get(name).unwrap_or(&Value::Null)
}

fn object<'v>(
    value: &'v Value,
    name: &str,
    faults: &mut Vec<CredentialsError>,
) -> Option<&'v Map<String, Value>> {
    match value {
        Value::Null => None,
        Value::Object(object) => Some(object),
        _ => {
            faults.push(CredentialsError::Member { name: printable(name, 200) });
            None
        }
    }
}

/// Reads the name of a helper. An empty name means none.
fn helper(value: &Value, key: &str, faults: &mut Vec<CredentialsError>) -> Option<String> {
    let checked = match value {
        Value::Null => return None,
        Value::String(name) if name.is_empty() => return None,
        Value::String(name) => credential_helper::check_name(name).map(|()| name.clone()),
        _ => Err(CredentialsError::Member { name: printable(key, 200) }),
    };
    checked.map_err(|fault| faults.push(fault)).ok()
}

/// Reads an entry of `auths`; `None` if it holds no login.
fn entry(key: &str, auth: &Value) -> Result<Option<Entry>, CredentialsError> {
    let wrong = || CredentialsError::Member { name: printable(key, 200) };
    let auth = match auth {
        Value::Null => return Ok(None),
        Value::Object(auth) => auth,
        _ => return Err(wrong()),
    };
    let text = |name: &str| match member(auth, name) {
        Value::Null => Ok(""),
        Value::String(text) => Ok(text.as_str()),
        _ => Err(wrong()),
    };
    let (host, path) = split_key(key);
    let entry = |credential| Ok(Some(Entry { host, path, credential }));
    let (bearer, identity) = (text("registrytoken")?, text("identitytoken")?);
    if !bearer.is_empty() {
        return entry(Credential::Bearer { token: Secret::new(bearer) });
    }
    if !identity.is_empty() {
        return entry(Credential::Identity { token: Secret::new(identity) });
    }
    let (user, password) = match text("auth")? {
        "" => (text("username")?.to_owned(), text("password")?.to_owned()),
        auth => {
            decode(auth).ok_or_else(|| CredentialsError::Auth { registry: printable(key, 200) })?
        }
    };
    if user.is_empty() {
        return Ok(None);
    }
    entry(Credential::Basic { user, password: Secret::new(password) })
}

/// Reads the base64 of `user:password`, which may be broken into lines.
fn decode(auth: &str) -> Option<(String, String)> {
    let bare: String = auth.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let text = String::from_utf8(BASE64.decode(bare).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    // Docker pads passwords with NUL characters.
    Some((user.to_owned(), password.trim_matches('\0').to_owned()))
}

/// Splits a key of the configuration into host and path: `https://host/v1/` means the whole host,
/// `host/a/b` the repositories below `a/b` there.
pub(crate) fn split_key(key: &str) -> (String, String) {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let (host, path) = match bare.unwrap_or(key).split_once('/') {
        Some((host, path)) => (host, path.trim_end_matches('/')),
        None => (bare.unwrap_or(key), ""),
    };
    let path = if bare.is_some() || matches!(path, "v1" | "v2") { "" } else { path };
    (canonical_host(host), path.to_owned())
}

/// Returns the host in lower case, with one name for all names of Docker's own registry.
pub(crate) fn canonical_host(host: &str) -> String {
    match host.to_ascii_lowercase().as_str() {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_in_any_way_is_no_fault() {
        for text in [
            "",
            " \n",
            "\u{feff}{}",
            "null",
            "{}",
            r#"{"auths": null, "credHelpers": null, "credsStore": null}"#,
            r#"{"auths": {"r.example": null}, "credHelpers": {"r.example": null}}"#,
            r#"{"auths": {"r.example": {"auth": null, "identitytoken": null, "email": null}}}"#,
            r#"{"auths": {}, "credHelpers": {"r.example": ""}, "credsStore": ""}"#,
        ] {
            let (file, faults) = LoginFile::parse(text);
            assert!(faults.is_empty(), "{text}: {faults:?}");
            assert!(file.entries.is_empty() && file.helpers.is_empty() && file.store.is_none());
        }
    }

    #[test]
    fn a_fault_spoils_nothing_else_and_shows_no_secret() {
        let good = r#""good.example": {"auth": "dXNl\ncjpw\r\nYXNz"}"#;
        for bad in [
            r#"{"auths": {"b.example": {"auth": "hunter2!"}, GOOD}}"#,
            r#"{"auths": {"b.example": {"auth": "aHVudGVyMg=="}, GOOD}}"#,
            r#"{"auths": {"b.example": {"auth": 7}, GOOD}}"#,
            r#"{"auths": {"b.example": "hunter2!", GOOD}}"#,
            r#"{"auths": {GOOD}, "credsStore": "../hunter2!"}"#,
            r#"{"auths": {GOOD}, "credsStore": []}"#,
            r#"{"auths": {GOOD}, "credHelpers": {"b.example": "a/b"}}"#,
            r#"{"auths": {GOOD}, "credHelpers": "hunter2!"}"#,
        ] {
            let (file, faults) = LoginFile::parse(&bad.replace("GOOD", good));
            let shown = format!("{} {:?}", faults[0], faults[0]);
            assert_eq!(faults.len(), 1, "{bad}");
            assert!(!shown.contains("aHVudGVyMg"), "{shown}");
            let [only] = &file.entries[..] else { panic!("{bad}") };
            let password = Secret::new("pass");
            assert_eq!(only.credential, Credential::Basic { user: "user".to_owned(), password });
        }
        for bad in ["{", "[]", "7", r#"{"auths": {"r.example": {"auth": hunter2}}}"#] {
            let (file, faults) = LoginFile::parse(bad);
            assert!(file.entries.is_empty() && faults.len() == 1, "{bad}");
            assert!(!format!("{} {:?}", faults[0], faults[0]).contains("hunter2"));
        }
    }
}
