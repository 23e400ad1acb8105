//! The bytes of pulls, pushes and shared caches, as events of a build.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use xbuild_model::Digest;
use xbuild_model::transfer::{Direction, Moving, OnTransfer, Transfer};
use xbuild_registry::PushEvent;

use crate::events::{Event, Events};

/// Returns a function that passes the states of transfers on as events.
pub(crate) fn told(events: &Arc<dyn Events>) -> OnTransfer {
    let events = Arc::clone(events);
    Arc::new(move |transfer, state| events.event(Event::Transfer(transfer, state)))
}

/// A transfer that begins with its first bytes: what a registry has already is not sent.
#[derive(Debug)]
pub(crate) struct Begun {
    moving: OnceLock<Moving>,
    transfer: Transfer,
    on: Told,
}

struct Told(OnTransfer);

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

impl Begun {
    pub(crate) fn later(transfer: Transfer, on: &OnTransfer) -> Self {
        Self { moving: OnceLock::new(), transfer, on: Told(Arc::clone(on)) }
    }

    /// Tells that more bytes were moved.
    pub(crate) fn moved(&self, bytes: u64) {
        let begin = || Moving::begin(self.transfer.clone(), Arc::clone(&self.on.0));
        self.moving.get_or_init(begin).moved(bytes);
    }
}

/// Passes the events of a push on, with the transfers of its blobs.
pub(crate) struct Pushes<'a> {
    events: &'a Arc<dyn Events>,
    blobs: PushedBlobs,
}

impl<'a> Pushes<'a> {
    pub(crate) fn new(events: &'a Arc<dyn Events>) -> Self {
        Self { events, blobs: PushedBlobs::new(Direction::Push, told(events)) }
    }

    /// Takes an event.
    pub(crate) fn event(&self, event: PushEvent<'_>) {
        self.events.event(Event::Push(event));
        self.blobs.event(event);
    }
}

/// The transfers of the blobs of a push.
pub(crate) struct PushedBlobs {
    direction: Direction,
    on: OnTransfer,
    /// The blobs under way, by repository and digest.
    moving: Mutex<HashMap<(String, Digest), Moving>>,
}

impl PushedBlobs {
    pub(crate) fn new(direction: Direction, on: OnTransfer) -> Self {
        Self { direction, on, moving: Mutex::default() }
    }

    /// Takes an event of the push.
    pub(crate) fn event(&self, event: PushEvent<'_>) {
        // Nobody panics while holding the lock.
        let moving = || self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            PushEvent::Sent { repository, blob, bytes } => {
                let begin = || {
                    let known = (blob.digest.clone(), blob.size);
                    let place = repository.to_owned();
                    let transfer = Transfer::new(self.direction, place, Some(known));
                    Moving::begin(transfer, Arc::clone(&self.on))
                };
                let key = (repository.to_owned(), blob.digest.clone());
                moving().entry(key).or_insert_with(begin).moved(bytes);
            }
            PushEvent::Finished { repository, blob, .. } => {
                moving().remove(&(repository.to_owned(), blob.digest.clone()));
            }
            _ => {}
        }
    }
}
