//! The parts of a URL. Texts that another program could read differently are refused.

use std::fmt;

use serde::{Deserialize, Serialize};
use xbuild_wording::redacted;

use super::error::RemoteError;
use crate::Digest;

/// The name of a file whose URL has none, as in BuildKit.
const UNNAMED: &str = "__unnamed__";

/// The longest name of a file, in bytes: the limit of Linux file systems.
const MAX_NAME: usize = 255;

/// A file on a web server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HttpSource {
    /// The URL: `http` or `https`, without user information and fragment.
    pub url: String,
    /// The user.
    #[serde(skip)]
    pub user: Option<UserInfo>,
    /// The name that the file gets: one part of a path, from the URL.
    pub name: String,
    /// The digest that its contents must have.
    pub checksum: Option<Digest>,
}

/// User name and password of a URL. Never shown.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct UserInfo {
    /// The name, decoded.
    pub name: String,
    /// The password, decoded; may be empty.
    pub password: String,
}

impl fmt::Debug for UserInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserInfo(..)")
    }
}

/// A URL in parts, all but `user` as written.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    /// In lower case.
    pub(super) scheme: String,
    pub(super) user: Option<UserInfo>,
    /// Host and port.
    pub(super) host: &'a str,
    /// Begins with a slash, or is empty.
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) fragment: Option<&'a str>,
}

impl Parts<'_> {
    /// Returns the URL without user information, query and fragment.
    pub(super) fn shown(&self) -> String {
        format!("{}://{}{}", self.scheme, self.host, self.path)
    }

    pub(super) fn fault(&self, reason: &'static str) -> RemoteError {
        RemoteError::Url { url: self.shown(), reason }
    }
}

/// Takes a URL apart.
pub(super) fn split(text: &str) -> Result<Parts<'_>, RemoteError> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let (rest, fragment) = cut(rest, '#');
    let (rest, query) = cut(rest, '?');
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let user = user.map(|user| {
        let (name, password) = user.split_once(':').unwrap_or((user, ""));
        (decode(name), decode(password))
    });
    let mut parts =
        Parts { scheme: scheme.to_ascii_lowercase(), user: None, host, path, query, fragment };
    if text.contains(|c: char| c.is_control()) {
        return Err(RemoteError::Url { url: misread(text), reason: "it has control characters" });
    }
    if !is_host(host) {
        return Err(RemoteError::Url { url: misread(text), reason: "the host is malformed" });
    }
    parts.user = match user {
        None => None,
        Some((Some(name), Some(password))) => Some(UserInfo { name, password }),
        Some(_) => return Err(parts.fault("the user information is malformed")),
    };
    Ok(parts)
}

/// Returns a URL to be shown whose parts are perhaps not what they seem to be: a password may hold a `/`
/// or `#` that is not encoded.
fn misread(text: &str) -> String {
    let has_user = text.contains('@');
    // All of the text is one URL, blanks too.
    let one: String = text.chars().fold(String::new(), |mut one, c| {
        match c {
            c if c.is_control() => one.extend(c.escape_debug()),
            ' ' if has_user => one.push_str("%20"),
            c => one.push(c),
        }
        one
    });
    let shown = redacted(&one);
    shown[..shown.find(['?', '#']).unwrap_or(shown.len())].to_owned()
}

/// Returns the file that a URL names.
pub(super) fn http(parts: &Parts<'_>) -> Result<HttpSource, RemoteError> {
    let path = decode(parts.path).ok_or_else(|| parts.fault("the path is malformed"))?;
    let name = match path.trim_end_matches('/').rsplit('/').next() {
        None | Some("" | ".") => UNNAMED,
        Some("..") => return Err(parts.fault("the path has no name of a file")),
        Some(name) => name,
    };
    if name.contains('\0') || name.len() > MAX_NAME {
        return Err(parts.fault("the path has no name of a file"));
    }
    let query = parts.query.map(|query| format!("?{query}")).unwrap_or_default();
    Ok(HttpSource {
        url: format!("{}{query}", parts.shown()),
        user: parts.user.clone(),
        name: name.to_owned(),
        checksum: None,
    })
}

/// Returns the address `text` without its user information. The user of SSH is not a secret and stays.
/// [`redacted`] is for text that holds URLs.
pub fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((user, _)) if scheme.eq_ignore_ascii_case("ssh") && !user.contains(':') => {
            text.to_owned()
        }
        Some((_, host)) => format!("{scheme}://{host}{}", &rest[end..]),
        None => text.to_owned(),
    }
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// Returns whether a text is a host name or address with an optional port, and no option of a
/// program.
pub(super) fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let valid = address.parse::<std::net::Ipv6Addr>().is_ok();
            let port = rest.strip_prefix(':');
            if !valid || (port.is_none() && !rest.is_empty()) {
                return false;
            }
            ("address", port)
        }
        None => cut(text, ':'),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !name.is_empty()
        && !name.starts_with('-')
        && name.chars().all(is_name)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Returns a text with its `%XX` replaced; `None` if they are malformed or the result is not UTF-8.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
    }
    String::from_utf8(bytes).ok()
}
