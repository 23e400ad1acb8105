//! `xbuild login` and `xbuild logout`: logins to registries, kept where docker keeps them.

use std::io::{self, Read as _};
use std::sync::Arc;

use xbuild_build::Events;
use xbuild_registry::Secret;
use xbuild_wording::quoted;

use crate::config::OnLineOnly;
use crate::console::Console;
use crate::environment;
use crate::registry_args::RegistryArgs;
use crate::report::{Problem, printable};

/// Bytes of a password at most: a token has a few KiB.
const MAX_PASSWORD: u64 = 64 << 10;

/// The arguments of `xbuild login`.
#[derive(Debug, clap::Args)]
pub(crate) struct LoginArgs {
    /// The registry
    #[arg(value_name = "HOST[:PORT]", default_value = "docker.io")]
    registry: String,
    /// The user
    #[arg(short, long, value_name = "USER")]
    username: String,
    /// Read the password, or a token that stands for it, from standard input
    #[arg(long, required_unless_present = "password", add = OnLineOnly)]
    password_stdin: bool,
    #[arg(short, long, hide = true, value_name = "PASSWORD")]
    password: Option<String>,
    #[command(flatten)]
    registries: RegistryArgs,
}

/// The arguments of `xbuild logout`.
#[derive(Debug, clap::Args)]
pub(crate) struct LogoutArgs {
    /// The registry
    #[arg(value_name = "HOST[:PORT]", default_value = "docker.io")]
    registry: String,
}

/// Asks the registry whether the login is right, and keeps it.
pub(crate) fn login(args: &LoginArgs, console: &Arc<Console>) -> Result<(), Problem> {
    if args.password.is_some() {
        let why =
            "--password shows the password to everybody on this machine: use --password-stdin";
        return Err(Problem::command_line(why));
    }
    let registry = registry(&args.registry)?;
    if args.username.is_empty() || args.username.contains(':') {
        return Err(Problem::command_line("--username is empty, or has a colon"));
    }
    let mut password = String::new();
    let read = io::stdin().take(MAX_PASSWORD).read_to_string(&mut password);
    read.map_err(|error| Problem::input(format!("cannot read the password: {error}")))?;
    let password = password.strip_suffix('\n').unwrap_or(&password);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(Problem::input("there is no password on standard input"));
    }
    let machine = args.registries.machine(None)?;
    let events = Arc::clone(console) as Arc<dyn Events>;
    let secret = Secret::new(password);
    let place = xbuild_build::login(&machine, &registry, &args.username, &secret, &events)?;
    console.result(format!("logged in to {registry}: kept in {}\n", printable(&place)).as_bytes())
}

/// Forgets the login to a registry.
pub(crate) fn logout(args: &LogoutArgs, console: &Console) -> Result<(), Problem> {
    let registry = registry(&args.registry)?;
    let text = match xbuild_build::logout(&environment::machine(None)?, &registry)? {
        true => format!("logged out of {registry}\n"),
        false => format!("there was no login to {registry}\n"),
    };
    console.result(text.as_bytes())
}

/// Returns the registry, which may be given as a URL.
fn registry(text: &str) -> Result<String, Problem> {
    let bare = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
    let is_name = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    if bare.is_empty() || !bare.chars().all(is_name) {
        return Err(Problem::command_line(format!(
            "invalid registry {text}: expected HOST[:PORT]",
            text = quoted(&text)
        )));
    }
    Ok(bare.to_ascii_lowercase())
}
