//! The user's credentials: Docker's `config.json`, given as text, and credential helpers.
//!
//! An entry holds for one host and port, compared exactly, or for the repositories below a path
//! there. **Source** — docker CLI reference § docker login; `containers-auth.json(5)`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use serde::Deserialize;
use xbuild_model::reference::DOCKER_HUB;

use crate::auth::credential::{Credential, Secret};
use crate::auth::credential_helper;
use crate::error::CredentialsError;

/// The key that Docker keeps the credentials of its own registry under.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// All credentials, and the helpers that have more.
///
/// Helpers run only on [`Credentials::lookup`], once a registry has asked for a login.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    entries: Vec<Entry>,
    /// Host and port -> name of the helper.
    helpers: BTreeMap<String, String>,
    /// The helper for all other hosts.
    store: Option<String>,
    search_path: Vec<PathBuf>,
}

#[derive(Debug, Clone)]
struct Entry {
    host: String,
    /// The entry holds for repositories at or below this path; empty for all.
    path: String,
    credential: Credential,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ConfigFile {
    auths: BTreeMap<String, Auth>,
    #[serde(rename = "credsStore")]
    store: String,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Auth {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl Credentials {
    /// Returns the credentials of a Docker `config.json`, or of a containers `auth.json`.
    ///
    /// **Errors** — [`CredentialsError::Malformed`], [`CredentialsError::Auth`],
    /// [`CredentialsError::HelperName`].
    ///
    /// ```
    /// use xbuild_registry::{Credential, Credentials};
    ///
    /// let text = r#"{"auths": {"r.example:5000": {"auth": "dXNlcjpwYXNz"}}}"#;
    /// let credentials = Credentials::from_docker_config(text)?;
    /// assert!(credentials.lookup("r.example:5000", "app")?.is_some());
    /// assert!(credentials.lookup("r.example", "app")?.is_none());
    /// # Ok::<(), xbuild_registry::CredentialsError>(())
    /// ```
    pub fn from_docker_config(text: &str) -> Result<Self, CredentialsError> {
        // The parser's message may quote a secret; line and column say enough.
        let file: ConfigFile = serde_json::from_str(text)
            .map_err(|e| CredentialsError::Malformed { line: e.line(), column: e.column() })?;
        let mut entries = Vec::new();
        for (key, auth) in file.auths {
            let (host, path) = split_key(&key);
            if let Some(credential) = auth.credential(&key)? {
                entries.push(Entry { host, path, credential });
            }
        }
        // Longest path first: the first match is then the closest.
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.path.len()));
        let helpers: BTreeMap<_, _> =
            file.helpers.into_iter().map(|(key, name)| (split_key(&key).0, name)).collect();
        let store = Some(file.store).filter(|name| !name.is_empty());
        helpers.values().chain(&store).try_for_each(|name| credential_helper::check_name(name))?;
        Ok(Self { entries, helpers, store, search_path: Vec::new() })
    }

    /// Sets the folders that are searched for helpers; relative ones are skipped.
    #[must_use]
    pub fn with_search_path(mut self, folders: Vec<PathBuf>) -> Self {
        self.search_path = folders;
        self
    }

    /// Adds a credential for a host and port. It comes before all others.
    #[must_use]
    pub fn with(mut self, registry: &str, credential: Credential) -> Self {
        let (host, path) = split_key(registry);
        self.entries.insert(0, Entry { host, path, credential });
        self
    }

    /// Returns the credential for a repository, running a helper if one is named for the registry.
    ///
    /// **Errors** — those of the helper. A helper without a credential for the registry gives
    /// `None`.
    pub fn lookup(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credential>, CredentialsError> {
        let host = canonical_host(registry);
        if let Some(name) = self.helpers.get(&host) {
            return credential_helper::get(name, server_key(&host, registry), &self.search_path);
        }
        let below = |path: &str| {
            path.is_empty()
                || repository.strip_prefix(path).is_some_and(|r| r.is_empty() || r.starts_with('/'))
        };
        if let Some(entry) = self.entries.iter().find(|e| e.host == host && below(&e.path)) {
            return Ok(Some(entry.credential.clone()));
        }
        match &self.store {
            Some(name) => {
                credential_helper::get(name, server_key(&host, registry), &self.search_path)
            }
            None => Ok(None),
        }
    }
}

impl Auth {
    fn credential(self, key: &str) -> Result<Option<Credential>, CredentialsError> {
        if !self.registrytoken.is_empty() {
            return Ok(Some(Credential::Bearer { token: Secret::new(self.registrytoken) }));
        }
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credential::Identity { token: Secret::new(self.identitytoken) }));
        }
        let (user, password) = if self.auth.is_empty() {
            (self.username, self.password)
        } else {
            let malformed = || CredentialsError::Auth { registry: key.chars().take(200).collect() };
            let text = base64::engine::general_purpose::STANDARD
                .decode(self.auth.trim())
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(malformed)?;
            let (user, password) = text.split_once(':').ok_or_else(malformed)?;
            // Docker pads passwords with NUL characters.
            (user.to_owned(), password.trim_matches('\0').to_owned())
        };
        let known = !user.is_empty();
        Ok(known.then_some(Credential::Basic { user, password: Secret::new(password) }))
    }
}

