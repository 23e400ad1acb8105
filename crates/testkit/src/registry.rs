//! A registry in memory, on a loopback port, that fails when a test wants it to.
//!
//! **Source** — OCI distribution-spec 1.1; distribution, token authentication specification.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xbuild_model::Digest;

use crate::listener::Listener;
pub use crate::quirks::{Action, Fault, Login, Rules};
use crate::tag_list;
use crate::wire::{Request, Response};

/// A registry. It ends when this value is dropped.
#[derive(Debug)]
pub struct Registry {
    listener: Listener,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    content: Mutex<Content>,
    log: Mutex<Vec<Request>>,
    faults: Mutex<Vec<Fault>>,
    login: Mutex<Option<Login>>,
    rules: Mutex<Rules>,
}

#[derive(Debug, Default)]
struct Content {
    /// (repository, digest) -> bytes.
    blobs: BTreeMap<(String, String), Vec<u8>>,
    /// (repository, tag or digest) -> (media type, bytes).
    manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    /// Number -> bytes so far.
    uploads: BTreeMap<usize, Vec<u8>>,
    /// Tokens that are valid -> scopes.
    tokens: BTreeMap<String, String>,
    count: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    /// Starts a registry without content on a free port.
    pub fn start() -> Self {
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let listener = Listener::start(move |stream, address| shared.serve(stream, address));
        Self { listener, state }
    }

    /// Returns host and port, as in a reference.
    pub fn host(&self) -> String {
        self.listener.address().to_string()
    }

    /// Makes requests fail. Faults apply in the order in which they were added.
    pub fn fail(&self, fault: Fault) {
        lock(&self.state.faults).push(fault);
    }

    /// Asks all clients for a login from now on.
    pub fn require(&self, login: Login) {
        *lock(&self.state.login) = Some(login);
    }

    /// Sets the rules from now on.
    pub fn rules(&self, rules: Rules) {
        *lock(&self.state.rules) = rules;
    }

    /// Returns the address of the port.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Makes a token valid for scopes, which are joined by spaces.
    pub fn grant(&self, token: &str, scopes: &str) {
        lock(&self.state.content).tokens.insert(token.to_owned(), scopes.to_owned());
    }

    /// Loses a blob of a repository.
    pub fn lose_blob(&self, repository: &str, digest: &Digest) {
        let key = (repository.to_owned(), digest.to_string());
        lock(&self.state.content).blobs.remove(&key);
    }

    /// Makes all tokens invalid.
    pub fn revoke_tokens(&self) {
        lock(&self.state.content).tokens.clear();
    }

    /// Puts a blob into a repository.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let key = (repository.to_owned(), digest.to_string());
        lock(&self.state.content).blobs.insert(key, bytes.to_vec());
        digest
    }

    /// Puts bytes in the place of a blob with another digest.
    pub fn put_blob_as(&self, repository: &str, digest: &Digest, bytes: &[u8]) {
        let key = (repository.to_owned(), digest.to_string());
        lock(&self.state.content).blobs.insert(key, bytes.to_vec());
    }

    /// Returns the tags of a repository.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let content = lock(&self.state.content);
        let names =
            content.manifests.keys().filter(|(of, name)| of == repository && !name.contains(':'));
        names.map(|(_, name)| name.clone()).collect()
    }

    /// Puts a manifest or index into a repository, by its digest and a tag.
    pub fn put_manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Digest {
        let digest = Digest::of(bytes);
        let mut content = lock(&self.state.content);
        for name in [digest.to_string(), tag.to_owned()] {
            let value = (media_type.to_owned(), bytes.to_vec());
            content.manifests.insert((repository.to_owned(), name), value);
        }
        digest
    }

    /// Returns a blob of a repository.
    pub fn blob(&self, repository: &str, digest: &Digest) -> Option<Vec<u8>> {
        let key = (repository.to_owned(), digest.to_string());
        lock(&self.state.content).blobs.get(&key).cloned()
    }

    /// Returns media type and bytes of a manifest, by tag or digest.
    pub fn manifest(&self, repository: &str, name: &str) -> Option<(String, Vec<u8>)> {
        let key = (repository.to_owned(), name.to_owned());
        lock(&self.state.content).manifests.get(&key).cloned()
    }

    /// Returns all requests so far, in the order of their ends; failed ones are included.
    pub fn log(&self) -> Vec<Request> {
        lock(&self.state.log).clone()
    }

    /// Returns how many requests of a method had a target that contains `part`.
    pub fn count(&self, method: &str, part: &str) -> usize {
        let log = lock(&self.state.log);
        log.iter().filter(|r| r.method == method && r.target.contains(part)).count()
    }
}

