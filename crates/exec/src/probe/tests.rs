use std::path::PathBuf;

use super::*;

fn search_path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_default()
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
    let capabilities = Capabilities::probe(&[], OsStr::new(""));
    assert_eq!(capabilities.executor_for(&host), Executor::Native);
    assert_eq!(capabilities.emulators_for([&host]).unwrap(), []);
}

#[test]
fn emulators_run_in_a_private_binfmt() {
    let capabilities = Capabilities::probe(&Arch::ALL, &search_path());
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
    let capabilities = Capabilities::probe(&[foreign], OsStr::new("/nonexistent"));
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
    let capabilities = Capabilities::probe(&[], OsStr::new(""));
    for platform in ["windows/amd64", "linux/sparc64", "darwin/arm64", "linux/wasm"] {
        let executor = capabilities.executor_for(&platform.parse().unwrap());
        assert!(matches!(executor, Executor::Missing(_)), "{platform}: {executor}");
    }
}

fn machine(host: Arch, amd64_level: u32, ways: &[(Arch, Executor, bool)]) -> Capabilities {
    let ways = ways.iter().cloned().map(|(arch, best, on_host)| {
        (arch, Ways { best, host_entry: on_host.then(|| Some(arch.oci_name().to_owned())) })
    });
    Capabilities {
        findings: Findings {
            caller: Caller::for_tests(),
            user_namespaces: Ok(()),
            overlay: Ok(()),
        },
        private_binfmt: Ok(()),
        host: Some(host),
        amd64_level,
        ways: ways.collect(),
    }
}

fn private(arch: Arch) -> Executor {
    let path = PathBuf::from(format!("/usr/bin/qemu-{}", arch.qemu_name()));
    Executor::PrivateBinfmt { emulator: Emulator { arch, path } }
}

#[test]
fn levels_of_amd64_depend_on_the_cpu() {
    let native = machine(Arch::Amd64, 3, &[]);
    let emulated = machine(Arch::Arm64, 1, &[(Arch::Amd64, private(Arch::Amd64), false)]);
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
    let machine = machine(Arch::Amd64, 1, &[(Arch::Arm, private(Arch::Arm), false)]);
    let platforms: Vec<Platform> =
        ["linux/arm/v5", "linux/arm/v7"].iter().map(|text| text.parse().unwrap()).collect();
    let emulators = machine.emulators_for(&platforms).unwrap();
    assert_eq!(emulators.iter().map(|e| e.arch).collect::<Vec<_>>(), [Arch::Arm]);
}

#[test]
fn private_and_host_entries_do_not_mix() {
    let by_host = || Executor::HostBinfmt { entry: Some("riscv64".to_owned()) };
    let platforms: Vec<Platform> =
        ["linux/arm64", "linux/riscv64"].iter().map(|text| text.parse().unwrap()).collect();
    for (arm64_on_host, works) in [(true, true), (false, false)] {
        let machine = machine(
            Arch::Amd64,
            1,
            &[(Arch::Arm64, private(Arch::Arm64), arm64_on_host), (Arch::Riscv64, by_host(), true)],
        );
        let result = machine.emulators_for(&platforms);
        assert_eq!(result.is_ok_and(|emulators| emulators.is_empty()), works);
        assert_eq!(machine.emulators_for(&platforms[..1]).unwrap().len(), 1);
        assert_eq!(machine.emulators_for(&platforms[1..]).unwrap(), []);
    }
}
