//! Logins that are verified and kept, and forgotten.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xbuild_model::Cancel;
use xbuild_registry::{Credential, Credentials, LoginEdit, Secret};

use crate::docker_config;
use crate::error::LoginError;
use crate::events::Events;
use crate::machine::Machine;
use crate::wiring;

/// Asks a registry whether a login is right, and keeps it. Returns where it is kept, for display.
pub fn login(
    machine: &Machine,
    registry: &str,
    user: &str,
    password: &Secret,
    events: &Arc<dyn Events>,
) -> Result<String, LoginError> {
    let path = file(machine)?;
    let edit = LoginEdit::add(&text(path)?, registry, user, password)
        .map_err(|fault| LoginError::Malformed { path: path.to_owned(), fault })?;
    let credential = Credential::Basic { user: user.to_owned(), password: password.clone() };
    let credentials = Credentials::default().with(registry, credential);
    wiring::client_with(machine, credentials, events, Cancel::default())
        .verify_login(registry)
        .map_err(|source| LoginError::Registry { registry: registry.to_owned(), source })?;
    if let Some(helper) = &edit.helper {
        helpers(machine).keep(helper, &edit.key, user, password).map_err(LoginError::Helper)?;
    }
    write(path, &edit.text)?;
    Ok(match edit.helper {
        Some(helper) => format!("the credential helper docker-credential-{helper}"),
        None => path.display().to_string(),
    })
}

/// Asks a registry whether it is there and takes the login that this user has for it, if any.
pub fn reach(
    machine: &Machine,
    registry: &str,
    events: &Arc<dyn Events>,
) -> Result<(), LoginError> {
    wiring::client(machine, None, events, Cancel::default())
        .verify_login(registry)
        .map_err(|source| LoginError::Unusable { registry: registry.to_owned(), source })
}

/// Forgets the login to a registry. Returns whether there was one.
pub fn logout(machine: &Machine, registry: &str) -> Result<bool, LoginError> {
    let path = file(machine)?;
    let edit = LoginEdit::remove(&text(path)?, registry)
        .map_err(|fault| LoginError::Malformed { path: path.to_owned(), fault })?;
    let Some(edit) = edit else { return Ok(false) };
    if let Some(helper) = &edit.helper {
        helpers(machine).erase(helper, &edit.key).map_err(LoginError::Helper)?;
    }
    write(path, &edit.text)?;
    Ok(true)
}

fn helpers(machine: &Machine) -> Credentials {
    let folders = std::env::split_paths(&machine.search_path).collect();
    let patience = machine.credential_patience.unwrap_or(Credentials::PATIENCE);
    Credentials::default().with_search_path(folders).with_patience(patience)
}

fn file(machine: &Machine) -> Result<&Path, LoginError> {
    machine.login_file.as_deref().ok_or(LoginError::NoFile)
}

fn text(path: &Path) -> Result<String, LoginError> {
    let read = docker_config::read(path).map_err(failed("read", path))?;
    Ok(read.unwrap_or_default())
}

/// Writes a file that only its owner can read, in one step. A link stays one.
fn write(path: &Path, text: &str) -> Result<(), LoginError> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("make", folder))?;
    let temporary = folder.join(format!(".config.json.{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, &path));
    if written.is_err() {
        // The error of writing is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed("write", &path))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LoginError {
    let path: PathBuf = path.to_owned();
    move |error| LoginError::File { action, path, error }
}
