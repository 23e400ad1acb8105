//! Trying out a machine without a build, on the file system of the store.

use std::path::Path;
use std::sync::Arc;

use xbuild_exec::Isolation;
use xbuild_exec::arch::Arch;
use xbuild_exec::emulator::Installed;
use xbuild_exec::probe::{Capabilities, Gap, Trials};
use xbuild_store::{OnWait, Store};
use xbuild_wording::hints;

use crate::emulators;
use crate::error::Fault;
use crate::machine::Machine;

/// Tries out everything that RUN steps may need, with the ids of the highest rung that `isolation`
/// allows. A store that is not there yet is not made: the folder that is nearest to its place stands
/// for it.
pub fn survey(machine: &Machine, architectures: &[Arch], isolation: Isolation) -> Capabilities {
    let probe = |folder: Result<&Path, Gap>, installed: &[Installed]| {
        let (search_path, place) = (&machine.search_path, machine.place);
        Capabilities::probe(&Trials {
            architectures,
            search_path,
            installed,
            folder,
            place,
            own_root: machine.own_root(),
            isolation,
        })
    };
    let gap = |error: &dyn Fault| Gap {
        why: error.to_string(),
        how_to_get: error.hint().unwrap_or_else(hints::choose_root),
    };
    let nobody: OnWait = Arc::new(|_| {});
    let root = match machine.store_root() {
        Ok(root) => root,
        Err(error) => return probe(Err(gap(&error)), &[]),
    };
    let opened = Store::open_existing(root, &nobody)
        .and_then(|store| store.map(|store| Ok((store.temp_dir("trial")?, store))).transpose());
    match opened {
        Ok(Some((folder, store))) => {
            probe(Ok(folder.path()), &emulators::installed_in(&store, architectures))
        }
        // Nothing is made to look around.
        Ok(None) => {
            let around = root.ancestors().find(|folder| folder.is_dir());
            probe(Ok(around.unwrap_or(Path::new("/"))), &[])
        }
        Err(error) => {
            let how_to_get = hints::choose_another_root();
            probe(Err(Gap { why: error.to_string(), how_to_get }), &[])
        }
    }
}
