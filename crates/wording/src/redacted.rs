//! Text that may hold URLs with passwords, fit to be shown.

use std::borrow::Cow;

/// The text in place of a user name, a password or a token. BuildKit has the same.
const MASK: &str = "xxxxx";

/// Replaces users and passwords of the URLs within a text, which may be a whole file.
///
/// The user of SSH stays, since it is no secret, and so does a variable in the place of a password.
///
/// **Source** — BuildKit, `util/urlutil`: `RedactCredentials`.
///
/// ```
/// use xbuild_wording::redacted;
///
/// let line = "ADD https://me:geheim@host.example/file /";
/// assert_eq!(redacted(line), "ADD https://xxxxx:xxxxx@host.example/file /");
/// let line = "RUN git clone https://me:$TOKEN@host.example/r.git";
/// assert_eq!(redacted(line), line);
/// ```
pub fn redacted(text: &str) -> Cow<'_, str> {
    const MARK: &str = "://";
    let mut out = String::new();
    let mut done = 0;
    let mut from = 0;
    while let Some(at) = text[from..].find(MARK) {
        let start = from + at + MARK.len();
        from = start;
        let word = word(&text[start..]);
        let Some(user) = user(word) else { continue };
        if let Some(mask) = mask(user, is_ssh(&text[..start - MARK.len()])) {
            out.push_str(&text[done..start]);
            out.push_str(&mask);
            done = start + user.len();
        }
        from = start + user.len();
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

/// Returns what of a text belongs to the URL that it begins with, at most.
fn word(text: &str) -> &str {
    let end = |c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>' | '`');
    &text[..text.find(end).unwrap_or(text.len())]
}

/// Returns the user information of a URL without its scheme.
fn user(word: &str) -> Option<&str> {
    let authority = &word[..word.find(['/', '?', '#']).unwrap_or(word.len())];
    if let Some((user, _)) = authority.rsplit_once('@') {
        return Some(user);
    }
    // A password whose `/`, `?` or `#` is not encoded: no port looks like that.
    let (host, port) = authority.split_once(':')?;
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) || port.starts_with('$');
    if is_port || host.starts_with('[') {
        return None;
    }
    word.rsplit_once('@').map(|(user, _)| user)
}

/// Returns whether a text ends with the scheme of SSH.
fn is_ssh(text: &str) -> bool {
    text.len().checked_sub(3).is_some_and(|at| text.as_bytes()[at..].eq_ignore_ascii_case(b"ssh"))
}

/// Returns what is shown in place of user information; `None` if it holds no secret.
fn mask(user: &str, is_ssh: bool) -> Option<String> {
    match user.split_once(':') {
        None if user.is_empty() || is_ssh || is_variable(user) => None,
        None => Some(MASK.to_owned()),
        Some((_, password)) if is_variable(password) => None,
        Some(("", _)) => Some(format!(":{MASK}")),
        Some(_) => Some(format!("{MASK}:{MASK}")),
    }
}

/// Returns whether a text is `$NAME` or `${NAME}`.
fn is_variable(text: &str) -> bool {
    let Some(name) = text.strip_prefix('$') else { return false };
    let bare = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name);
    !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_of_a_url_is_left() {
        for (text, expected) in [
            ("https://me:SECRET@h/f", "https://xxxxx:xxxxx@h/f"),
            ("HTTPS://SECRET@h?a@b", "HTTPS://xxxxx@h?a@b"),
            ("http://:SECRET@h", "http://:xxxxx@h"),
            ("http://me:@h", "http://xxxxx:xxxxx@h"),
            ("ssh://git:SECRET@h/r", "ssh://xxxxx:xxxxx@h/r"),
            ("git+ssh://git@h/r", "git+ssh://git@h/r"),
            ("https://git@h/r", "https://xxxxx@h/r"),
            ("http://me:SE@CRET@h/a@b", "http://xxxxx:xxxxx@h/a@b"),
            // Characters that ought to be encoded.
            ("http://me:SEC/RET@h/f", "http://xxxxx:xxxxx@h/f"),
            ("http://me:SEC#RET@h/f", "http://xxxxx:xxxxx@h/f"),
            ("http://me:SEC?RET@h/f x@y", "http://xxxxx:xxxxx@h/f x@y"),
            // Several, close together, on several lines.
            (
                r#"ADD ["http://a:SECRET@h/a","http://b:SECRET@h/b","/"]"#,
                r#"ADD ["http://xxxxx:xxxxx@h/a","http://xxxxx:xxxxx@h/b","/"]"#,
            ),
            (
                "a http://a:SECRET@h\nb http://SECRET@h ü",
                "a http://xxxxx:xxxxx@h\nb http://xxxxx@h ü",
            ),
            ("http://${A:-SECRET}@h", "http://xxxxx:xxxxx@h"),
            ("http://a:${A:-SECRET}@h", "http://xxxxx:xxxxx@h"),
        ] {
            assert_eq!(redacted(text), expected);
            assert_eq!(redacted(expected), expected, "again");
        }
    }

    #[test]
    fn everything_else_stays() {
        for text in [
            "",
            "://",
            "https://h/f",
            "http://localhost:8080/a@b",
            "http://[::1]:80/a@b",
            "http://$HOST:$PORT/a@b",
            "https://$TOKEN@h/r",
            "https://${USER}:${TOKEN}@h/r",
            "https://oauth2:$TOKEN@h/r",
            "git@h:r https://h me@h",
            "https://h/@scope/a",
            "a://b://c",
        ] {
            assert!(matches!(redacted(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }
}
