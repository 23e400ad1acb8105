//! The environment of the process. No other file reads environment variables.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use xbuild_build::request::{SecretPlace, SecretSource};
use xbuild_build::{Bound, HostFiles, LoginPlace, Machine};
use xbuild_exec::Place;
use xbuild_model::run::SecretBytes;
use xbuild_registry::Proxies;
use xbuild_wording::quoted;

use crate::report::Problem;
use crate::values::bytes;

/// Returns an environment variable, `None` if it is unset, empty or not text.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns the properties of this machine; `root` is the value of `--root`.
pub(crate) fn machine(root: Option<&Path>) -> Result<Machine, Problem> {
    /// The variables that git gets.
    const GIT: &[&str] = &[
        "http_proxy",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
        "no_proxy",
        "NO_PROXY",
        "SSH_AUTH_SOCK",
    ];
    let proxy = |upper: &str, lower: &str| variable(lower).or_else(|| variable(upper));
    let pair = |name: &&str| Some(((*name).to_owned(), variable(name)?));
    Ok(Machine {
        store: store_root(root)?,
        store_is_named: root.is_some(),
        bound: bound()?,
        search_path: search_path(),
        place: place(),
        own_root: variable("XBUILD_OWN_ROOT").is_some_and(|value| value == "1"),
        processors: std::thread::available_parallelism().ok(),
        proxies: Proxies {
            http: proxy("HTTP_PROXY", "http_proxy"),
            https: proxy("HTTPS_PROXY", "https_proxy"),
            bypass: proxy("NO_PROXY", "no_proxy").unwrap_or_default(),
        },
        docker_config: docker_config(),
        docker_host: variable("DOCKER_HOST"),
        docker_context: variable("DOCKER_CONTEXT"),
        docker_tls: variable("DOCKER_TLS_VERIFY").is_some(),
        runtime_folder: variable("XDG_RUNTIME_DIR").map(PathBuf::from),
        login_file: variable("REGISTRY_AUTH_FILE").map(PathBuf::from).or_else(docker_config),
        logins: logins(),
        insecure_registries: insecure_registries(),
        registry_mirrors: Vec::new(),
        host_files: host_files(),
        credential_patience: seconds("XBUILD_CREDENTIAL_TIMEOUT")?,
        closed_home: closed_home(),
        ssh_agent: variable("SSH_AUTH_SOCK").map(PathBuf::from),
        git_environment: GIT.iter().filter_map(pair).collect(),
        secret_variables: BTreeMap::new(),
    })
}

/// Returns the values of the environment variables that secrets name.
pub(crate) fn secret_variables(sources: &[SecretSource]) -> BTreeMap<String, SecretBytes> {
    let names = sources.iter().filter_map(|source| match &source.place {
        SecretPlace::Variable(name) => Some(name),
        SecretPlace::File(_) => None,
    });
    names
        .filter_map(|name| Some((name.clone(), SecretBytes(raw_variable(name)?.into_vec()))))
        .collect()
}

/// Returns an environment variable of any name and contents, `None` if it is unset.
pub(crate) fn raw_variable(name: &str) -> Option<OsString> {
    // No variable can have such a name.
    let is_name = !name.is_empty() && !name.contains(['=', '\0']);
    is_name.then(|| std::env::var_os(name)).flatten()
}

/// Returns an environment variable that is text, also an empty one.
pub(crate) fn text_variable(name: &str) -> Option<String> {
    raw_variable(name).and_then(|value| value.into_string().ok())
}

/// Returns the home folder as text; that of root if there is none.
pub(crate) fn home_text() -> String {
    home().map_or_else(|| "/root".to_owned(), |home| home.display().to_string())
}

/// Returns the value of `BUILDX_METADATA_PROVENANCE`; may be empty.
pub(crate) fn metadata_provenance() -> String {
    variable("BUILDX_METADATA_PROVENANCE").unwrap_or_default()
}

/// Returns the files of `BUILDX_BAKE_FILE`, a list with colons or another separator.
pub(crate) fn bake_files() -> Vec<PathBuf> {
    let separator = variable("BUILDX_BAKE_FILE_SEPARATOR").unwrap_or_else(|| ":".to_owned());
    let list = variable("BUILDX_BAKE_FILE").unwrap_or_default();
    let names = list.split(separator.as_str()).map(str::trim).filter(|name| !name.is_empty());
    names.map(PathBuf::from).collect()
}

