//! The user's credentials: files of logins, given as text, and credential helpers.
//!
//! An entry holds for one host and port, compared exactly, or for the repositories below a path
//! there. Several may fit a repository: they are tried one after the other.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use xbuild_model::Cancel;
use xbuild_model::reference::DOCKER_HUB;

use crate::auth::credential::{Credential, Secret};
use crate::auth::credential_helper::{self, Waiting};
use crate::auth::login_file::{Entry, LoginFile, canonical_host, split_key};
use crate::error::CredentialsError;

/// The key that Docker keeps the credentials of its own registry under.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// All credentials, and the helpers that have more.
///
/// Helpers run only once a registry has asked for a login. Clones share their answers.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Those that come before all files.
    given: Vec<Entry>,
    files: Vec<LoginFile>,
    search_path: Vec<PathBuf>,
    patience: Duration,
    answers: Arc<Mutex<HashMap<Helper, Answer>>>,
}

/// The answer of a helper: a credential, none, or a failure.
pub(crate) type Answer = Result<Option<Credential>, Arc<CredentialsError>>;

/// A question to a helper.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Helper {
    /// Its name, without `docker-credential-`.
    name: String,
    /// The key that it has the credential under.
    server: String,
}

/// A credential that may fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Candidate {
    Known(Credential),
    /// What a helper answers. If it serves all hosts it may fail: then there is no such credential.
    Helper {
        helper: Helper,
        serves_all: bool,
    },
    Anonymous,
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            given: Vec::new(),
            files: Vec::new(),
            search_path: Vec::new(),
            patience: Self::PATIENCE,
            answers: Arc::default(),
        }
    }
}

impl Credentials {
    /// The time that a helper may take unless another is set. Some open a browser for a login, or
    /// wait until a person unlocks a key store.
    pub const PATIENCE: Duration = Duration::from_secs(300);

    /// Adds the logins of a Docker `config.json` or a containers `auth.json`, after those that are
    /// there already.
    ///
    /// Returns the faults of parts that cannot be read, which are left out; no message holds a
    /// secret.
    ///
    /// ```
    /// use xbuild_registry::Credentials;
    ///
    /// let text = r#"{"auths": {"r.example:5000": {"auth": "dXNlcjpwYXNz"}}}"#;
    /// let mut credentials = Credentials::default();
    /// assert!(credentials.add_file(text).is_empty());
    /// assert!(credentials.lookup("r.example:5000", "app")?.is_some());
    /// assert!(credentials.lookup("r.example", "app")?.is_none());
    /// # Ok::<(), std::sync::Arc<xbuild_registry::CredentialsError>>(())
    /// ```
    pub fn add_file(&mut self, text: &str) -> Vec<CredentialsError> {
        let (file, faults) = LoginFile::parse(text);
        self.files.push(file);
        faults
    }

    /// Sets the folders that are searched for helpers; relative ones are skipped.
    #[must_use]
    pub fn with_search_path(mut self, folders: Vec<PathBuf>) -> Self {
        self.search_path = folders;
        self
    }

    /// Sets the time that a helper may take.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Adds a credential for a host and port, or for the repositories below a path there. It comes
    /// before all others.
    #[must_use]
    pub fn with(mut self, registry: &str, credential: Credential) -> Self {
        let (host, path) = split_key(registry);
        self.given.insert(0, Entry { host, path, credential });
        self
    }

