//! `xbuild doctor`: whether RUN steps can run here, on which rung, and what would give more.

use std::fmt::Write as _;
use std::sync::Arc;

use clap::ValueEnum;
use serde::Serialize;
use xbuild_build::{Events, Machine};
use xbuild_exec::arch::Arch;
use xbuild_exec::ladder::Choice;
use xbuild_exec::probe::{Capabilities, Executor, Gap};
use xbuild_exec::{Isolation, Rung, Surroundings};
use xbuild_model::{FailureKind, Platform};
use xbuild_wording::{Hint, hints};

use super::platforms::PLATFORMS;
use crate::console::Console;
use crate::registry_args::RegistryArgs;
use crate::report::{Problem, printable, without_number};
use crate::store_args::StoreArgs;

/// The arguments of `xbuild doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Images of registries, or registries (`registry.example`, `localhost:5000`), that must be
    /// reachable with the logins of this user
    #[arg(value_name = "IMAGE|REGISTRY")]
    images: Vec<String>,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    registries: RegistryArgs,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs; docs/environments.md has the fields
    Json,
}

/// Everything that was found out. Its JSON is documented in `docs/environments.md`: fields may be
/// added, a change of others changes `version`.
#[derive(Debug, Serialize)]
struct Diagnosis {
    version: u32,
    /// Whether RUN steps for this machine's own platform are possible.
    run: bool,
    /// The isolation that a build takes.
    isolation: Option<String>,
    /// `range`, `single`, or `null` without an isolation.
    ids: Option<&'static str>,
    kernel: String,
    store: Option<String>,
    surroundings: Surroundings,
    rungs: Vec<RungState>,
    /// The networks of steps beside the host's.
    networks: Vec<Verdict>,
    platforms: Vec<PlatformState>,
    registries: Vec<Verdict>,
}

/// A yes, or a no with its reason.
#[derive(Debug, Serialize)]
struct Verdict {
    name: String,
    possible: bool,
    why: Option<String>,
    remedy: Option<Hint>,
}

#[derive(Debug, Serialize)]
struct RungState {
    #[serde(flatten)]
    verdict: Verdict,
    /// The security price of the rung.
    price: &'static str,
    /// The root file systems, the best first.
    roots: Vec<Verdict>,
}

#[derive(Debug, Serialize)]
struct PlatformState {
    #[serde(flatten)]
    verdict: Verdict,
    /// `native`, `32-bit`, `binfmt`, `intercept` or `host`.
    way: Option<&'static str>,
    emulator: Option<String>,
    digest: Option<String>,
    /// The version of QEMU that the emulator says.
    version: Option<String>,
    /// The pace that was measured for that version, in a sentence.
    pace: Option<String>,
}

impl Verdict {
    fn of<T>(name: impl ToString, result: Result<T, Gap>) -> Self {
        let (why, remedy) = result.err().map(|gap| (gap.why, gap.how_to_get)).unzip();
        let (why, remedy) = (why.map(without_number), remedy.filter(|remedy| !remedy.is_empty()));
        Self { name: name.to_string(), possible: why.is_none(), why, remedy }
    }

    /// Writes the verdict, with its remedy unless that is the one that was written last.
    fn write<'v>(
        &'v self,
        text: &mut String,
        (indent, kind): (&str, &str),
        yes: &str,
        last: &mut Option<&'v str>,
    ) {
        let name = printable(&self.name);
        let _ = match &self.why {
            None => writeln!(text, "{indent}{kind}{name}: {yes}"),
            Some(why) => writeln!(text, "{indent}{kind}{name}: no: {}", printable(why)),
        };
        if let Some(remedy) = &self.remedy
            && last.replace(remedy) != Some(remedy)
        {
            let _ = writeln!(text, "{indent}  to get it: {}", printable(remedy));
        }
    }
}