/// Returns the folder of the store: `--root`, `$XDG_DATA_HOME/xbuild`, `~/.local/share/xbuild`.
fn store_root(root: Option<&Path>) -> Result<Option<PathBuf>, Problem> {
    if let Some(root) = root {
        let absolute = std::path::absolute(root);
        return absolute.map(Some).map_err(|error| Problem::file("resolve", root, &error));
    }
    let data = variable("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let data = data.or_else(|| Some(home()?.join(".local/share")));
    Ok(data.map(|data| data.join("xbuild")))
}

/// Returns where xbuild runs, judging by the marks that engines and runners leave.
fn place() -> Place {
    let is = |name: &str| variable(name).is_some();
    let there = |path: &str| Path::new(path).exists();
    let in_pod = is("KUBERNETES_SERVICE_HOST");
    let in_engine = there("/.dockerenv") || there("/run/.containerenv");
    match () {
        () if there("/tekton/steps") => Place::Tekton,
        () if is("GITLAB_CI") && in_pod => Place::GitlabKubernetes,
        () if is("GITLAB_CI") && in_engine => Place::GitlabDocker,
        () if is("GITEA_ACTIONS") && in_engine => Place::Gitea,
        () if is("GITHUB_ACTIONS") && in_engine => Place::GithubContainer,
        () if in_pod => Place::Kubernetes,
        () if there("/run/.containerenv") => Place::Podman,
        () if in_engine => Place::Docker,
        () if is("GITHUB_ACTIONS") => Place::GithubMachine,
        // Set by engines for the processes that they start.
        () if is("container") => Place::Container,
        () => Place::Machine,
    }
}

/// Returns the folders with programs, in the format of `PATH`.
pub(crate) fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

/// Returns the home folder.
fn home() -> Option<PathBuf> {
    variable("HOME").map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Returns the path of Docker's client configuration, which need not exist. There is none in a home
/// folder that is closed to this user.
pub(crate) fn docker_config() -> Option<PathBuf> {
    if closed_home().is_some() {
        return None;
    }
    let folder = variable("DOCKER_CONFIG").map(PathBuf::from);
    folder.or_else(|| Some(home()?.join(".docker"))).map(|folder| folder.join("config.json"))
}

/// Returns where logins are: `DOCKER_AUTH_CONFIG`, `REGISTRY_AUTH_FILE`, Docker's configuration, and
/// podman's files.
fn logins() -> Vec<LoginPlace> {
    const TEXT: &str = "DOCKER_AUTH_CONFIG";
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let text = variable(TEXT).map(|text| LoginPlace::Variable { name: TEXT, text });
    let named = variable("REGISTRY_AUTH_FILE").map(|path| (PathBuf::from(path), true));
    // DOCKER_CONFIG names a folder, which need not have the file.
    let docker = docker_config().map(|path| (path, false));
    let home = home().filter(|_| closed_home().is_none());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| Some(home?.join(".config")));
    let podman = [absolute("XDG_RUNTIME_DIR"), config].into_iter().flatten();
    let podman = podman.map(|folder| (folder.join("containers/auth.json"), false));
    let files = named.into_iter().chain(docker).chain(podman);
    let files = files.map(|(path, is_named)| LoginPlace::File { path, is_named });
    text.into_iter().chain(files).collect()
}

/// Returns the registries of `XBUILD_REGISTRY_INSECURE`, a list with commas.
fn insecure_registries() -> Vec<String> {
    let list = variable("XBUILD_REGISTRY_INSECURE").unwrap_or_default();
    let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

/// Returns the place of xbuild's own configuration file, which need not exist: `XBUILD_CONFIG`, else below
/// `XDG_CONFIG_HOME`, else in the home folder.
pub(crate) fn config_file() -> Option<PathBuf> {
    let named = variable("XBUILD_CONFIG").map(PathBuf::from);
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = || {
        let home = home().filter(|_| closed_home().is_none());
        absolute("XDG_CONFIG_HOME").or_else(|| Some(home?.join(".config")))
    };
    named.or_else(|| Some(folder()?.join("xbuild/config.toml")))
}

/// Returns where options of registries may be: in files of xbuild, docker, containerd, podman and
/// BuildKit.
fn host_files() -> HostFiles {
    let home = home().filter(|_| closed_home().is_none());
    let in_home = |path: &str| home.as_ref().map(|home| home.join(path));
    let config = variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let config = config.or_else(|| in_home(".config"));
    let in_config = |path: &str| config.as_ref().map(|config| config.join(path));
    let named = |name: &str| variable(name).map(PathBuf::from);
    let docker = named("DOCKER_CONFIG").or_else(|| in_home(".docker"));
    let of = |own: [Option<PathBuf>; 3], system: &[&str]| {
        own.into_iter().flatten().chain(system.iter().map(PathBuf::from)).collect()
    };
    HostFiles {
        own: config_file(),
        certs_d: of(
            [docker.map(|docker| docker.join("certs.d")), in_config("containers/certs.d"), None],
            &["/etc/docker/certs.d", "/etc/containers/certs.d", "/etc/containerd/certs.d"],
        ),
        registries_conf: of(
            [named("CONTAINERS_REGISTRIES_CONF"), in_config("containers/registries.conf"), None],
            &["/etc/containers/registries.conf"],
        ),
        buildkitd: of(
            [in_config("buildkit/buildkitd.toml"), None, None],
            &["/etc/buildkit/buildkitd.toml"],
        ),
    }
}

/// The variable that says how much the store may take up after builds.
pub(crate) const BOUND: &str = "XBUILD_MAX_USED_SPACE";

/// What the configuration file says in its place.
static BOUND_OF_FILE: OnceLock<String> = OnceLock::new();

/// Sets what holds if `XBUILD_MAX_USED_SPACE` is unset.
pub(crate) fn set_default_bound(text: &str) {
    // The file is read once.
    let _ = BOUND_OF_FILE.set(text.to_owned());
}

/// Returns how much the store may take up after builds.
fn bound() -> Result<Bound, Problem> {
    match (variable(BOUND), BOUND_OF_FILE.get()) {
        (Some(text), _) => parse_bound(&text, BOUND),
        (None, Some(text)) => parse_bound(text, BOUND_KEY),
        (None, None) => Ok(Bound::Default),
    }
}

/// The name of the bound in the configuration file.
const BOUND_KEY: &str = "store.max-used-space";

/// Refuses what is no bound on the store.
pub(crate) fn check_bound(texts: &[String]) -> Result<(), Problem> {
    match texts {
        [text] => parse_bound(text, BOUND_KEY).map(drop),
        _ => Err(Problem::input(format!("{BOUND_KEY} takes one value"))),
    }
}

fn parse_bound(text: &str, name: &str) -> Result<Bound, Problem> {
    match (text, bytes::parse_or_zero(text)) {
        ("none", _) => Ok(Bound::None),
        (_, Some(bytes)) => Ok(Bound::Bytes(bytes)),
        (_, None) => Err(Problem::command_line(format!(
            "invalid {name} {text}: expected a number with b, k, m or g, or none",
            text = quoted(text)
        ))),
    }
}

/// Returns a variable with a number of seconds.
fn seconds(name: &str) -> Result<Option<Duration>, Problem> {
    let Some(text) = variable(name) else { return Ok(None) };
    match text.parse() {
        Ok(seconds) if seconds > 0 => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(Problem::command_line(format!(
            "invalid {name} {text}: expected a number of seconds",
            text = quoted(&text)
        ))),
    }
}

/// Returns whether text on standard error gets colours; `is_terminal` says whether that is a terminal.
/// `NO_COLOR` takes them away, `CLICOLOR_FORCE` and `FORCE_COLOR` give them to files, too, and
/// `CLICOLOR=0` takes them from terminals.
///
/// **Source** — no-color.org, bixense.com/clicolors, force-color.org.
pub(crate) fn wants_colours(is_terminal: bool) -> bool {
    let is_set = |name: &str| variable(name).is_some_and(|value| value != "0");
    if variable("NO_COLOR").is_some() {
        return false;
    }
    if is_set("CLICOLOR_FORCE") || is_set("FORCE_COLOR") {
        return true;
    }
    is_terminal && !is_dumb_terminal() && variable("CLICOLOR").is_none_or(|value| value != "0")
}

/// Returns whether the terminal is one that cannot move its cursor.
pub(crate) fn is_dumb_terminal() -> bool {
    variable("TERM").is_none_or(|term| term == "dumb")
}

/// Returns the home folder if Docker's client configuration would be in it, and this user must not
/// look whether it is: in containers, HOME is often another user's.
fn closed_home() -> Option<PathBuf> {
    if variable("DOCKER_CONFIG").is_some() {
        return None;
    }
    let looked_up = |home: &PathBuf| home.join(".docker").symlink_metadata();
    let is_denied = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    home().filter(|home| looked_up(home).err().is_some_and(is_denied))
}
