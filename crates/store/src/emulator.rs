//! Emulators that the user installed: programs under their digests, and for each architecture a
//! record that names one. Pruning leaves them alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use xbuild_model::Digest;

use crate::entries::{children, file_name, is_key};
use crate::usage::{Usage, usage};
use crate::{Hashed, Store, StoreError, record};

/// An emulator that the user installed for the programs of one architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmulatorRecord {
    /// The name that its file had where it came from.
    pub name: String,
    /// The SHA-256 of the program.
    pub program: Digest,
    /// The size of the program in bytes.
    pub size: u64,
    /// The version that the program says.
    pub version: Option<String>,
    /// The place that it came from, for display.
    pub source: String,
    /// The manifest of the image that it came from.
    pub image: Option<Digest>,
}

/// The folder with programs and records.
const FOLDER: &str = "emulators";
/// The file in it that is locked while a program or record comes or goes.
const LOCK: &str = "lock";

impl Store {
    /// Returns the record of the emulator for the programs of an architecture, named as images name
    /// it; `None` if there is none.
    ///
    /// **Errors** — [`StoreError::DamagedEmulator`] for a record that cannot be read: another
    /// emulator must not take its place without a word.
    pub fn emulator(&self, architecture: &str) -> Result<Option<EmulatorRecord>, StoreError> {
        let path = self.emulator_record_path(architecture);
        let Some(sealed) = self.read_file(&path)? else { return Ok(None) };
        let record = record::unseal(sealed).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let damaged = || StoreError::DamagedEmulator { architecture: architecture.into(), path };
        record.map(Some).ok_or_else(damaged)
    }

    /// Returns the architectures with an emulator, sound or damaged, in the order of their names.
    pub fn emulator_architectures(&self) -> Vec<String> {
        let names = children(&self.root().join(FOLDER)).into_iter().map(|path| file_name(&path));
        names.filter(|name| name != LOCK && !is_key(name)).collect()
    }

    /// Returns the path of an emulator's program.
    pub fn emulator_program(&self, program: &Digest) -> PathBuf {
        self.path(FOLDER, program)
    }

    /// Stores the program of `record`, and records it for an architecture in place of an earlier one.
    /// Both are on the disk when this returns.
    ///
    /// **Errors** — [`StoreError::Mismatch`] if the program has another digest or size than the
    /// record says; then the earlier one stays.
    pub fn put_emulator(
        &self,
        architecture: &str,
        record: &EmulatorRecord,
        program: impl Read,
    ) -> Result<(), StoreError> {
        let _lock = self.lock_emulators()?;
        let temp = self.temp_path("emulator");
        let program = self.write_program(&temp, record, program);
        let target = self.emulator_program(&record.program);
        let put = program.and_then(|()| self.publish_synced(&temp, &target)).and_then(|()| {
            let path = self.emulator_record_path(architecture);
            let bytes = serde_json::to_vec(record)
                .map_err(|error| StoreError::io("encode", &path)(error.into()))?;
            write_synced(&temp, &mut &record::seal(&bytes)[..])?;
            self.publish_synced(&temp, &path)
        });
        if put.is_err() {
            // If this fails, the next session removes the file.
            let _ = fs::remove_file(&temp);
        }
        put.and_then(|()| self.sweep_emulators())
    }

    /// Removes the emulator for the programs of an architecture. Returns whether there was one.
    pub fn remove_emulator(&self, architecture: &str) -> Result<bool, StoreError> {
        let _lock = self.lock_emulators()?;
        let path = self.emulator_record_path(architecture);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            removed => removed.map_err(StoreError::io("remove", &path))?,
        }
        self.sweep_emulators().map(|()| true)
    }

    /// Returns the space that emulators take up.
    pub(crate) fn emulator_usage(&self) -> Usage {
        let files = children(&self.root().join(FOLDER));
        let count = files.iter().filter(|path| is_key(&file_name(path))).count() as u64;
        Usage { count, ..usage("emulators", files) }
    }

    /// Returns the path of the record for an architecture, whether or not it exists.
    pub fn emulator_record_path(&self, architecture: &str) -> PathBuf {
        self.root().join(FOLDER).join(architecture)
    }

    /// Waits for others who install or remove emulators. Dropping the file ends the lock.
    fn lock_emulators(&self) -> Result<File, StoreError> {
        let path = self.root().join(FOLDER).join(LOCK);
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let file = file.map_err(StoreError::io("open", &path))?;
        let locked = rustix::fs::flock(&file, FlockOperation::LockExclusive);
        locked.map_err(|errno| StoreError::io("lock", path)(errno.into()))?;
        Ok(file)
    }

    /// Writes a program, which must be what the record says.
    fn write_program(
        &self,
        temp: &Path,
        record: &EmulatorRecord,
        mut program: impl Read,
    ) -> Result<(), StoreError> {
        let (digest, size) = write_synced(temp, &mut program)?;
        if (&digest, size) == (&record.program, record.size) {
            return Ok(());
        }
        Err(StoreError::Mismatch {
            expected: record.program.clone(),
            expected_size: record.size,
            actual: digest,
            actual_size: size,
        })
    }

    /// Renames a file whose data is on the disk, and syncs the folder.
    fn publish_synced(&self, temp: &Path, target: &Path) -> Result<(), StoreError> {
        fs::rename(temp, target).map_err(StoreError::io("publish", target))?;
        let folder = self.root().join(FOLDER);
        let synced = File::open(&folder).and_then(|folder| folder.sync_all());
        synced.map_err(StoreError::io("sync", folder))
    }

    /// Removes the programs that no record names. The lock must be held. With a damaged record all
    /// stay.
    fn sweep_emulators(&self) -> Result<(), StoreError> {
        let records = self.emulator_architectures().into_iter().map(|name| self.emulator(&name));
        let Ok(records) = records.collect::<Result<Vec<_>, _>>() else { return Ok(()) };
        let is_used =
            |name: &str| records.iter().flatten().any(|known| known.program.hex() == name);
        for path in children(&self.root().join(FOLDER)) {
            let name = file_name(&path);
            if is_key(&name) && !is_used(&name) {
                fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
            }
        }
        Ok(())
    }
}

