//! Who answers calls: the process that watches the step, or a thread that waits for nothing else. A wait
//! for several things at once takes a quarter of the time of an answer.
//!
//! The thread ends with the filter, or when it finds that the step has ended. Before Linux 6.11 nothing
//! wakes it up when all callers are gone: then it waits for the end of its process.
//!
//! **Source** — `seccomp_unotify(2)`.

use std::io::PipeReader;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use xbuild_model::records::Records;

use super::answers::Answers;
use crate::error::errno_of;
use crate::seccomp::notice;

/// The answers to a step's calls, and what became known by them.
pub(super) struct Clerk {
    answers: Answers,
    records: Records,
}

impl Clerk {
    pub(super) fn new(answers: Answers) -> Self {
        Self { answers, records: Records::default() }
    }

    /// Returns whether nearly all calls of the step come here.
    pub(super) fn has_much_to_do(&self) -> bool {
        self.answers.are_many()
    }

    /// Waits for the next call of a listener, and answers it; there may be none any more.
    pub(super) fn serve(&mut self, listener: &OwnedFd) -> Result<(), Errno> {
        let Some(notice) = notice::receive(listener).map_err(errno_of)? else { return Ok(()) };
        self.answers.serve(&notice, listener, &mut self.records)
    }

    /// Ends with the step: adds what became known to the records.
    pub(super) fn conclude(mut self: Box<Self>, records: &mut Records) -> Result<(), Errno> {
        self.answers.conclude(&mut self.records)?;
        records.devices.append(&mut self.records.devices);
        records.owners.append(&mut self.records.owners);
        Ok(())
    }
}

/// The place of a clerk: empty when the step has ended.
type Seat = Arc<Mutex<Option<Box<Clerk>>>>;

/// A thread that answers calls.
pub(super) struct Desk {
    seat: Seat,
    thread: JoinHandle<Result<(), Errno>>,
    /// Its other end is closed when the thread ends.
    end: PipeReader,
}

impl Desk {
    /// Lets a thread answer the calls of a listener; gives everything back if the kernel refuses one.
    pub(super) fn open(
        clerk: Box<Clerk>,
        listener: OwnedFd,
    ) -> Result<Self, (Box<Clerk>, OwnedFd)> {
        let Ok((end, other_end)) = std::io::pipe() else { return Err((clerk, listener)) };
        let (seat, listener) = (Arc::new(Mutex::new(Some(clerk))), Arc::new(listener));
        let (its_seat, its_listener) = (Arc::clone(&seat), Arc::clone(&listener));
        let work = move || {
            let done = serve_all(&its_seat, &its_listener);
            drop(other_end);
            done
        };
        match xbuild_model::thread::start("answers", work) {
            Ok(thread) => Ok(Self { seat, thread, end }),
            Err(_) => {
                let clerk = take(&seat).expect("no thread has taken it");
                Err((clerk, Arc::into_inner(listener).expect("no thread has the other one")))
            }
        }
    }

    /// Returns the descriptor that has news when the thread has ended.
    pub(super) fn end(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }

    /// Ends the answers.
    pub(super) fn close(self) -> Option<Box<Clerk>> {
        take(&self.seat)
    }

    /// Waits for the end of the thread, and returns the error that ended it.
    pub(super) fn join(self) -> (Result<(), Errno>, Option<Box<Clerk>>) {
        let ended = self.thread.join().unwrap_or(Err(Errno::IO));
        (ended, take(&self.seat))
    }
}

fn take(seat: &Seat) -> Option<Box<Clerk>> {
    seat.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Answers calls until there can be no more, or the step has ended.
fn serve_all(seat: &Seat, listener: &OwnedFd) -> Result<(), Errno> {
    loop {
        // Nobody may wait for the seat while this thread waits for a call.
        let Some(notice) = notice::receive(listener).map_err(errno_of)? else {
            if is_over(listener)? {
                return Ok(());
            }
            continue;
        };
        let mut clerk = seat.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(clerk) = &mut *clerk else { return Ok(()) };
        clerk.answers.serve(&notice, listener, &mut clerk.records)?;
    }
}

/// Returns whether all processes under the filter have ended.
fn is_over(listener: &OwnedFd) -> Result<bool, Errno> {
    let mut polled = [PollFd::new(listener, PollFlags::IN)];
    rustix::event::poll(&mut polled, Some(&Timespec::default()))?;
    Ok(polled[0].revents().contains(PollFlags::HUP))
}
