//! The arguments of every subcommand that may ask registries.

use std::path::Path;

use xbuild_build::Machine;
use xbuild_model::Reference;
use xbuild_wording::{quoted, without_login};

use crate::environment;
use crate::report::Problem;

/// Options of registries.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RegistryArgs {
    /// A registry that needs no certificate, nor TLS (repeatable; the variable
    /// XBUILD_REGISTRY_INSECURE has a list with commas)
    #[arg(long, value_name = "HOST[:PORT]", help_heading = "Registries")]
    registry_insecure: Vec<String>,
    /// A place to pull from before a registry: HOST=MIRROR or HOST=MIRROR/PATH; both may have a port,
    /// and the mirror may begin with http:// (repeatable)
    #[arg(long, value_name = "HOST=MIRROR", value_parser = mirror, help_heading = "Registries")]
    registry_mirror: Vec<(String, String)>,
}

impl RegistryArgs {
    /// Returns the machine with these options added to its own; `root` is that of the store.
    pub(crate) fn machine(&self, root: Option<&Path>) -> Result<Machine, Problem> {
        // Whoever reads an argument shows it if it is wrong, with its password.
        if let Some((_, mirror)) = self.registry_mirror.iter().find(|(_, place)| has_user(place)) {
            return Err(Problem::command_line(format!(
                "--registry-mirror: {mirror} with a user or password is not HOST[:PORT][/PATH]; use \
                 `xbuild login`",
                mirror = quoted(&without_login(mirror))
            )));
        }
        let mut machine = environment::machine(root)?;
        machine.insecure_registries.extend(self.registry_insecure.iter().cloned());
        machine.registry_mirrors.extend(self.registry_mirror.iter().cloned());
        Ok(machine)
    }
}

fn has_user(place: &str) -> bool {
    place.contains('@')
}

/// Reads `HOST=MIRROR`. A mirror with a user is left as it is.
fn mirror(text: &str) -> Result<(String, String), String> {
    let (host, mirror) = text.split_once('=').ok_or("expected HOST=MIRROR")?;
    let host = host.strip_prefix("https://").unwrap_or(host).trim_end_matches('/');
    let bare = mirror.strip_prefix("http://").or_else(|| mirror.strip_prefix("https://"));
    let bare = bare.unwrap_or(mirror).trim_end_matches('/');
    // Read as the name of an image, since that is what both become.
    let is_place = |place: &str| format!("{place}/x").parse::<Reference>().is_ok();
    let is_host = |host: &str| {
        let with_dot = host.contains(['.', ':']) || host == "localhost";
        with_dot && !host.contains('/') && is_place(host)
    };
    if !is_host(host) {
        return Err(format!("{host} is not the name of a registry", host = quoted(&host)));
    }
    let mirror_host = bare.split('/').next().unwrap_or_default();
    if has_user(mirror) {
        return Ok((host.to_owned(), mirror.to_owned()));
    }
    if !is_host(mirror_host) || !is_place(bare) {
        return Err(format!("{mirror} is not HOST[:PORT][/PATH]", mirror = quoted(&mirror)));
    }
    let scheme = if mirror.starts_with("http://") { "http://" } else { "" };
    Ok((host.to_owned(), format!("{scheme}{bare}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_a_place_of_a_registry() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let read = |text: &str| mirror(text).unwrap();
        assert_eq!(read("docker.io=m.example:5000/hub/"), pair("docker.io", "m.example:5000/hub"));
        assert_eq!(read("a:1=http://localhost"), pair("a:1", "http://localhost"));
        for bad in [
            "docker.io",
            "=m.example",
            "docker.io=",
            "hub=m.example",
            "a.b/c=m.example",
            "docker.io=m",
            "docker.io=m.example/UPPER",
            "docker.io=ftp://m.example",
        ] {
            assert!(mirror(bad).is_err(), "{bad}");
        }
    }
}