/// Splits a key of the configuration into host and path: `https://host/v1/` means the whole host,
/// `host/a/b` the repositories below `a/b` there.
fn split_key(key: &str) -> (String, String) {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let (host, path) = match bare.unwrap_or(key).split_once('/') {
        Some((host, path)) => (host, path.trim_end_matches('/')),
        None => (bare.unwrap_or(key), ""),
    };
    let path = if bare.is_some() || matches!(path, "v1" | "v2") { "" } else { path };
    (canonical_host(host), path.to_owned())
}

/// Returns the host in lower case, with one name for all names of Docker's own registry.
fn canonical_host(host: &str) -> String {
    match host.to_ascii_lowercase().as_str() {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        other => other.to_owned(),
    }
}

fn server_key<'a>(host: &str, registry: &'a str) -> &'a str {
    if host == DOCKER_HUB { DOCKER_HUB_KEY } else { registry }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(user: &str, password: &str) -> Option<Credential> {
        Some(Credential::Basic { user: user.to_owned(), password: Secret::new(password) })
    }

    #[test]
    fn matches_hosts_exactly() {
        let text = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "aHViOnB3"},
            "evil.example": {"username": "e", "password": "pw"},
            "r.example:5000": {"auth": "YTpi", "email": "x"},
            "r.example:5000/team/app": {"username": "team", "password": "c:d"},
            "empty.example": {}
        }, "currentContext": "x"}"#;
        let credentials = Credentials::from_docker_config(text).unwrap();
        for (registry, repository, expected) in [
            ("docker.io", "library/busybox", basic("hub", "pw")),
            ("evil.example", "a", basic("e", "pw")),
            ("evil.example.attacker.example", "a", None),
            ("notevil.example", "a", None),
            ("evil.example:444", "a", None),
            ("r.example:5000", "a", basic("a", "b")),
            ("r.example", "a", None),
            ("r.example:5000", "team/app", basic("team", "c:d")),
            ("r.example:5000", "team/app/x", basic("team", "c:d")),
            ("r.example:5000", "team/application", basic("a", "b")),
            ("empty.example", "a", None),
        ] {
            let found = credentials.lookup(registry, repository).unwrap();
            assert_eq!(found, expected, "{registry}/{repository}");
        }
    }

    #[test]
    fn tells_kinds_of_tokens_apart() {
        let text = r#"{"auths": {"i.example": {"auth": "MDA6", "identitytoken": "id"},
            "b.example": {"registrytoken": "raw"}}}"#;
        let credentials = Credentials::from_docker_config(text).unwrap();
        let found = |registry| credentials.lookup(registry, "a").unwrap();
        assert_eq!(found("i.example"), Some(Credential::Identity { token: Secret::new("id") }));
        assert_eq!(found("b.example"), Some(Credential::Bearer { token: Secret::new("raw") }));
    }

    #[test]
    fn refuses_what_it_cannot_read_without_showing_it() {
        for bad in [
            r#"{"auths": {"r.example": {"auth": "hunter2!"}}}"#,
            r#"{"auths": {"r.example": {"auth": "aHVudGVyMg=="}}}"#,
            r#"{"auths": {"r.example": {"auth": hunter2}}}"#,
            r#"{"credsStore": "../hunter2"}"#,
            r#"{"credHelpers": {"r.example": "a/b"}}"#,
        ] {
            let error = Credentials::from_docker_config(bad).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("aHVudGVyMg") && !shown.contains("hunter2!"), "{shown}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let credential = basic("user", "hunter2");
        assert!(!format!("{credential:?}").contains("hunter2"));
    }

    #[test]
    fn names_an_absent_helper() {
        let text = r#"{"credHelpers": {"r.example": "absent"}}"#;
        let credentials = Credentials::from_docker_config(text).unwrap();
        let error = credentials.lookup("r.example", "a").unwrap_err();
        assert!(error.to_string().contains("docker-credential-absent"), "{error}");
        assert_eq!(credentials.lookup("other.example", "a").unwrap(), None);
    }
}