type Handler = fn(&mut Content, &Rules, &Request, &str, &str) -> Response;

impl State {
    fn serve(&self, stream: TcpStream, address: SocketAddr) {
        // Head and body are written separately: otherwise each answer would wait for an ACK.
        let _ = stream.set_nodelay(true);
        let Ok(mut writer) = stream.try_clone() else { return };
        let mut reader = BufReader::new(stream);
        loop {
            let mut action = None;
            let mut cut_request = None;
            let request = Request::read(&mut reader, |request| {
                action = self.fault(request);
                if let Some(Action::CutRequest(after)) = action {
                    cut_request = Some((request.clone(), after));
                    return Some(after);
                }
                None
            });
            let request = match request {
                Ok(Some(request)) => request,
                Ok(None) => return,
                Err(_) => {
                    // The bytes are lost with the error; tests need only their number.
                    if let Some((request, after)) = cut_request {
                        self.keep_partial(&request, after);
                        lock(&self.log).push(request);
                    }
                    return;
                }
            };
            let response = match &action {
                Some(Action::Answer(response)) => response.clone(),
                Some(Action::IgnoreRange) => {
                    let mut request = request.clone();
                    request.headers.retain(|(name, _)| name != "range");
                    self.answer(&request, address)
                }
                Some(Action::Delay(delay)) => {
                    std::thread::sleep(*delay);
                    self.answer(&request, address)
                }
                Some(Action::Redirect(status, to)) => {
                    let sign = if request.target.contains('?') { '&' } else { '?' };
                    let target = format!("{to}{}{sign}s", request.target);
                    Response::new(*status).with("location", target)
                }
                Some(Action::Claim(response)) => {
                    self.answer(&request, address);
                    response.clone()
                }
                Some(Action::CutAnswer(after)) => self.answer(&request, address).cut(*after),
                Some(Action::CutRequest(_)) | None => self.answer(&request, address),
            };
            let head = request.method == "HEAD";
            lock(&self.log).push(request);
            if response.write(&mut writer, head).is_err() {
                let _ = writer.shutdown(std::net::Shutdown::Both);
                return;
            }
        }
    }

    fn fault(&self, request: &Request) -> Option<Action> {
        let mut faults = lock(&self.faults);
        let fault = faults.iter_mut().find(|fault| {
            fault.times > 0
                && fault.method == request.method
                && request.target.contains(&fault.part)
        })?;
        fault.times -= 1;
        Some(fault.action.clone())
    }

    /// Records that an upload broke after some bytes, as zeros: tests of resuming send zeros.
    fn keep_partial(&self, request: &Request, bytes: usize) {
        let number = request.path().rsplit('/').next().and_then(|text| text.parse().ok());
        let mut content = lock(&self.content);
        if let Some(upload) = number.and_then(|number: usize| content.uploads.get_mut(&number)) {
            upload.resize(upload.len() + bytes, 0);
        }
    }

    fn answer(&self, request: &Request, address: SocketAddr) -> Response {
        if request.path() == "/token" {
            return self.token(request);
        }
        if let Some(challenge) = self.challenge(request, address) {
            return challenge;
        }
        let Some(path) = request.path().strip_prefix("/v2/") else { return Response::new(404) };
        let rules = lock(&self.rules).clone();
        if rules.max_body.is_some_and(|max| request.body.len() > max) {
            return Response::new(413).body("<html>too large</html>");
        }
        let mut content = lock(&self.content);
        if path.is_empty() {
            return Response::new(200);
        }
        for (part, handle) in [
            ("/blobs/uploads/", Content::upload as Handler),
            ("/blobs/", Content::blob),
            ("/manifests/", Content::manifest),
            ("/tags/list", Content::tags),
        ] {
            if let Some((repository, name)) = path.split_once(part) {
                return handle(&mut content, &rules, request, repository, name);
            }
        }
        Response::new(404)
    }

