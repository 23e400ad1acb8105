//! Names of servers that were meant as URLs.

/// Returns a text without what stands in it as the user and the password of a URL, with or without a
/// scheme. It need not be a valid URL. [`redacted`](crate::redacted()) is for text that holds URLs.
///
/// ```
/// # use xbuild_wording::without_login;
/// assert_eq!(without_login("http://user:pass@host/path"), "http://host/path");
/// assert_eq!(without_login("user:pa/ss@host"), "host");
/// assert_eq!(without_login("host:5000/path"), "host:5000/path");
/// ```
#[must_use]
pub fn without_login(text: &str) -> String {
    let (scheme, rest) = match text.find("://") {
        Some(at) => text.split_at(at + 3),
        None => ("", text),
    };
    // A password that is not encoded may have any character.
    let bare = rest.rsplit_once('@').map_or(rest, |(_, bare)| bare);
    format!("{scheme}{bare}")
}