/// Prints the diagnosis; fails if RUN steps are not possible, or a registry is out of reach.
pub(crate) fn run(args: &DoctorArgs, console: &Arc<Console>) -> Result<(), Problem> {
    let machine = args.registries.machine(args.store.root.as_deref())?;
    let found = xbuild_build::survey(&machine, &Arch::ALL, Isolation::AUTO);
    let single = xbuild_build::survey(&machine, &[], Isolation::rung(Rung::UsernsSingle));
    let choice = found.rung(Isolation::AUTO);
    let rungs = Rung::ALL.map(|rung| {
        let facts = if rung == Rung::UsernsSingle { &single } else { &found };
        rung_state(rung, facts)
    });
    let can_run = choice.is_ok();
    let registries = args.images.iter().map(|image| {
        let events = Arc::clone(console) as Arc<dyn Events>;
        if let Some(registry) = registry_of(image) {
            let reached = xbuild_build::reach(&machine, registry, &events)
                .map_err(|error| Problem::from(error).gap());
            return Verdict::of(image, reached);
        }
        // The store's image would say nothing of the registry.
        let place = if image.contains("://") { image.clone() } else { format!("docker://{image}") };
        let reached = xbuild_build::inspect(&machine, &place, None, &events)
            .map_err(|error| Problem::from(error).gap());
        Verdict::of(image, reached)
    });
    let diagnosis = Diagnosis {
        version: 1,
        run: can_run,
        isolation: choice.as_ref().ok().map(ToString::to_string),
        ids: choice.as_ref().ok().map(Choice::ids),
        kernel: kernel(),
        store: machine.store_root().ok().map(|root| root.display().to_string()),
        surroundings: Surroundings::current(machine.place),
        rungs: rungs.into(),
        networks: networks(choice.as_ref().ok().map(|choice| choice.rung), &machine),
        platforms: platforms(&found, can_run),
        registries: registries.collect(),
    };
    let text = match args.format {
        Format::Text => text(&diagnosis),
        Format::Json => {
            let json = serde_json::to_string_pretty(&diagnosis);
            let json = json.map_err(|error| {
                Problem::failure(FailureKind::Internal, format!("cannot write JSON: {error}"))
            })?;
            format!("{json}\n")
        }
    };
    console.result(text.as_bytes())?;
    match choice {
        Err(_) => Err(Problem::shown_as(FailureKind::Environment)),
        Ok(_) if diagnosis.registries.iter().any(|registry| !registry.possible) => {
            Err(Problem::shown_as(FailureKind::Remote))
        }
        Ok(_) => Ok(()),
    }
}

/// Returns the registry that an argument names, unless it is an image: what could be the first part of
/// an image's name (with a dot, or `localhost`), or anything with a slash at its end.
fn registry_of(argument: &str) -> Option<&str> {
    if let Some(registry) = argument.strip_suffix('/') {
        return Some(registry).filter(|registry| !registry.contains('/'));
    }
    let host = argument.split_once(':').map_or(argument, |(host, _)| host);
    let is_host = host == "localhost" || host.contains('.') || argument.starts_with('[');
    (is_host && !argument.contains(['/', '@'])).then_some(argument)
}

fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

fn rung_state(rung: Rung, facts: &Capabilities) -> RungState {
    let roots = rung.roots().iter();
    let roots: Vec<Verdict> =
        roots.map(|root| Verdict::of(root, facts.findings.root(rung, *root))).collect();
    let possible = facts.findings.rung(rung);
    // The gap of the last root file system, if there is none at all.
    let none = roots.iter().all(|root| !root.possible).then(|| roots.last()).flatten();
    let gap = none.map(|root| Gap {
        why: root.why.clone().unwrap_or_default(),
        how_to_get: root.remedy.clone().unwrap_or_default(),
    });
    let possible = possible.and_then(|()| gap.map_or(Ok(()), Err));
    RungState { verdict: Verdict::of(rung, possible), price: rung.price(), roots }
}

/// Returns whether steps on a rung can have the networks that `--network` names.
fn networks(rung: Option<Rung>, machine: &Machine) -> Vec<Verdict> {
    let none = || Gap { why: "no rung is possible".to_owned(), how_to_get: hints::see_the_rungs() };
    let rung = rung.ok_or_else(none);
    let own = |rung: Rung| xbuild_exec::own_networks(rung, &machine.search_path);
    let without = rung.clone().and_then(xbuild_exec::no_network);
    vec![Verdict::of("private", rung.and_then(own)), Verdict::of("none", without)]
}

fn platforms(found: &Capabilities, can_run: bool) -> Vec<PlatformState> {
    let names = PLATFORMS.iter().filter_map(|name| name.parse::<Platform>().ok());
    names.map(|platform| platform_state(&platform, found, can_run)).collect()
}

fn platform_state(platform: &Platform, found: &Capabilities, can_run: bool) -> PlatformState {
    let (mut way, mut emulator, mut digest, mut version) = (None, None, None, None);
    let executor = found.executor_for(platform);
    let result = match &executor {
        Executor::Missing(gap) => Err(gap.clone()),
        _ if !can_run => {
            Err(Gap { why: "no rung is possible".to_owned(), how_to_get: hints::see_the_rungs() })
        }
        _ => Ok(()),
    };
    if result.is_ok() {
        way = Some(match &executor {
            Executor::Native => "native",
            Executor::Compat32 => "32-bit",
            Executor::PrivateBinfmt { .. } => "binfmt",
            Executor::Intercepted { .. } => "intercept",
            Executor::HostBinfmt { .. } | Executor::Missing(_) => "host",
        });
        match executor {
            Executor::PrivateBinfmt { emulator: used }
            | Executor::Intercepted { emulator: used } => {
                emulator = Some(used.path.display().to_string());
                digest = Some(used.digest.to_string());
                version = used.version;
            }
            Executor::HostBinfmt { entry } => emulator = entry,
            _ => {}
        }
    }
    let pace = version.as_deref().and_then(pace);
    PlatformState { verdict: Verdict::of(platform, result), way, emulator, digest, version, pace }
}