/// Writes a new file and syncs it. Returns the digest and the size of its bytes.
fn write_synced(path: &Path, bytes: &mut dyn Read) -> Result<(Digest, u64), StoreError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = file.map_err(StoreError::io("create", path))?;
    let mut output = Hashed::new(&file);
    let written = io::copy(bytes, &mut output).and_then(|size| {
        output.flush()?;
        file.sync_all().map(|()| size)
    });
    let size = written.map_err(StoreError::io("write", path))?;
    Ok((output.finish().1, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        (folder, store)
    }

    fn record(program: &[u8]) -> EmulatorRecord {
        EmulatorRecord {
            name: "qemu-aarch64".to_owned(),
            program: Digest::of(program),
            size: program.len() as u64,
            version: Some("9.2.0".to_owned()),
            source: "somewhere".to_owned(),
            image: None,
        }
    }

    fn programs(store: &Store) -> usize {
        let files = children(&store.root().join(FOLDER));
        files.iter().filter(|path| is_key(&file_name(path))).count()
    }

    #[test]
    fn one_program_for_each_architecture_stays_until_it_is_removed() {
        let (_folder, store) = store();
        assert_eq!(store.emulator("arm64").unwrap(), None);
        for (arch, program) in [("arm64", &b"one"[..]), ("s390x", b"two"), ("arm64", b"three")] {
            store.put_emulator(arch, &record(program), program).unwrap();
            let found = store.emulator(arch).unwrap().unwrap();
            assert_eq!(found, record(program));
            assert_eq!(fs::read(store.emulator_program(&found.program)).unwrap(), program);
        }
        assert_eq!(
            (store.emulator_architectures(), programs(&store)),
            (vec!["arm64".into(), "s390x".into()], 2)
        );
        store.prune(true).unwrap();
        assert_eq!(programs(&store), 2);
        let counted = store.usage().into_iter().find(|usage| usage.kind == "emulators").unwrap();
        assert!(counted.count == 2 && counted.bytes > 0, "{counted:?}");
        assert!(store.remove_emulator("arm64").unwrap());
        assert!(!store.remove_emulator("arm64").unwrap());
        assert_eq!((store.emulator_architectures(), programs(&store)), (vec!["s390x".into()], 1));
    }

    #[test]
    fn architectures_may_share_a_program() {
        let (_folder, store) = store();
        for arch in ["arm", "arm64"] {
            store.put_emulator(arch, &record(b"both"), &b"both"[..]).unwrap();
        }
        store.remove_emulator("arm").unwrap();
        assert_eq!(programs(&store), 1);
    }

    #[test]
    fn a_program_that_is_not_what_was_checked_is_not_installed() {
        let (_folder, store) = store();
        store.put_emulator("arm64", &record(b"one"), &b"one"[..]).unwrap();
        let error = store.put_emulator("arm64", &record(b"two"), &b"twa"[..]).unwrap_err();
        assert!(matches!(error, StoreError::Mismatch { .. }), "{error}");
        assert_eq!(store.emulator("arm64").unwrap(), Some(record(b"one")));
        assert_eq!(programs(&store), 1);
    }

    #[test]
    fn a_damaged_record_is_no_missing_one() {
        let (_folder, store) = store();
        store.put_emulator("arm64", &record(b"one"), &b"one"[..]).unwrap();
        fs::write(store.root().join(FOLDER).join("arm64"), "damaged").unwrap();
        let error = store.emulator("arm64").unwrap_err();
        assert!(matches!(error, StoreError::DamagedEmulator { .. }), "{error}");
        assert!(error.hint().is_some());
        store.put_emulator("s390x", &record(b"two"), &b"two"[..]).unwrap();
        assert_eq!(programs(&store), 2, "the damaged record may name it");
        assert!(store.remove_emulator("arm64").unwrap());
        assert_eq!(programs(&store), 1);
    }
}
