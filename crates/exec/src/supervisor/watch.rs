//! The watcher's loop, from the start of a step to its end.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, Signal};
use xbuild_model::records::Records;

use super::answers::Answers;
use super::desk::{Clerk, Desk};
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
    let mut scene = Some(scene);
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
                        Line::begin(ids, scene.take().unwrap_or_default(), &around, fds)?
                    }
                    Ok(None) => Line::None,
                    Err(error) => return Err(RunError::setup(WHAT)(error)),
                },
                Line::Listener(mut clerk, listener) if call.contains(PollFlags::IN) => {
                    clerk.serve(&listener).map_err(failed)?;
                    Line::Listener(clerk, listener)
                }
                Line::Desk(desk) => {
                    let (ended, clerk) = desk.join();
                    ended.map_err(failed)?;
                    clerk.map_or(Line::None, Line::Ended)
                }
                // All processes under the filter have ended.
                Line::Listener(clerk, _) => Line::Ended(clerk),
                line => line,
            };
        }
        if !event.is_empty() {
            match retry_on_intr(|| rustix::io::read(&events, &mut buffer)).map_err(failed)? {
                0 => {
                    line.conclude(records).map_err(failed)?;
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
    /// Calls are few.
    Listener(Box<Clerk>, OwnedFd),
    /// Calls are many.
    Desk(Desk),
    /// All processes under the filter have ended.
    Ended(Box<Clerk>),
    None,
}

impl Line {
    /// Prepares for a step, with what its own process has told.
    fn begin(ids: Ids, scene: Scene, around: &[u8], fds: Vec<OwnedFd>) -> Result<Self, RunError> {
        let around: StepPlace = protocol::from_json(around)
            .map_err(|error| RunError::Filter { reason: in_words(&error) })?;
        let listener = fds.into_iter().next();
        let near = listener.as_ref().map(Nearness::new);
        let answers = Answers::new(ids, scene, around, near).map_err(RunError::setup(WHAT))?;
        Ok(listener.map_or(Self::None, |listener| Self::open(answers, listener)))
    }

    /// Prepares for the calls of a listener.
    fn open(answers: Answers, listener: OwnedFd) -> Self {
        let clerk = Box::new(Clerk::new(answers));
        if !clerk.has_much_to_do() {
            return Self::Listener(clerk, listener);
        }
        match Desk::open(clerk, listener) {
            Ok(desk) => Self::Desk(desk),
            // Without a thread of its own each answer takes longer.
            Err((clerk, listener)) => Self::Listener(clerk, listener),
        }
    }

    /// Returns the descriptor that has news when a call comes, or the end of all calls.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Channel(fd) | Self::Listener(_, fd) => Some(fd.as_fd()),
            Self::Desk(desk) => Some(desk.end()),
            Self::Ended(_) | Self::None => None,
        }
    }

    /// Ends with the step: adds what became known to the records.
    fn conclude(self, records: &mut Records) -> Result<(), Errno> {
        let clerk = match self {
            Self::Listener(clerk, _) | Self::Ended(clerk) => Some(clerk),
            Self::Desk(desk) => desk.close(),
            Self::Channel(_) | Self::None => None,
        };
        clerk.map_or(Ok(()), |clerk| clerk.conclude(records))
    }
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
    let lines = [Some(events.as_fd()), line.descriptor(), stop.map(|stop| stop.line.as_fd())];
    let mut polled: Vec<PollFd<'_>> =
        lines.iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    retry_on_intr(|| rustix::event::poll(&mut polled, None))?;
    let mut found = polled.iter().map(PollFd::revents);
    let [event, call, stop] = lines.map(|line| line.and_then(|_| found.next()));
    let state = |found: Option<PollFlags>| found.unwrap_or(PollFlags::empty());
    Ok(Ready { event: state(event), call: state(call), is_stopped: !state(stop).is_empty() })
}
