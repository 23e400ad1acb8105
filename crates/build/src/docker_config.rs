//! Docker's client configuration, `config.json`, and its proxies. `registry` reads its logins.
//!
//! **Source** — docker CLI reference § Use a proxy server with the Docker CLI.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

/// The daemon of a client without `DOCKER_HOST`.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// The key of the proxies for daemons without proxies of their own.
const DEFAULT_PROXIES: &str = "default";

/// Reads a file of logins or of Docker's client; `None` if it does not exist.
pub(crate) fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Returns the `proxies` of the file as build arguments: those for the daemon `host`, the value of
/// `DOCKER_HOST`, else the default ones. What cannot be read counts as absent: whoever reads the
/// logins of the file warns of it.
pub fn proxy_args(path: Option<&Path>, host: Option<&str>) -> Vec<(String, String)> {
    let text = path.and_then(|path| read(path).ok().flatten()).unwrap_or_default();
    parse(&text, host.unwrap_or(DEFAULT_HOST)).0
}

/// Returns whether a part of the `proxies` is not of the expected form.
pub(crate) fn has_odd_proxies(text: &str, host: Option<&str>) -> bool {
    parse(text, host.unwrap_or(DEFAULT_HOST)).1
}

/// The members of `proxies`, and the build arguments that they are.
const MEMBERS: [(&str, &str); 5] = [
    ("httpProxy", "HTTP_PROXY"),
    ("httpsProxy", "HTTPS_PROXY"),
    ("ftpProxy", "FTP_PROXY"),
    ("noProxy", "NO_PROXY"),
    ("allProxy", "ALL_PROXY"),
];

/// Returns the proxies for a daemon, and whether a part of them cannot be read. A text that is not
/// JSON has none.
fn parse(text: &str, host: &str) -> (Vec<(String, String)>, bool) {
    let file: Value = serde_json::from_str(text).unwrap_or_default();
    let all = &file["proxies"];
    let own = match &all[host] {
        Value::Null => &all[DEFAULT_PROXIES],
        own => own,
    };
    let is_odd = |value: &Value| !value.is_null() && !value.is_object();
    let mut odd = is_odd(all) || is_odd(own);
    let mut found = Vec::new();
    for (member, name) in MEMBERS {
        match &own[member] {
            Value::Null => {}
            Value::String(value) if value.is_empty() => {}
            Value::String(value) => found.push((name.to_owned(), value.clone())),
            _ => odd = true,
        }
    }
    (found, odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_has_its_own_proxies_or_the_default_ones() {
        let text = r#"{"auths": {}, "proxies": {
            "default": {"httpProxy": "http://a", "noProxy": "b,c", "allProxy": "", "other": 1},
            "tcp://h:1": {"httpsProxy": "http://d", "ftpProxy": null, "allProxy": "socks5://e"}}}"#;
        let of = |host| {
            let (list, odd) = parse(text, host);
            assert!(!odd);
            list.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(of(DEFAULT_HOST), ["HTTP_PROXY=http://a", "NO_PROXY=b,c"]);
        assert_eq!(of("tcp://h:1"), ["HTTPS_PROXY=http://d", "ALL_PROXY=socks5://e"]);
        for (text, odd) in [
            ("", false),
            ("{}", false),
            (r#"{"proxies": null}"#, false),
            (r#"{"proxies": {"default": null}}"#, false),
            (r#"{"proxies": []}"#, true),
            (r#"{"proxies": {"default": "x"}}"#, true),
            (r#"{"proxies": {"default": {"httpProxy": 1}}}"#, true),
        ] {
            assert_eq!(parse(text, DEFAULT_HOST), (Vec::new(), odd), "{text}");
        }
        // One that cannot be read spoils no other.
        let text = r#"{"proxies": {"default": {"httpProxy": 1, "noProxy": "h"}}}"#;
        let expected = (vec![("NO_PROXY".to_owned(), "h".to_owned())], true);
        assert_eq!(parse(text, DEFAULT_HOST), expected);
    }
}
