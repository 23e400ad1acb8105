//! The faults of mirrors that this process has met: failures, silence, and wrong bytes.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use xbuild_model::Digest;

use crate::endpoint::Place;
use crate::error::RequestError;

/// The faults of all mirrors so far. A mirror is known by host and port.
#[derive(Debug, Default)]
pub(crate) struct Mirrors(Mutex<Faults>);

#[derive(Debug, Default)]
struct Faults {
    /// Mirrors whose failure was told.
    told: HashSet<String>,
    /// Mirrors that are asked no more.
    silent: HashSet<String>,
    /// Blob -> the mirrors that had a part in its last reading.
    readings: HashMap<Digest, Vec<String>>,
    /// Blobs that mirrors have with other bytes.
    wrong: HashSet<(Digest, String)>,
}

impl Mirrors {
    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a place is passed over where a document is asked for, or this blob.
    pub(crate) fn avoid(&self, place: &Place, blob: Option<&Digest>) -> bool {
        let (name, faults) = (place.endpoint.registry(), self.faults());
        let is_wrong = |blob: &Digest| faults.wrong.contains(&(blob.clone(), name.to_owned()));
        place.is_mirror && (faults.silent.contains(name) || blob.is_some_and(is_wrong))
    }

    /// Counts a failure of a mirror. Returns whether it is to be told: the first one of a mirror is.
    pub(crate) fn fail(&self, mirror: &str) -> bool {
        self.faults().told.insert(mirror.to_owned())
    }

    /// Asks a mirror no more. Returns whether that is new.
    pub(crate) fn give_up(&self, mirror: &str) -> bool {
        self.faults().silent.insert(mirror.to_owned())
    }

    /// Begins to read a blob.
    pub(crate) fn begin(&self, blob: &Digest) {
        self.faults().readings.remove(blob);
    }

    /// Notes that bytes of a blob come from a place.
    pub(crate) fn read(&self, blob: &Digest, from: &Place) {
        if from.is_mirror {
            let mirror = from.endpoint.registry().to_owned();
            self.faults().readings.entry(blob.clone()).or_default().push(mirror);
        }
    }

    /// Asks the mirrors that a blob was read from no more for it, and returns those for which that is
    /// new.
    pub(crate) fn distrust(&self, blob: &Digest) -> Vec<String> {
        let mut faults = self.faults();
        let mut mirrors = faults.readings.remove(blob).unwrap_or_default();
        mirrors.retain(|mirror| faults.wrong.insert((blob.clone(), mirror.clone())));
        mirrors
    }
}

/// Returns whether a mirror that fails so is asked no more: nobody answers there, and to find that out
/// takes up to a minute.
pub(crate) fn is_silence(error: &RequestError) -> bool {
    matches!(error, RequestError::Connect { .. } | RequestError::Stalled { .. })
}
