use super::*;

fn search_path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

fn probe(architectures: &[Arch], search_path: &OsStr) -> Capabilities {
    let folder = tempfile::tempdir().unwrap();
    let found = Capabilities::probe(&Trials {
        architectures,
        installed: &[],
        search_path,
        folder: Ok(folder.path()),
        place: Around::Machine,
        own_root: None,
        isolation: Isolation::AUTO,
    });
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something is left");
    found
}

/// Reports a skip, or fails if the feature is required by `XBUILD_REQUIRE`.
fn skip(feature: &str, why: &str) {
    let required = std::env::var("XBUILD_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|name| name == feature), "{feature} is required: {why}");
    println!("skipped: {feature}: {why}");
}

#[test]
fn the_host_runs_its_own_programs_without_any_trial() {
    let host = Platform::host();
    let capabilities = probe(&[], OsStr::new(""));
    assert_eq!(capabilities.executor_for(&host), Executor::Native);
    assert_eq!(capabilities.emulators_for([&host]).unwrap(), Emulators::default());
}

#[test]
fn emulators_run_in_a_private_binfmt() {
    let capabilities = probe(&Arch::ALL, &search_path());
    if let Err(gap) = &capabilities.private_binfmt {
        return skip("userns", &gap.to_string());
    }
    for arch in Arch::ALL {
        let platform = Platform::new("linux", arch.oci_name(), None);
        println!("{platform}: {}", capabilities.executor_for(&platform));
        if let Executor::Missing(gap) = capabilities.executor_for(&platform) {
            skip("qemu", &gap.to_string());
        }
    }
}

#[test]
fn a_platform_without_an_emulator_says_what_to_install() {
    let foreign = if Arch::host() == Some(Arch::S390x) { Arch::Riscv64 } else { Arch::S390x };
    let capabilities = probe(&[foreign], OsStr::new("/nonexistent"));
    let platform = Platform::new("linux", foreign.oci_name(), None);
    let (refused, gap) = match capabilities.emulators_for([&Platform::host(), &platform]) {
        Err(refused) => refused,
        Ok(_) => return skip("no-host-binfmt", "the host has emulators registered"),
    };
    assert_eq!(refused, platform);
    if capabilities.findings.user_namespaces.is_ok() {
        assert!(gap.why.contains(foreign.qemu_name()), "{gap}");
        assert!(gap.how_to_get.contains("qemu-user-static"), "{gap}");
    }
}

#[test]
fn other_systems_and_unknown_architectures_are_missing() {
    let capabilities = probe(&[], OsStr::new(""));
    for platform in ["windows/amd64", "linux/sparc64", "darwin/arm64", "linux/wasm"] {
        let executor = capabilities.executor_for(&platform.parse().unwrap());
        assert!(matches!(executor, Executor::Missing(_)), "{platform}: {executor}");
    }
}

fn gap(why: &str) -> Gap {
    Gap { why: why.to_owned(), how_to_get: xbuild_wording::hints::try_again() }
}

fn emulator(arch: Arch) -> Emulator {
    let program = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(program.path(), crate::tiny_elf::program(Arch::host().unwrap())).unwrap();
    let mut loaded = Emulator::load(arch, program.path()).unwrap();
    // Emulators of different paths are different, and this path is another each time.
    loaded.path = arch.qemu_name().into();
    loaded
}

/// Returns the ways of an architecture: those named in `works`.
fn ways(arch: Arch, works: &[Emulation]) -> (Arch, Ways) {
    let has = |way: Emulation| works.contains(&way);
    let by_emulator = |way, why| if has(way) { Ok(emulator(arch)) } else { Err(gap(why)) };
    let by_host = || Some(arch.oci_name().to_owned());
    let ways = Ways {
        by_cpu: false,
        private: by_emulator(Emulation::Binfmt, "no binfmt"),
        intercepted: by_emulator(Emulation::Intercept, "no ptrace"),
        is_refused: false,
        by_host: if has(Emulation::Host) { Ok(by_host()) } else { Err(gap("no entry")) },
        gap: gap("nothing"),
    };
    (arch, ways)
}

fn machine(host: Arch, amd64_level: u32, ways: &[(Arch, Ways)]) -> Capabilities {
    Capabilities {
        findings: Findings::all_possible(Caller::for_tests()),
        private_binfmt: Ok(()),
        interception: Ok(()),
        emulation: Emulation::Auto,
        host: Some(host),
        amd64_level,
        ways: ways.iter().cloned().collect(),
    }
}

#[test]
fn the_first_way_that_works_is_taken_unless_one_is_demanded() {
    use Emulation::{Auto, Binfmt, Host, Intercept};
    let all = [Binfmt, Intercept, Host];
    for (works, wanted, expected) in [
        (&all[..], Auto, Binfmt),
        (&all[1..], Auto, Intercept),
        (&all[2..], Auto, Host),
        (&all[..], Binfmt, Binfmt),
        (&all[..], Intercept, Intercept),
        (&all[..], Host, Host),
    ] {
        let machine = machine(Arch::Amd64, 1, &[ways(Arch::Arm64, works)]).with_emulation(wanted);
        let found = machine.executor_for(&"linux/arm64".parse().unwrap());
        let way = match found {
            Executor::PrivateBinfmt { .. } => Binfmt,
            Executor::Intercepted { .. } => Intercept,
            Executor::HostBinfmt { .. } => Host,
            other => panic!("{other}"),
        };
        assert_eq!(way, expected, "{works:?} {wanted:?}");
    }
    for (wanted, why) in
        [(Auto, "nothing"), (Binfmt, "no binfmt"), (Intercept, "no ptrace"), (Host, "no entry")]
    {
        let machine = machine(Arch::Amd64, 1, &[ways(Arch::Arm64, &[])]).with_emulation(wanted);
        match machine.executor_for(&"linux/arm64".parse().unwrap()) {
            Executor::Missing(gap) => assert_eq!(gap.why, why),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn programs_are_intercepted_here() {
    let capabilities = probe(&Arch::ALL, &search_path());
    if let Err(gap) = &capabilities.interception {
        return skip("qemu", &gap.to_string());
    }
    let capabilities = capabilities.with_emulation(Emulation::Intercept);
    for arch in Arch::ALL {
        let platform = Platform::new("linux", arch.oci_name(), None);
        println!("{platform}: {}", capabilities.executor_for(&platform));
        if let Executor::Missing(gap) = capabilities.executor_for(&platform) {
            skip("qemu", &gap.to_string());
        }
    }
}

#[test]
fn levels_of_amd64_depend_on_the_cpu() {
    let native = machine(Arch::Amd64, 3, &[]);
    let emulated = machine(Arch::Arm64, 1, &[ways(Arch::Amd64, &[Emulation::Binfmt])]);
    for (platform, on_amd64, on_arm64) in [
        ("linux/amd64", true, true),
        ("linux/amd64/v2", true, true),
        ("linux/amd64/v3", true, false),
        ("linux/amd64/v4", false, false),
    ] {
        let platform = platform.parse().unwrap();
        let runs = |on: &Capabilities| !matches!(on.executor_for(&platform), Executor::Missing(_));
        assert_eq!((runs(&native), runs(&emulated)), (on_amd64, on_arm64), "{platform}");
    }
}

#[test]
fn all_variants_of_arm_share_an_emulator() {
    let machine = machine(Arch::Amd64, 1, &[ways(Arch::Arm, &[Emulation::Binfmt])]);
    let platforms: Vec<Platform> =
        ["linux/arm/v5", "linux/arm/v7"].iter().map(|text| text.parse().unwrap()).collect();
    let emulators = machine.emulators_for(&platforms).unwrap();
    assert_eq!(emulators.registered, [emulator(Arch::Arm)]);
    assert_eq!(emulators.intercepted, []);
}

#[test]
fn private_and_host_entries_do_not_mix() {
    use Emulation::{Binfmt, Host, Intercept};
    let platforms: Vec<Platform> =
        ["linux/arm64", "linux/riscv64"].iter().map(|text| text.parse().unwrap()).collect();
    let intercepted = vec![emulator(Arch::Arm64)];
    for (arm64, expected) in [
        (&[Binfmt, Host][..], Some(Vec::new())),
        (&[Binfmt], None),
        (&[Binfmt, Intercept], Some(intercepted.clone())),
        (&[Binfmt, Intercept, Host], Some(intercepted)),
    ] {
        let ways = [ways(Arch::Arm64, arm64), ways(Arch::Riscv64, &[Host])];
        let machine = machine(Arch::Amd64, 1, &ways);
        let both = machine.emulators_for(&platforms).ok();
        let expected =
            expected.map(|intercepted| Emulators { registered: Vec::new(), intercepted });
        assert_eq!(both, expected, "{arm64:?}");
        assert_eq!(machine.emulators_for(&platforms[..1]).unwrap().registered.len(), 1);
        assert_eq!(machine.emulators_for(&platforms[1..]).unwrap(), Emulators::default());
    }
}
