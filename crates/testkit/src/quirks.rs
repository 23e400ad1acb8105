//! What a registry may do besides the usual: faults, logins and rules.

use std::time::Duration;

use crate::wire::Response;

/// A fault of some requests.
#[derive(Debug, Clone)]
pub struct Fault {
    pub(crate) method: &'static str,
    pub(crate) part: String,
    pub(crate) times: usize,
    pub(crate) action: Action,
}

/// The way in which a request fails.
#[derive(Debug, Clone)]
pub enum Action {
    /// The registry gives this answer and does nothing.
    Answer(Response),
    /// The connection breaks after that many bytes of the answer's body.
    CutAnswer(usize),
    /// The connection breaks after that many bytes of the request's body. An upload keeps them.
    CutRequest(usize),
    /// The registry ignores the `Range` header.
    IgnoreRange,
    /// The answer comes late.
    Delay(Duration),
    /// The registry redirects, with this status, to the same path behind this prefix; `?s` is added,
    /// so that the redirected request is another one.
    Redirect(u16, String),
    /// The registry does what it is asked for, and gives this answer.
    Claim(Response),
}

impl Fault {
    /// Returns a fault of the next `times` requests with that method whose target contains `part`.
    pub fn new(method: &'static str, part: &str, times: usize, action: Action) -> Self {
        Self { method, part: part.to_owned(), times, action }
    }
}

/// The login that a registry asks for.
#[derive(Debug, Clone)]
pub enum Login {
    /// User name and password.
    Basic(String, String),
    /// A token, given for user name and password, or to anybody.
    Token {
        /// The URL that gives tokens; `None` for the registry's own `/token`.
        realm: Option<String>,
        /// The user name and password that get one; `None` for anybody.
        user: Option<(String, String)>,
    },
}

/// What a registry does besides the usual.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Prefix of the URLs of uploads, such as `https://r.example`.
    pub prefix: String,
    /// Bytes that the body of a request may have; longer ones are answered with 413.
    pub max_body: Option<usize>,
    /// The value of `OCI-Chunk-Max-Length` in the answer that begins an upload.
    pub chunk: Option<usize>,
    /// The status of the answer to a PUT that ends an upload and has a body.
    pub no_whole_put: Option<u16>,
    /// Whether a tag can be given only once.
    pub immutable_tags: bool,
    /// Whether nothing can be deleted.
    pub no_delete: bool,
    /// Whether manifests are deleted by digest only.
    pub delete_by_digest: bool,
    /// Tags on a page of the list; 0 for all.
    pub tags_per_page: usize,
    /// Whether a manifest is refused if the repository lacks a blob of it.
    pub checks_blobs: bool,
}
