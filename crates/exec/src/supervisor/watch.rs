//! The watcher's loop, from the start of a step to its end.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, retry_on_intr};
use xbuild_model::records::Records;

use super::answers::Answers;
use crate::error::RunError;
use crate::idmap::Ids;
use crate::wire;

/// Bytes of events read at a time.
const BUFFER: usize = 4 << 10;

const WHAT: &str = "attend to the step";

/// Answers the step's calls until `events` ends, and returns the text that came through it.
/// `channel` brings the listener, if there is one; `records` takes facts for the layer.
pub(crate) fn attend(
    ids: Ids,
    events: OwnedFd,
    channel: OwnedFd,
    records: &mut Records,
) -> Result<Vec<u8>, RunError> {
    let failed = |errno: Errno| RunError::setup(WHAT)(errno);
    let (mut text, mut buffer) = (Vec::new(), vec![0; BUFFER]);
    let mut line = Line::Channel(channel);
    let mut answers = None;
    loop {
        let (event, call) = wait(&events, &line).map_err(failed)?;
        if !call.is_empty() {
            line = match line {
                Line::Channel(channel) => match wire::receive(channel) {
                    Ok(Some((_, fds))) => fds.into_iter().next().map_or(Line::None, Line::Listener),
                    Ok(None) => Line::None,
                    Err(error) => return Err(RunError::setup(WHAT)(error)),
                },
                Line::Listener(listener) if call.contains(PollFlags::IN) => {
                    answer(&mut answers, ids, &listener, records).map_err(failed)?;
                    Line::Listener(listener)
                }
                // All processes under the filter have ended.
                _ => Line::None,
            };
        }
        if !event.is_empty() {
            match retry_on_intr(|| rustix::io::read(&events, &mut buffer)).map_err(failed)? {
                0 => return Ok(text),
                read => text.extend_from_slice(&buffer[..read]),
            }
        }
    }
}

/// Answers one call; `answers` is made for the first one.
fn answer(
    answers: &mut Option<Answers>,
    ids: Ids,
    listener: &OwnedFd,
    records: &mut Records,
) -> Result<(), Errno> {
    let answers = match answers {
        Some(answers) => answers,
        none => none.insert(Answers::new(ids)?),
    };
    answers.serve(listener, records)
}

/// The line that calls come through.
enum Line {
    /// The listener is still to come.
    Channel(OwnedFd),
    Listener(OwnedFd),
    None,
}

/// Waits for an event or a call; returns the state of both.
fn wait(events: &OwnedFd, line: &Line) -> Result<(PollFlags, PollFlags), Errno> {
    let mut polled = vec![PollFd::new(events, PollFlags::IN)];
    if let Line::Channel(fd) | Line::Listener(fd) = line {
        polled.push(PollFd::new(fd, PollFlags::IN));
    }
    retry_on_intr(|| rustix::event::poll(&mut polled, None))?;
    let call = polled.get(1).map_or(PollFlags::empty(), |polled| polled.revents());
    Ok((polled[0].revents(), call))
}
