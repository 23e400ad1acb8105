//! `xbuild emulators`: the programs that run foreign RUN steps.
#![allow(rustdoc::broken_intra_doc_links, reason = "brackets in help mark what is optional")]

mod list;

use std::fmt::Write as _;
use std::sync::Arc;

use clap::Subcommand;
use list::platform_name;
use xbuild_build::error::OpenError;
use xbuild_build::{EmulatorSource, Events, Installation};
use xbuild_exec::arch::Arch;
use xbuild_model::Platform;
use xbuild_wording::{hints, quoted};

use crate::console::Console;
use crate::environment;
use crate::registry_args::RegistryArgs;
use crate::report::{Problem, printable};
use crate::store_args::StoreArgs;

/// The arguments of `xbuild emulators`.
#[derive(Debug, clap::Args)]
pub(crate) struct EmulatorsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the emulators that builds can use, and those that they do use
    Ls(list::ListArgs),
    /// Install emulators into the store, without any privilege
    Install(InstallArgs),
    /// Remove installed emulators
    Rm(RemoveArgs),
}

/// The arguments of `xbuild emulators install`.
#[derive(Debug, clap::Args)]
struct InstallArgs {
    /// An image, oci-layout://DIR[:TAG][@DIGEST], a folder or file with static QEMU programs
    /// (qemu-ARCH-static or qemu-ARCH), or the word PATH for the folders of that variable
    #[arg(value_name = "SOURCE", default_value = EmulatorSource::DEFAULT)]
    source: String,
    /// Platforms whose programs are to be run, or all that the source has emulators for
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',', default_value = ALL)]
    platform: Vec<String>,
    #[command(flatten)]
    registries: RegistryArgs,
    #[command(flatten)]
    store: StoreArgs,
}

/// The arguments of `xbuild emulators rm`.
#[derive(Debug, clap::Args)]
struct RemoveArgs {
    /// Architectures or platforms, such as arm64 or linux/arm64
    #[arg(value_name = "ARCH", required_unless_present = "all", conflicts_with = "all")]
    architectures: Vec<String>,
    /// Remove all
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// The value of `--platform` for everything that a source has.
const ALL: &str = "all";

/// Lists, installs or removes emulators.
pub(crate) fn run(args: &EmulatorsArgs, console: &Arc<Console>) -> Result<(), Problem> {
    match &args.action {
        Action::Ls(args) => list::run(args, console),
        Action::Install(args) => install(args, console),
        Action::Rm(args) => remove(args, console),
    }
}

fn install(args: &InstallArgs, console: &Arc<Console>) -> Result<(), Problem> {
    let wanted = wanted(&args.platform)?;
    let machine = args.registries.machine(args.store.root.as_deref())?;
    let source = EmulatorSource::of_name(&args.source);
    let outcome = xbuild_build::install_emulators(
        &machine,
        &source,
        &wanted,
        &(Arc::clone(console) as Arc<dyn Events>),
    )?;
    let mut text = String::new();
    for Installation { arch, record, untried } in &outcome.installed {
        let name = printable(&record.name);
        let version = record.version.as_ref().map(|version| format!(" (QEMU {version})"));
        let version = version.unwrap_or_default();
        let program = &record.program;
        let _ = writeln!(text, "installed {}: {name} {program}{version}", platform_name(*arch));
        if let Some(gap) = untried {
            let why = printable(&gap.why);
            console.line(format_args!("warning: {name} could not be tried out here: {why}"));
        }
    }
    for error in &outcome.left_out {
        console.line(format_args!("warning: left out: {}", printable(&error.to_string())));
    }
    console.result(text.as_bytes())
}

fn remove(args: &RemoveArgs, console: &Arc<Console>) -> Result<(), Problem> {
    let machine = environment::machine(args.store.root.as_deref())?;
    let store = xbuild_build::existing_store(&machine, &(Arc::clone(console) as Arc<dyn Events>))?;
    let installed = store.as_ref().map(|store| store.emulator_architectures()).unwrap_or_default();
    let names = match args.all {
        true => installed,
        false => {
            let names = args.architectures.iter().map(|name| Ok(arch(name)?.oci_name().to_owned()));
            let names = names.collect::<Result<Vec<String>, Problem>>()?;
            if let Some(missing) = names.iter().find(|name| !installed.contains(name)) {
                let message = format!("no emulator for {missing} programs is installed");
                return Err(Problem::input(message).with_hint(hints::emulators_are_listed()));
            }
            names
        }
    };
    let mut text = String::new();
    for (name, store) in names.iter().flat_map(|name| Some((name, store.as_ref()?))) {
        if store.remove_emulator(name).map_err(OpenError::from)? {
            let _ = writeln!(text, "removed linux/{}", printable(name));
        }
    }
    console.result(text.as_bytes())
}

/// Returns the architectures of `--platform`; none for all.
fn wanted(platforms: &[String]) -> Result<Vec<Arch>, Problem> {
    if platforms.iter().any(|name| name == ALL) {
        return match platforms {
            [_] => Ok(Vec::new()),
            _ => Err(Problem::command_line("--platform all takes no other platform beside it")),
        };
    }
    platforms.iter().map(|name| arch(name)).collect()
}

/// Returns the architecture of a platform or of an architecture, by the name of images or of QEMU.
fn arch(name: &str) -> Result<Arch, Problem> {
    let by_name =
        Arch::ALL.into_iter().find(|arch| name == arch.oci_name() || name == arch.qemu_name());
    let platform = || name.parse::<Platform>().ok();
    by_name.or_else(|| Arch::of(&platform()?)).ok_or_else(|| {
        let known = Arch::ALL.map(platform_name).join(", ");
        Problem::command_line(format!(
            "there is no emulator for the platform {name}",
            name = quoted(&name)
        ))
        .with_hint(hints::platforms_with_emulators(known))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_and_architectures_have_many_names() {
        for (name, expected) in [
            ("linux/arm64", Arch::Arm64),
            ("arm64", Arch::Arm64),
            ("aarch64", Arch::Arm64),
            ("linux/arm/v7", Arch::Arm),
            ("i386", Arch::I386),
            ("mips64el", Arch::Mips64le),
        ] {
            assert_eq!(arch(name).unwrap(), expected, "{name}");
        }
        for name in ["linux/sparc64", "windows/amd64", "", "/"] {
            assert!(arch(name).is_err(), "{name}");
        }
        let names = |names: &[&str]| {
            wanted(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(names(&["all"]).unwrap(), []);
        assert_eq!(names(&["arm64", "riscv64"]).unwrap(), [Arch::Arm64, Arch::Riscv64]);
        assert!(names(&["arm64", "all"]).is_err());
    }
}
