//! The user's logins: where they are, and what is wrong with them.

use std::io;

use xbuild_registry::Credentials;

use crate::docker_config;
use crate::events::{Event, Events, Warning};
use crate::machine::{LoginPlace, Machine};

/// Reads all logins. A place that cannot be read is a warning: most builds need no login.
pub(crate) fn read(machine: &Machine, events: &dyn Events) -> Credentials {
    let folders = std::env::split_paths(&machine.search_path).collect();
    let patience = machine.credential_patience.unwrap_or(Credentials::PATIENCE);
    let mut credentials = Credentials::default().with_search_path(folders).with_patience(patience);
    let tell = |warning: Warning| events.event(Event::Warning(&warning));
    for place in &machine.logins {
        let (name, text) = match place {
            LoginPlace::Variable { name, text } => ((*name).to_owned(), text.clone()),
            LoginPlace::File { path, is_named } => {
                let name = path.display().to_string();
                match docker_config::read(path) {
                    Ok(Some(text)) => (name, text),
                    Ok(None) if !is_named => continue,
                    Ok(None) => {
                        let error = io::ErrorKind::NotFound.into();
                        tell(Warning::LoginFile { place: name, error });
                        continue;
                    }
                    Err(error) => {
                        tell(Warning::LoginFile { place: name, error });
                        continue;
                    }
                }
            }
        };
        for fault in credentials.add_file(&text) {
            tell(Warning::Login { place: name.clone(), fault });
        }
        let is_docker = matches!(place, LoginPlace::File { path, .. }
            if Some(path) == machine.docker_config.as_ref());
        if is_docker && docker_config::has_odd_proxies(&text, machine.docker_host.as_deref()) {
            tell(Warning::Proxies { place: name });
        }
    }
    credentials
}