/// Returns what was measured about a version of QEMU beside others: the installation of packages that
/// docs/emulation.md describes, on one machine.
fn pace(version: &str) -> Option<String> {
    match version.split('.').next()?.parse().ok()? {
        11 => Some(format!(
            "QEMU 11.1 took 1.13 times as long as 7.2 to install packages of Debian for \
             linux/arm64; {}",
            hints::install_other_emulator()
        )),
        _ => None,
    }
}

fn text(diagnosis: &Diagnosis) -> String {
    let mut text = match &diagnosis.isolation {
        Some(isolation) => format!("RUN steps: yes, isolation {isolation}\n"),
        None => "RUN steps: no. Builds without RUN work for every platform.\n".to_owned(),
    };
    let Surroundings { place, seccomp, apparmor, no_new_privs, uid, .. } = &diagnosis.surroundings;
    let ids = match diagnosis.ids {
        Some("single") => "single; owners and users of images are recorded",
        ids => ids.unwrap_or("none"),
    };
    let _ = writeln!(text, "ids: {ids}");
    let _ = writeln!(text, "kernel: {}", printable(&diagnosis.kernel));
    let _ = writeln!(text, "store: {}", printable(diagnosis.store.as_deref().unwrap_or("none")));
    let _ = writeln!(
        text,
        "runs in: {place}, uid {uid}{}{}{}",
        if *seccomp { ", under a filter of system calls" } else { "" },
        apparmor.as_ref().map(|name| format!(", AppArmor profile {name}")).unwrap_or_default(),
        if *no_new_privs { ", no_new_privs" } else { "" },
    );
    text.push_str("\nRungs, the best first:\n");
    let mut last = None;
    for rung in &diagnosis.rungs {
        rung.verdict.write(&mut text, ("  ", ""), "yes", &mut last);
        let _ = writeln!(text, "    price: {}", rung.price);
        for root in rung.roots.iter().filter(|_| rung.verdict.possible) {
            root.write(&mut text, ("    ", "root "), "yes", &mut last);
        }
    }
    text.push_str("\nNetworks of steps beside the host's (--network):\n");
    for network in &diagnosis.networks {
        network.write(&mut text, ("  ", ""), "yes", &mut last);
    }
    text.push_str("\nPlatforms:\n");
    for platform in &diagnosis.platforms {
        let PlatformState { verdict, way, emulator, digest, .. } = platform;
        let parts = [*way, emulator.as_deref(), digest.as_deref()];
        let parts: Vec<&str> = parts.into_iter().flatten().collect();
        verdict.write(&mut text, ("  ", ""), &printable(&parts.join(" ")), &mut last);
    }
    // All platforms mostly have the emulators of one version.
    let mut paces: Vec<&str> =
        diagnosis.platforms.iter().filter_map(|p| p.pace.as_deref()).collect();
    paces.dedup();
    for pace in paces {
        let _ = writeln!(text, "  note: {pace}");
    }
    if !diagnosis.registries.is_empty() {
        text.push_str("\nRegistries:\n");
        for registry in &diagnosis.registries {
            registry.write(&mut text, ("  ", ""), "reachable", &mut last);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_measured_is_said() {
        assert!(pace("11.1.50").unwrap().contains("1.13 times as long as 7.2"));
        for version in ["7.2.22", "9.2.0", "12.0.0", "", "x"] {
            assert_eq!(pace(version), None, "{version}");
        }
    }

    #[test]
    fn registries_are_told_from_images() {
        for (argument, expected) in [
            ("registry.example", Some("registry.example")),
            ("registry.example:5000", Some("registry.example:5000")),
            ("localhost:5000", Some("localhost:5000")),
            ("[::1]:5000", Some("[::1]:5000")),
            ("mirror:5000/", Some("mirror:5000")),
            ("debian", None),
            ("debian:12", None),
            ("debian:12.5", None),
            ("registry.example/app", None),
            ("registry.example/app/", None),
            ("docker://registry.example/app", None),
        ] {
            assert_eq!(registry_of(argument), expected, "{argument}");
        }
    }
}