    /// Returns the first credential for a repository, running a helper if need be.
    ///
    /// **Errors** — those of a helper that is named for the registry. One that serves all registries
    /// and fails gives `None`.
    pub fn lookup(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credential>, Arc<CredentialsError>> {
        for candidate in self.candidates(registry, repository) {
            let found = match candidate {
                Candidate::Known(credential) => Some(credential),
                Candidate::Helper { helper, serves_all } => {
                    match self.ask(&helper, &Cancel::default(), &|_| {}).0 {
                        Err(_) if serves_all => None,
                        answer => answer?,
                    }
                }
                Candidate::Anonymous => None,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Returns the credentials that may fit a repository, in the order in which they are tried: of
    /// each file the helper of the registry, the entries, the closest first, and the helper of all
    /// registries. No helper runs.
    pub(crate) fn candidates(&self, registry: &str, repository: &str) -> Vec<Candidate> {
        let host = canonical_host(registry);
        let server = if host == DOCKER_HUB { DOCKER_HUB_KEY } else { registry };
        let ask = |name: &String, serves_all| {
            let helper = Helper { name: name.clone(), server: server.to_owned() };
            Candidate::Helper { helper, serves_all }
        };
        let below = |path: &str| {
            path.is_empty()
                || repository.strip_prefix(path).is_some_and(|r| r.is_empty() || r.starts_with('/'))
        };
        let fits = |entry: &&Entry| entry.host == host && below(&entry.path);
        let known = |entry: &Entry| Candidate::Known(entry.credential.clone());
        let mut candidates: Vec<Candidate> = self.given.iter().filter(fits).map(known).collect();
        for file in &self.files {
            candidates.extend(file.helpers.get(&host).map(|name| ask(name, false)));
            candidates.extend(file.entries.iter().filter(fits).map(known));
            candidates.extend(file.store.iter().map(|name| ask(name, true)));
        }
        let mut unique = Vec::new();
        for candidate in candidates {
            if !unique.contains(&candidate) {
                unique.push(candidate);
            }
        }
        unique
    }

    /// Returns the answer of a helper, and whether it was asked just now. `waiting` is called when it
    /// takes a while.
    pub(crate) fn ask(
        &self,
        helper: &Helper,
        cancel: &Cancel,
        waiting: &dyn Fn(&Waiting<'_>),
    ) -> (Answer, bool) {
        let known = |answers: &HashMap<Helper, Answer>| answers.get(helper).cloned();
        if let Some(answer) = known(&self.answers()) {
            return (answer, false);
        }
        let Self { search_path, patience, .. } = self;
        let run = credential_helper::Run { search_path, patience: *patience, cancel, waiting };
        let answer = run.get(&helper.name, &helper.server).map_err(Arc::new);
        if !cancel.is_cancelled() {
            self.answers().insert(helper.clone(), answer.clone());
        }
        (answer, true)
    }

    /// Lets a helper keep a login.
    ///
    /// **Errors** — those of the helper.
    pub fn keep(
        &self,
        helper: &str,
        key: &str,
        user: &str,
        password: &Secret,
    ) -> Result<(), Arc<CredentialsError>> {
        self.run(&Cancel::default()).store(helper, key, user, password).map_err(Arc::new)
    }

    /// Lets a helper forget a login. One that it does not have is no error.
    ///
    /// **Errors** — those of the helper.
    pub fn erase(&self, helper: &str, key: &str) -> Result<(), Arc<CredentialsError>> {
        self.run(&Cancel::default()).erase(helper, key).map_err(Arc::new)
    }

    fn run<'a>(&'a self, cancel: &'a Cancel) -> credential_helper::Run<'a> {
        let Self { search_path, patience, .. } = self;
        credential_helper::Run { search_path, patience: *patience, cancel, waiting: &|_| {} }
    }

    /// Forgets the answer of a helper, which a registry has refused.
    pub(crate) fn forget(&self, helper: &Helper) {
        self.answers().remove(helper);
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, HashMap<Helper, Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(user: &str, password: &str) -> Option<Credential> {
        Some(Credential::Basic { user: user.to_owned(), password: Secret::new(password) })
    }

    fn of(text: &str) -> Credentials {
        let mut credentials = Credentials::default();
        assert!(credentials.add_file(text).is_empty());
        credentials
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
        let credentials = of(text);
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
    fn candidates_have_the_order_of_files_and_the_closest_first() {
        let mut credentials = of(r#"{"auths": {"r.example": {"auth": "YTpi"},
            "r.example/n": {"auth": "Yzpk"}}, "credsStore": "all"}"#);
        let second = r#"{"auths": {"r.example": {"auth": "ZTpm"}, "r.example/n": {"auth": "Yzpk"}},
            "credHelpers": {"r.example": "own"}}"#;
        assert!(credentials.add_file(second).is_empty());
        let found = credentials.candidates("r.example", "n/app");
        let names: Vec<String> = found
            .iter()
            .map(|candidate| match candidate {
                Candidate::Known(Credential::Basic { user, .. }) => user.clone(),
                Candidate::Helper { helper, .. } => helper.name.clone(),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(names, ["c", "a", "all", "own", "e"]);
    }

    #[test]
    fn tells_kinds_of_tokens_apart() {
        let text = r#"{"auths": {"i.example": {"auth": "MDA6", "identitytoken": "id"},
            "b.example": {"registrytoken": "raw"}}}"#;
        let credentials = of(text);
        let found = |registry| credentials.lookup(registry, "a").unwrap();
        assert_eq!(found("i.example"), Some(Credential::Identity { token: Secret::new("id") }));
        assert_eq!(found("b.example"), Some(Credential::Bearer { token: Secret::new("raw") }));
    }

    #[test]
    fn debug_shows_no_secret() {
        let credential = basic("user", "hunter2");
        assert!(!format!("{credential:?}").contains("hunter2"));
    }

    #[test]
    fn names_an_absent_helper() {
        let credentials = of(r#"{"credHelpers": {"r.example": "absent"}}"#);
        let error = credentials.lookup("r.example", "a").unwrap_err();
        assert!(error.to_string().contains("docker-credential-absent"), "{error}");
        assert_eq!(credentials.lookup("other.example", "a").unwrap(), None);
        // One for all registries is no reason to fail.
        let credentials = of(r#"{"credsStore": "absent"}"#);
        assert_eq!(credentials.lookup("r.example", "a").unwrap(), None);
    }
}
