//! Sockets with names: the kernel makes them, and tells nobody when it has. The next calls show.

use std::os::fd::OwnedFd;

use rustix::fs::FileType;
use rustix::io::Errno;
use xbuild_model::owner::Owner;

use super::book::{self, Book};
use super::create;
use super::memory;
use super::spot::Spot;
use super::thread::Thread;
use crate::supervisor::reply::Reply;

/// The most sockets that are awaited.
const LIMIT: usize = 64;

/// The largest address, and the bytes before its path.
const LARGEST: u32 = 110;
const FAMILY: usize = 2;

/// Sockets that callers are making.
#[derive(Default)]
pub(super) struct Sockets(Vec<Awaited>);

struct Awaited {
    /// The thread that makes it.
    thread: u32,
    folder: OwnedFd,
    name: Vec<u8>,
    owner: Owner,
}

impl Sockets {
    /// Gives those that have come to their owners. `thread` is at its next call.
    pub(super) fn settle(&mut self, book: &mut Book, thread: u32) {
        if self.0.is_empty() {
            return;
        }
        self.0.retain(|awaited| {
            let is_there = awaited.adopt(book).unwrap_or(true);
            !is_there && awaited.thread != thread
        });
    }

    /// Lets the kernel make a socket of `own`.
    pub(super) fn await_one(
        &mut self,
        book: &Book,
        thread: &Thread<'_>,
        (address, size): (u64, u32),
        own: Owner,
    ) -> Result<Reply, Errno> {
        let Some(spot) = spot(thread, address, size)? else { return Ok(Reply::Continue) };
        let (Some(folder), Some(name)) = (spot.parent(), spot.name()) else {
            return Ok(Reply::Continue);
        };
        // The kernel has the error.
        let Ok(owner) = create::owner_in(book, &folder, own) else { return Ok(Reply::Continue) };
        if owner == Owner::ROOT || book::look(&spot.path, false).is_ok() {
            return Ok(Reply::Continue);
        }
        if !book.may_keep(&folder)? {
            return Err(Errno::PERM);
        }
        if self.0.len() >= LIMIT {
            // Its thread ended before it made it.
            self.0.remove(0);
        }
        let folder = folder.handle()?;
        self.0.push(Awaited { thread: thread.number, folder, name, owner });
        Ok(Reply::Continue)
    }
}

impl Awaited {
    /// Gives the socket to its owner, and returns whether it is there.
    fn adopt(&self, book: &mut Book) -> Result<bool, Errno> {
        let folder = book::by_handle(&self.folder)?.path;
        let path = [folder.as_bytes(), b"/", &self.name].concat();
        let spot = Spot { follow: false, ..Spot::of(path)? };
        match book::look(&spot.path, false) {
            Ok(found) if found.kind == FileType::Socket => {
                book.set(&spot.handle()?, self.owner)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// Returns the place of a socket; `None` for an address without a path.
pub(super) fn spot(thread: &Thread<'_>, address: u64, size: u32) -> Result<Option<Spot>, Errno> {
    if !(FAMILY as u32 + 1..=LARGEST).contains(&size) {
        return Ok(None);
    }
    let mut bytes = vec![0; size as usize];
    if memory::read(thread, address, &mut bytes).is_err() {
        return Ok(None);
    }
    let (family, path) = bytes.split_at(FAMILY);
    let is_local = family == (libc::AF_UNIX as u16).to_ne_bytes();
    let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
    if !is_local || end == 0 {
        return Ok(None);
    }
    Spot::named(thread, &path[..end]).map(Some)
}
