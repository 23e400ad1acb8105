//! Compiles the starter of twins, a program without a library that goes into emulators.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// The flags of the compiler: no library, no code that unwinds, no relocation.
const FLAGS: [&str; 17] = [
    "--edition=2024",
    "--crate-type=bin",
    "--crate-name=starter",
    "-Cpanic=abort",
    "-Copt-level=s",
    "-Coverflow-checks=off",
    "-Cdebuginfo=0",
    "-Cstrip=symbols",
    "-Crelocation-model=pie",
    "-Clink-arg=-nostartfiles",
    "-Clink-arg=-nostdlib",
    "-Clink-arg=-static-pie",
    "-Clink-arg=-Wl,--build-id=none",
    "-Clink-arg=-Wl,-z,norelro",
    "-Dwarnings",
    "-Ccodegen-units=1",
    "-Cforce-unwind-tables=no",
];

fn main() {
    println!("cargo::rerun-if-changed=starter");
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let out = PathBuf::from(variable("OUT_DIR")).join("starter");
    if !matches!(variable("CARGO_CFG_TARGET_ARCH").as_str(), "x86_64" | "aarch64") {
        // Twins are for these processors only.
        std::fs::write(out, b"").expect("cannot write an empty starter");
        return;
    }
    let mut command = Command::new(variable("RUSTC"));
    command.args(FLAGS);
    command.arg("--target").arg(variable("TARGET")).arg("-o").arg(&out).arg("starter/sys.rs");
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        command.arg(format!("-Clinker={linker}"));
    }
    let status = command.status().expect("cannot start the Rust compiler");
    assert!(status.success(), "cannot compile starter/sys.rs");
}