    fn challenge(&self, request: &Request, address: SocketAddr) -> Option<Response> {
        let authorization = request.header("authorization").unwrap_or_default();
        let error = |challenge: String| {
            let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}"#;
            Some(Response::new(401).with("www-authenticate", challenge).body(body))
        };
        match lock(&self.login).clone()? {
            Login::Basic(user, password) => {
                let valid = basic(&user, &password) == authorization;
                if valid { None } else { error(r#"Basic realm="x""#.to_owned()) }
            }
            Login::Token { realm, .. } => {
                let realm = realm.unwrap_or_else(|| format!("http://{address}/token"));
                let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
                let scopes = lock(&self.content).tokens.get(token).cloned();
                let path = request.path().strip_prefix("/v2/").unwrap_or_default();
                let repository = ["/blobs/", "/manifests/", "/tags/list"]
                    .iter()
                    .find_map(|part| Some(path.split_once(part)?.0))
                    .unwrap_or_default();
                let action = match request.method.as_str() {
                    "GET" | "HEAD" => "pull",
                    "DELETE" if path.contains("/manifests/") => "delete",
                    _ => "push",
                };
                let granted = scopes.is_some_and(|scopes| {
                    // The root of the API asks only who it is.
                    path.is_empty()
                        || scopes.split(' ').any(|scope| {
                            let actions = scope.strip_prefix(&format!("repository:{repository}:"));
                            actions.is_some_and(|actions| actions.split(',').any(|a| a == action))
                        })
                });
                let challenge = format!(r#"Bearer realm="{realm}",service="test""#);
                if granted { None } else { error(challenge) }
            }
        }
    }

    fn token(&self, request: &Request) -> Response {
        let Some(Login::Token { user, .. }) = lock(&self.login).clone() else {
            return Response::new(404);
        };
        let expected = user.map(|(user, password)| basic(&user, &password)).unwrap_or_default();
        let refresh = String::from_utf8_lossy(&request.body).contains("grant_type=refresh_token");
        if request.header("authorization").unwrap_or_default() != expected && !refresh {
            return Response::new(401);
        }
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let query = if refresh { body } else { request.target.clone() };
        let pairs = query.split(['?', '&']).filter_map(|pair| pair.strip_prefix("scope="));
        let decode = |text: &str| {
            text.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",").replace('+', " ")
        };
        let scopes: Vec<String> = pairs.map(decode).collect();
        let mut content = lock(&self.content);
        content.count += 1;
        let token = format!("token-{}", content.count);
        content.tokens.insert(token.clone(), scopes.join(" "));
        Response::new(200).body(format!(r#"{{"token":"{token}","expires_in":300}}"#))
    }
}

fn basic(user: &str, password: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = "Basic ".to_owned();
    for chunk in format!("{user}:{password}").as_bytes().chunks(3) {
        let byte = |i: usize| chunk.get(i).copied().map_or(0, u32::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= chunk.len() { digit as char } else { '=' });
        }
    }
    text
}

impl Content {
    fn blob(&mut self, _: &Rules, request: &Request, repository: &str, digest: &str) -> Response {
        let key = (repository.to_owned(), digest.to_owned());
        let Some(bytes) = self.blobs.get(&key) else { return unknown("BLOB_UNKNOWN") };
        let response = Response::new(200).with("docker-content-digest", digest);
        if request.method == "HEAD" {
            return response.with("content-length", bytes.len().to_string());
        }
        let range = request.header("range").and_then(|r| r.strip_prefix("bytes=")?.split_once('-'));
        let last = range.and_then(|(_, to)| to.parse::<usize>().ok()).unwrap_or(usize::MAX);
        match range.and_then(|(from, _)| from.parse::<usize>().ok()) {
            Some(from) if from < bytes.len() => {
                let last = last.min(bytes.len() - 1);
                let range = format!("bytes {from}-{last}/{}", bytes.len());
                Response::new(206).with("content-range", range).body(&bytes[from..=last])
            }
            Some(_) => Response::new(416),
            None => response.body(bytes.clone()),
        }
    }

    fn manifest(
        &mut self,
        rules: &Rules,
        request: &Request,
        repository: &str,
        name: &str,
    ) -> Response {
        let key = (repository.to_owned(), name.to_owned());
        if request.method == "PUT" {
            if rules.immutable_tags && self.manifests.contains_key(&key) && !name.contains(':') {
                let body =
                    r#"{"errors":[{"code":"TAG_INVALID","message":"the tag is immutable"}]}"#;
                return Response::new(400).body(body);
            }
            let text = String::from_utf8_lossy(&request.body).into_owned();
            let known = |digest: &str| {
                let key = (repository.to_owned(), digest.to_owned());
                self.blobs.contains_key(&key) || self.manifests.contains_key(&key)
            };
            let digests = text.match_indices("sha256:").filter_map(|(at, _)| text.get(at..at + 71));
            if let Some(lost) = digests.filter(|_| rules.checks_blobs).find(|d| !known(d)) {
                let error = format!(
                    r#"{{"errors":[{{"code":"MANIFEST_BLOB_UNKNOWN","detail":{{"digest":"{lost}"}}}}]}}"#
                );
                return Response::new(404).body(error);
            }
            let digest = Digest::of(&request.body).to_string();
            let media_type = request.header("content-type").unwrap_or_default().to_owned();
            let value = (media_type, request.body.clone());
            self.manifests.insert((repository.to_owned(), digest.clone()), value.clone());
            self.manifests.insert(key, value);
            return Response::new(201).with("docker-content-digest", digest);
        }
        if request.method == "DELETE" {
            if rules.no_delete || (rules.delete_by_digest && !name.contains(':')) {
                return Response::new(405).body(r#"{"errors":[{"code":"UNSUPPORTED"}]}"#);
            }
            let Some((_, bytes)) = self.manifests.remove(&key) else {
                return unknown("MANIFEST_UNKNOWN");
            };
            if name.contains(':') {
                // The tags of the manifest go with it.
                let is_same = |of: &String, other: &Vec<u8>| of == repository && *other == bytes;
                self.manifests.retain(|(of, _), (_, other)| !is_same(of, other));
            }
            return Response::new(202);
        }
        match self.manifests.get(&key) {
            Some((media_type, bytes)) => {
                let digest = Digest::of(bytes).to_string();
                Response::new(200)
                    .with("content-type", media_type.as_str())
                    .with("docker-content-digest", digest)
                    .body(bytes.clone())
            }
            None => unknown("MANIFEST_UNKNOWN"),
        }
    }

    fn tags(&mut self, rules: &Rules, request: &Request, repository: &str, _: &str) -> Response {
        let names = self.manifests.keys().filter(|(of, _)| of == repository);
        tag_list::page(names.map(|(_, name)| name), rules, request, repository)
    }

    fn upload(
        &mut self,
        rules: &Rules,
        request: &Request,
        repository: &str,
        number: &str,
    ) -> Response {
        let location = |number: usize| {
            format!("{}/v2/{repository}/blobs/uploads/{number}?state=x", rules.prefix)
        };
        if request.method == "POST" {
            if let (Some(digest), Some(from)) = (request.query("mount"), request.query("from"))
                && let Some(bytes) = self.blobs.get(&(from, digest.clone())).cloned()
            {
                self.blobs.insert((repository.to_owned(), digest), bytes);
                return Response::new(201);
            }
            self.count += 1;
            self.uploads.insert(self.count, Vec::new());
            let answer = Response::new(202).with("location", location(self.count));
            return match rules.chunk {
                Some(chunk) => answer.with("oci-chunk-max-length", chunk.to_string()),
                None => answer,
            };
        }
        let Some(number) = number.parse().ok().filter(|n| self.uploads.contains_key(n)) else {
            return unknown("BLOB_UPLOAD_UNKNOWN");
        };
        if request.method == "DELETE" {
            self.uploads.remove(&number);
            return Response::new(204);
        }
        let upload = self.uploads.entry(number).or_default();
        let is_whole = request.method == "PUT" && !request.body.is_empty();
        if let Some(status) = rules.no_whole_put.filter(|_| is_whole) {
            return Response::new(status).body(r#"{"errors":[{"code":"UNSUPPORTED"}]}"#);
        }
        if request.method == "GET" {
            let range = format!("0-{}", upload.len().saturating_sub(1));
            return Response::new(204).with("range", range).with("location", location(number));
        }
        let begin = request.header("content-range").and_then(|r| r.split('-').next()?.parse().ok());
        if begin.is_some_and(|begin: usize| begin != upload.len()) {
            return Response::new(416);
        }
        upload.extend_from_slice(&request.body);
        if request.method == "PATCH" {
            return Response::new(202).with("location", location(number));
        }
        let digest = request.query("digest").unwrap_or_default();
        if Digest::of(upload).to_string() != digest {
            return Response::new(400).body(r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#);
        }
        let bytes = self.uploads.remove(&number).unwrap_or_default();
        self.blobs.insert((repository.to_owned(), digest), bytes);
        Response::new(201)
    }
}

fn unknown(code: &str) -> Response {
    Response::new(404).body(format!(r#"{{"errors":[{{"code":"{code}","message":"unknown"}}]}}"#))
}
