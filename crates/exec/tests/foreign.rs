//! Runs programs of every architecture through the whole executor: sandbox, filter, emulator.
//!
//! `XBUILD_FOREIGN_ROOTS` is a folder with busybox root file systems in folders named like their
//! architectures (`arm64`, `386`). Missing ones, and those that cannot run here, are skipped.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;

use xbuild_exec::arch::Arch;
use xbuild_exec::binfmt::Registration;
use xbuild_exec::probe::{Capabilities, Executor, Trials};
use xbuild_exec::{Isolation, Options, Sandbox, Tasks};
use xbuild_model::rootfs::{Overlay, RootFs};
use xbuild_model::run::{Network, RunRequest, Security};
use xbuild_model::seam::Output;
use xbuild_model::{Cancel, Platform};

/// Collects the lines of output.
#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Output for Lines {
    fn line(&self, line: &[u8], _: bool) {
        self.0.lock().unwrap().push(String::from_utf8_lossy(line).into_owned());
    }

    fn note(&self, note: &str) {
        println!("  note: {note}");
    }
}

/// Forks, pipes, a script with its own first line, signals, and calls that the filter refuses.
const SCRIPT: &str = "set -e; exec 2>/dev/null; uname -m; seq 1000 | sort -n | tail -1; \
    printf '#!/bin/sh\\necho script \"$0\" \"$@\"\\n' > /tmp-script; chmod 755 /tmp-script; \
    /tmp-script 'one two'; (exit 7) || echo status $?; sh -c 'kill -9 $$' || echo status $?; \
    chroot / /bin/sh -c 'echo chroot'; if unshare true 2>/dev/null; then echo unshared; fi; \
    f=/proc/sys/fs/binfmt_misc; if [ -e $f/register ]; then echo binfmt visible; fi; echo end";

const EXPECTED: &[&str] =
    &["1000", "script /tmp-script one two", "status 7", "status 137", "chroot", "end"];

fn main() -> ExitCode {
    if let Some(code) = xbuild_exec::role(&Tasks::new()) {
        return code;
    }
    let Some(roots) = std::env::var_os("XBUILD_FOREIGN_ROOTS") else {
        println!("skipped: foreign root file systems: XBUILD_FOREIGN_ROOTS is not set");
        return ExitCode::SUCCESS;
    };
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    let capabilities = Capabilities::probe(&Trials {
        architectures: &Arch::ALL,
        installed: &[],
        search_path: &search_path,
        folder: Ok(&std::env::temp_dir()),
        place: xbuild_exec::Place::Machine,
        own_root: None,
        isolation: Isolation::AUTO,
    });
    let present: Vec<(Arch, Platform)> = Arch::ALL
        .into_iter()
        .filter(|arch| Path::new(&roots).join(arch.oci_name()).is_dir())
        .map(|arch| (arch, Platform::new("linux", arch.oci_name(), None)))
        .filter(|(_, platform)| match capabilities.executor_for(platform) {
            Executor::Missing(gap) => {
                println!("skipped: {platform}: {gap}");
                false
            }
            executor => {
                println!("{platform}: {executor}");
                true
            }
        })
        .collect();
    let found = capabilities.emulators_for(present.iter().map(|(_, platform)| platform)).unwrap();
    let emulators = || -> Vec<Registration> {
        found.registered.iter().map(|emulator| emulator.registration().unwrap()).collect()
    };
    for (emulators, intercepted) in [(emulators(), Vec::new()), (Vec::new(), emulators())] {
        println!("by interception: {}", intercepted.len());
        let sandbox = Sandbox::new(Options {
            isolation: Isolation::AUTO,
            choice: None,
            started: None,
            emulators,
            intercepted,
            network: Network::Host,
            search_path: search_path.clone(),
            cancel: Cancel::default(),
        });
        // All at once, as a build for many platforms does it.
        std::thread::scope(|scope| {
            for (arch, platform) in &present {
                let (sandbox, root) = (&sandbox, Path::new(&roots).join(arch.oci_name()));
                scope.spawn(move || check(sandbox, &root, platform));
            }
        });
    }
    ExitCode::SUCCESS
}

fn check(sandbox: &Sandbox, root: &Path, platform: &Platform) {
    let dir = tempfile::tempdir().unwrap();
    let dirs = Overlay {
        lowers: vec![root.to_owned()],
        joined: None,
        upper: dir.path().join("upper"),
        work: dir.path().join("work"),
    };
    std::fs::create_dir(&dirs.upper).unwrap();
    std::fs::create_dir(&dirs.work).unwrap();
    let request = RunRequest {
        argv: ["/bin/sh", "-c", SCRIPT].map(str::to_owned).to_vec(),
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        cwd: "/".to_owned(),
        user: String::new(),
        platform: platform.clone(),
        network: Network::None,
        security: Security::Sandbox,
        hostname: "buildkitsandbox".to_owned(),
        extra_hosts: Vec::new(),
        ulimits: Vec::new(),
        shm_size: 1 << 20,
        scripts: Vec::new(),
        mounts: Vec::new(),
        unkeyed_env: Vec::new(),
    };
    let lines = Lines::default();
    let result =
        sandbox.run_with(&RootFs::Overlay(dirs.clone()), &request, &[], Vec::new(), &lines);
    let lines = lines.0.into_inner().unwrap();
    assert!(result.is_ok(), "{platform}: {result:?}");
    assert_eq!(lines[1..], *EXPECTED, "{platform}");
    println!("{platform}: ok");
    // overlayfs leaves folders without any rights, which only root could remove like that.
    for folder in ["work", "work/incompat", "work/incompat/volatile"] {
        let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        if let Err(error) = std::fs::set_permissions(dirs.work.join(folder), owner_only) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{folder}");
        }
    }
}
