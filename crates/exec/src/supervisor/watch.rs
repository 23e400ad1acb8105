//! The watcher's loop, from the start of a step to its end.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, Signal};
use xbuild_model::records::Records;

use super::answers::Answers;
use super::nearness::Nearness;
use super::scene::Scene;
use super::step_place::StepPlace;
use crate::error::{RunError, in_words};
use crate::idmap::Ids;
use crate::{protocol, wire};

/// Bytes of events read at a time.
const BUFFER: usize = 4 << 10;

const WHAT: &str = "attend to the step";

/// Answers the step's calls until `events` ends, and returns the text that came through it.
/// `channel` brings the listener, if there is one, and the facts about the step's place. It also answers
/// for the files of `scene`; `stop` may end the step early; `records` takes facts for the layer.
pub(crate) fn attend(
    ids: Ids,
    scene: Scene,
    events: OwnedFd,
    channel: OwnedFd,
    mut stop: Option<Stop>,
    records: &mut Records,
) -> Result<Vec<u8>, RunError> {
    let failed = |errno: Errno| RunError::setup(WHAT)(errno);
    let (mut text, mut buffer) = (Vec::new(), vec![0; BUFFER]);
    let mut line = Line::Channel(channel);
    let (mut answers, mut scene) = (None, Some(scene));
    loop {
        let Ready { event, call, is_stopped } =
            wait(&events, &line, stop.as_ref()).map_err(failed)?;
        if let Some(stop) = stop.take_if(|_| is_stopped) {
            // The other end of the events ends all its descendants when it finds them closed.
            let Some(init) = stop.init else { return Ok(text) };
            // It is a child that nobody has waited for, so the id is still its own. The kernel ends
            // all its descendants with it, and then the events.
            rustix::process::kill_process(init, Signal::KILL).map_err(failed)?;
        }
        if !call.is_empty() {
            line = match line {
                Line::Channel(channel) => match wire::receive(channel) {
                    Ok(Some((around, fds))) => {
                        let around: StepPlace = protocol::from_json(&around)
                            .map_err(|error| RunError::Filter { reason: in_words(&error) })?;
                        let scene = scene.take().unwrap_or_default();
                        let listener = fds.into_iter().next();
                        let near = listener.as_ref().map(Nearness::new);
                        answers = Some(Answers::new(ids, scene, around, near).map_err(failed)?);
                        listener.map_or(Line::None, Line::Listener)
                    }
                    Ok(None) => Line::None,
                    Err(error) => return Err(RunError::setup(WHAT)(error)),
                },
                Line::Listener(listener) if call.contains(PollFlags::IN) => {
                    if let Some(answers) = &mut answers {
                        answers.serve(&listener, records).map_err(failed)?;
                    }
                    Line::Listener(listener)
                }
                // All processes under the filter have ended.
                _ => Line::None,
            };
        }
        if !event.is_empty() {
            match retry_on_intr(|| rustix::io::read(&events, &mut buffer)).map_err(failed)? {
                0 => {
                    if let Some(answers) = &mut answers {
                        answers.conclude(records).map_err(failed)?;
                    }
                    return Ok(text);
                }
                read => text.extend_from_slice(&buffer[..read]),
            }
        }
    }
}

/// The line that calls come through.
enum Line {
    /// The listener is still to come.
    Channel(OwnedFd),
    Listener(OwnedFd),
    None,
}

/// A line that ends the step when its other end is closed.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) line: OwnedFd,
    /// Pid 1 of the step, a child of this process that is not waited for yet; `None` for a process
    /// that has to end the step's processes itself.
    pub(crate) init: Option<Pid>,
}

/// The lines that have news.
struct Ready {
    event: PollFlags,
    call: PollFlags,
    is_stopped: bool,
}

/// Waits for news.
fn wait(events: &OwnedFd, line: &Line, stop: Option<&Stop>) -> Result<Ready, Errno> {
    let call = match line {
        Line::Channel(fd) | Line::Listener(fd) => Some(fd),
        Line::None => None,
    };
    let lines = [Some(events), call, stop.map(|stop| &stop.line)];
    let mut polled: Vec<PollFd<'_>> =
        lines.iter().flatten().map(|fd| PollFd::new(*fd, PollFlags::IN)).collect();
    retry_on_intr(|| rustix::event::poll(&mut polled, None))?;
    let mut found = polled.iter().map(PollFd::revents);
    let [event, call, stop] = lines.map(|line| line.and_then(|_| found.next()));
    let state = |found: Option<PollFlags>| found.unwrap_or(PollFlags::empty());
    Ok(Ready { event: state(event), call: state(call), is_stopped: !state(stop).is_empty() })
}
