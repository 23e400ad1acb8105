//! `xbuild login` and `xbuild logout`: logins to registries, kept where docker keeps them.

use std::io::{self, Read as _};
use std::sync::Arc;

use xbuild_build::Events;
use xbuild_registry::Secret;
use xbuild_wording::{hints, quoted, without_login};

use crate::config::OnLineOnly;
use crate::console::Console;
use crate::environment;
use crate::prompt;
use crate::registry_args::RegistryArgs;
use crate::report::{Problem, ProblemKind, printable};

/// Bytes of a password at most: a token has a few KiB.
const MAX_PASSWORD: u64 = 64 << 10;

/// The status that shells have for what Ctrl-C ends.
const INTERRUPTED: u8 = 130;

/// The arguments of `xbuild login`.
#[derive(Debug, clap::Args)]
pub(crate) struct LoginArgs {
    /// The registry
    #[arg(value_name = "HOST[:PORT]", default_value = "docker.io")]
    registry: String,
    /// The user [default: asked for on a terminal]
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// Read the password, or a token that stands for it, from standard input; without it a terminal is
    /// asked
    #[arg(long, add = OnLineOnly)]
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
    let (user, password) = credentials(args, &registry)?;
    let machine = args.registries.machine(None)?;
    let events = Arc::clone(console) as Arc<dyn Events>;
    let place = xbuild_build::login(&machine, &registry, &user, &password, &events)?;
    console.result(format!("logged in to {registry}: kept in {}\n", printable(&place)).as_bytes())
}

/// Returns user and password. What the arguments do not say is asked for on a terminal.
fn credentials(args: &LoginArgs, registry: &str) -> Result<(String, Secret), Problem> {
    let cannot_read = |error: io::Error| Problem::input(format!("cannot read the login: {error}"));
    let user = match &args.username {
        Some(user) => user.clone(),
        // Standard input has the password, if it has anything.
        None if args.password_stdin || !prompt::can_ask() => {
            return Err(Problem::command_line("no user is named").with_hint(hints::name_user()));
        }
        None => prompt::line(&format!("user at {registry}: ")).map_err(cannot_read)?,
    };
    if user.is_empty() || user.contains(':') {
        return Err(Problem::command_line("the user is empty, or has a colon"));
    }
    let password = match args.password_stdin {
        true => {
            let mut text = String::new();
            io::stdin().take(MAX_PASSWORD).read_to_string(&mut text).map_err(cannot_read)?;
            let line = text.strip_suffix('\n').unwrap_or(&text);
            line.strip_suffix('\r').unwrap_or(line).to_owned()
        }
        false if !prompt::can_ask() => {
            return Err(Problem::command_line("there is no terminal to ask for the password")
                .with_hint(hints::pipe_password()));
        }
        false => prompt::secret("password or token, which is not shown: ")
            .map_err(cannot_read)?
            .ok_or_else(|| Problem::new(ProblemKind::Exit(INTERRUPTED), ""))?,
    };
    if password.is_empty() {
        return Err(Problem::input("there is no password"));
    }
    Ok((user, Secret::new(&password)))
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
            text = quoted(&without_login(text))
        )));
    }
    Ok(bare.to_ascii_lowercase())
}
