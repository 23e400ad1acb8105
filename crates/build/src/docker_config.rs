//! Docker's client configuration, `config.json`, and its proxies. `registry` reads its logins.
//!
//! **Source** — docker CLI reference § Use a proxy server with the Docker CLI.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::OpenError;

/// The daemon of a client without `DOCKER_HOST`.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// The key of the proxies for daemons without proxies of their own.
const DEFAULT_PROXIES: &str = "default";

/// The file.
#[derive(Debug)]
pub struct ConfigText {
    /// The path of the file.
    pub path: PathBuf,
    /// The text of the file.
    pub text: String,
}

/// Reads the file; `None` if it does not exist.
pub fn read(path: Option<&Path>) -> Result<Option<ConfigText>, OpenError> {
    let Some(path) = path else { return Ok(None) };
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(ConfigText { path: path.to_owned(), text })),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(OpenError::DockerConfig { path: path.to_owned(), error }),
    }
}

/// Returns the `proxies` of the file as build arguments: those for the daemon `host`, the value of
/// `DOCKER_HOST`, else the default ones.
pub fn proxy_args(
    path: Option<&Path>,
    host: Option<&str>,
) -> Result<Vec<(String, String)>, OpenError> {
    let Some(ConfigText { path, text }) = read(path)? else { return Ok(Vec::new()) };
    parse(&text, host.unwrap_or(DEFAULT_HOST)).map_err(|error| {
        // The parser's own message may quote the text, which may hold passwords.
        let (line, column) = (error.line(), error.column());
        OpenError::MalformedDockerConfig { path, line, column }
    })
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default)]
    proxies: Option<BTreeMap<String, Proxies>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Proxies {
    http_proxy: Option<String>,
    https_proxy: Option<String>,
    ftp_proxy: Option<String>,
    no_proxy: Option<String>,
    all_proxy: Option<String>,
}

fn parse(text: &str, host: &str) -> serde_json::Result<Vec<(String, String)>> {
    let file: ConfigFile = serde_json::from_str(text)?;
    let mut all = file.proxies.unwrap_or_default();
    let Proxies { http_proxy, https_proxy, ftp_proxy, no_proxy, all_proxy } =
        all.remove(host).or_else(|| all.remove(DEFAULT_PROXIES)).unwrap_or_default();
    let pairs = [
        ("HTTP_PROXY", http_proxy),
        ("HTTPS_PROXY", https_proxy),
        ("FTP_PROXY", ftp_proxy),
        ("NO_PROXY", no_proxy),
        ("ALL_PROXY", all_proxy),
    ];
    let set = |(name, value): (&str, Option<String>)| {
        Some((name.to_owned(), value.filter(|value| !value.is_empty())?))
    };
    Ok(pairs.into_iter().filter_map(set).collect())
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
            let list = parse(text, host).unwrap();
            list.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(of(DEFAULT_HOST), ["HTTP_PROXY=http://a", "NO_PROXY=b,c"]);
        assert_eq!(of("tcp://h:1"), ["HTTPS_PROXY=http://d", "ALL_PROXY=socks5://e"]);
        assert!(parse("{}", DEFAULT_HOST).unwrap().is_empty());
        assert!(parse(r#"{"proxies": null}"#, DEFAULT_HOST).unwrap().is_empty());
        assert!(parse(r#"{"proxies": {"default": {"httpProxy": 1}}}"#, DEFAULT_HOST).is_err());
    }
}
