//! The arguments of every subcommand that may ask registries.

use xbuild_build::Machine;

/// Options of registries.
#[derive(Debug, clap::Args)]
pub(crate) struct RegistryArgs {
    /// A registry that needs no certificate, nor TLS (repeatable; the variable
    /// XBUILD_REGISTRY_INSECURE has a list with commas)
    #[arg(long, value_name = "HOST[:PORT]", help_heading = "Registries")]
    registry_insecure: Vec<String>,
}

impl RegistryArgs {
    /// Adds the options to those of the machine.
    pub(crate) fn add_to(&self, machine: &mut Machine) {
        machine.insecure_registries.extend(self.registry_insecure.iter().cloned());
    }
}
