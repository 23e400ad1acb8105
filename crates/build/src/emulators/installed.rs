//! The emulators that are installed in a store.

use xbuild_exec::arch::Arch;
use xbuild_exec::emulator::Installed;
use xbuild_model::Digest;
use xbuild_store::{EmulatorRecord, Store, StoreError};

/// Returns the emulators of a store for these architectures. One whose record cannot be read is
/// among them, with the record in place of the program, so that it cannot be loaded: another emulator
/// must not take its place without a word.
pub(crate) fn installed_in(store: &Store, architectures: &[Arch]) -> Vec<Installed> {
    let read = |arch: &Arch| match store.emulator(arch.oci_name()) {
        Ok(record) => record.map(|record| as_installed(store, *arch, record)),
        Err(_) => Some(Installed {
            arch: *arch,
            name: format!("qemu-{}", arch.qemu_name()),
            path: store.emulator_record_path(arch.oci_name()),
            digest: Digest::of(b""),
        }),
    };
    architectures.iter().filter_map(read).collect()
}

/// The record of an emulator in a store.
#[derive(Debug)]
pub struct InstalledRecord {
    /// The architecture whose programs it runs.
    pub arch: Arch,
    /// The record with the emulator, or why the record cannot be read.
    pub record: Result<(EmulatorRecord, Installed), StoreError>,
}

/// Returns the records of a store's emulators, also those that cannot be read.
pub fn installed_records(store: &Store) -> Vec<InstalledRecord> {
    let names = store.emulator_architectures();
    let known = Arch::ALL.into_iter().filter(|arch| names.iter().any(|n| n == arch.oci_name()));
    let read = |arch: Arch| {
        let record = store.emulator(arch.oci_name()).transpose()?;
        let pair = |record: EmulatorRecord| (record.clone(), as_installed(store, arch, record));
        Some(InstalledRecord { arch, record: record.map(pair) })
    };
    known.filter_map(read).collect()
}

fn as_installed(store: &Store, arch: Arch, record: EmulatorRecord) -> Installed {
    let EmulatorRecord { name, program, .. } = record;
    Installed { arch, name, path: store.emulator_program(&program), digest: program }
}
