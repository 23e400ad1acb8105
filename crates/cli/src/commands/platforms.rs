//! `xbuild platforms`: the platforms whose programs this machine can run, and how.

use std::fmt::Write as _;

use xbuild_exec::Isolation;
use xbuild_exec::arch::Arch;
use xbuild_exec::probe::{Executor, Gap};
use xbuild_model::Platform;

use crate::console::Console;
use crate::environment;
use crate::report::Problem;
use crate::store_args::StoreArgs;

/// The arguments of `xbuild platforms`.
#[derive(Debug, clap::Args)]
pub(crate) struct PlatformsArgs {
    #[command(flatten)]
    store: StoreArgs,
}

/// The platforms that people build for, with the variants of Arm.
pub(crate) const PLATFORMS: &[&str] = &[
    "linux/amd64",
    "linux/arm64",
    "linux/arm/v7",
    "linux/arm/v6",
    "linux/arm/v5",
    "linux/386",
    "linux/ppc64le",
    "linux/s390x",
    "linux/riscv64",
    "linux/mips64le",
    "linux/loong64",
];

/// Prints a line for each platform, then the remedies for those that cannot run.
pub(crate) fn run(args: &PlatformsArgs, console: &Console) -> Result<(), Problem> {
    let machine = environment::machine(args.store.root.as_deref())?;
    let capabilities = xbuild_build::survey(&machine, &Arch::ALL, Isolation::AUTO);
    let mut text = String::from("PLATFORM         RUN STEPS\n");
    let mut missing: Vec<Gap> = Vec::new();
    let mut lacks = |gap: &Gap| {
        if !missing.contains(gap) {
            missing.push(gap.clone());
        }
    };
    let needs = capabilities.findings.needs();
    // A kind of root file system may be refused as long as another one is possible.
    let choice = capabilities.rung(Isolation::AUTO);
    let refused = match choice {
        Ok(_) => None,
        Err(_) => needs.iter().find_map(|(_, result)| result.as_ref().err()),
    };
    for name in PLATFORMS {
        let Ok(platform) = name.parse::<Platform>() else { continue };
        let how = match refused {
            Some(gap) => Err(gap.clone()),
            None => how(capabilities.executor_for(&platform)),
        };
        let how = how.unwrap_or_else(|gap| {
            lacks(&gap);
            format!("no: {}", gap.why)
        });
        let _ = writeln!(text, "{name:<16} {how}");
    }
    text.push_str("\nBuilds without RUN steps work for every platform, anywhere.\n\n");
    if let Ok(choice) = &choice {
        let _ = writeln!(text, "isolation: {choice}");
    }
    let features = needs.map(|(need, result)| (need.to_string(), result));
    let binfmt = ("private binfmt_misc".to_owned(), &capabilities.private_binfmt);
    let interception = ("interception of execve".to_owned(), &capabilities.interception);
    for (what, result) in features.into_iter().chain([binfmt, interception]) {
        match result {
            Ok(()) => {
                let _ = writeln!(text, "{what}: yes");
            }
            Err(gap) => {
                lacks(gap);
                let _ = writeln!(text, "{what}: no: {}", gap.why);
            }
        }
    }
    if !missing.is_empty() {
        text.push_str("\nTo get more:\n");
        for gap in &missing {
            let _ = writeln!(text, "  - {}: {}", gap.why, gap.how_to_get);
        }
    }
    console.result(text.as_bytes())
}

/// Returns how programs of a platform are run, in words, or the gap.
fn how(executor: Executor) -> Result<String, Gap> {
    Ok(match executor {
        Executor::Native => "native".to_owned(),
        Executor::Compat32 => "native, 32-bit mode".to_owned(),
        Executor::PrivateBinfmt { emulator } => {
            format!("emulated for the build only, by {}", emulator.place())
        }
        Executor::Intercepted { emulator } => {
            format!("emulated by {}, put in front by interception", emulator.place())
        }
        Executor::HostBinfmt { entry: Some(entry) } => {
            format!("emulated by the host's binfmt_misc entry {entry}")
        }
        Executor::HostBinfmt { entry: None } => "emulated by the host's binfmt_misc".to_owned(),
        Executor::Missing(gap) => return Err(gap),
    })
}
