//! Processes that wait for work: forked before the work comes, and for steps already set up.
//!
//! A lane is a socket that tasks of one kind come through. One process always waits at it. Once that
//! process has a task, the helper forks the next one while the task is done.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::PipeFlags;

use xbuild_model::{FailureKind, TaskFailure};
use xbuild_wording::quoted;

use super::tasks::Tasks;
use super::{join, twins};
use crate::binfmt::PrivateInstance;
use crate::idmap::Ids;
use crate::protocol::{self, Answer};
use crate::step::Standby;
use crate::sys::{self, Fork};
use crate::way::Way;
use crate::{lifeline, wire};

/// The work of a lane's processes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind<'a> {
    /// Any of these tasks; those about programs register them in this instance.
    Task { tasks: &'a Tasks, binfmt: Option<&'a PrivateInstance> },
    /// One RUN step, in namespaces of that kind with these ids, and with a network of its own if there
    /// is a program to join it to the host's.
    Step { way: Way, ids: Ids, pasta: Option<&'a Path> },
}

#[derive(Debug)]
struct Lane<'a> {
    socket: OwnedFd,
    kind: Kind<'a>,
    /// The process that waits closes the other end once it has a task, or by ending; `None` if no
    /// process waits.
    spare: Option<OwnedFd>,
    /// Whether a task waits although no process waits for one.
    is_asked: bool,
}

/// Serves lanes until the first one's socket is closed at the other end. Another lane whose socket is
/// closed is given up.
///
/// The first descriptor of a message takes the answer, the second one has the request.
pub(super) fn serve<'a>(lanes: impl IntoIterator<Item = (OwnedFd, Kind<'a>)>) {
    let lane = |(socket, kind)| Lane { socket, kind, spare: None, is_asked: false };
    let mut lanes: Vec<Lane<'_>> = lanes.into_iter().map(lane).collect();
    loop {
        lanes.iter_mut().for_each(Lane::fill);
        match wait(&lanes) {
            Ok(all) if all.first().is_some_and(|first| !first.is_closed) => {
                for (lane, News { is_event, .. }) in lanes.iter_mut().zip(&all) {
                    lane.is_asked = *is_event && lane.spare.is_none();
                    lane.spare = lane.spare.take().filter(|_| !is_event);
                }
                let mut all = all.iter();
                lanes.retain(|_| all.next().is_some_and(|news| !news.is_closed));
            }
            Ok(_) | Err(_) => return,
        }
    }
}

/// The news of one lane.
#[derive(Debug)]
struct News {
    /// Its process has a task, or a task waits and there is no process.
    is_event: bool,
    /// Its socket is closed at the other end.
    is_closed: bool,
}

/// Waits for news, and returns those of each lane.
fn wait(lanes: &[Lane<'_>]) -> Result<Vec<News>, Errno> {
    let mut polled = Vec::with_capacity(2 * lanes.len());
    for lane in lanes {
        polled.push(PollFd::new(lane.spare.as_ref().unwrap_or(&lane.socket), PollFlags::IN));
        // Polled only to see it close.
        polled.push(PollFd::new(&lane.socket, PollFlags::empty()));
    }
    retry_on_intr(|| rustix::event::poll(&mut polled, None))?;
    let is_news = |polled: &PollFd<'_>| !polled.revents().is_empty();
    let news = polled.chunks(2).map(|pair| News {
        is_event: pair.first().is_some_and(is_news),
        is_closed: pair.last().is_some_and(is_news),
    });
    Ok(news.collect())
}

impl Lane<'_> {
    /// Forks the process that waits, unless there is one. If that fails, a task that is there is
    /// refused with the reason; otherwise the next task makes the helper try again.
    fn fill(&mut self) {
        if self.spare.is_some() {
            return;
        }
        match self.fork() {
            Ok(taken) => self.spare = Some(taken),
            Err(error) if self.is_asked => self.refuse(&error),
            Err(_) => {}
        }
    }

    /// Forks the process that waits, and returns the end of a pipe that tells when it has a task.
    fn fork(&self) -> io::Result<OwnedFd> {
        let helper = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
        let (taken, end) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        match sys::fork()? {
            Fork::Parent(_) => Ok(taken),
            Fork::Child => self.work(helper, end),
        }
    }

    /// Answers the task that is there.
    fn refuse(&self, error: &io::Error) {
        let Ok(Some((_, fds))) = wire::receive(&self.socket) else { return };
        if let Some(answer) = fds.into_iter().next() {
            let mut failure = TaskFailure::new(FailureKind::Environment, error);
            failure.message.insert_str(0, "cannot start a process: ");
            Answer(Err(failure)).send(answer);
        }
    }

    /// Waits for a task and does it, in a process of its own that ends with it. `waiting` is closed
    /// once the task is there.
    fn work(&self, helper: u32, waiting: OwnedFd) -> ! {
        // If the helper is gone there is nobody to tell.
        if lifeline::end_with(helper).is_err() {
            sys::exit_now(1);
        }
        sys::watch_children();
        let prepared = catch_unwind(AssertUnwindSafe(|| match self.kind {
            Kind::Task { tasks, binfmt } => Prepared::Task { tasks, binfmt },
            Kind::Step { way, ids, pasta } => Prepared::Step(Standby::new(way, ids, pasta)),
        }));
        let Ok(Some((name, mut fds))) = wire::receive(&self.socket) else { sys::exit_now(0) };
        drop(waiting);
        if fds.is_empty() {
            sys::exit_now(1);
        }
        let answer = fds.remove(0);
        let work = AssertUnwindSafe(|| match prepared {
            Ok(Prepared::Task { tasks, binfmt }) => {
                let instance: Vec<BorrowedFd<'_>> = binfmt.map(AsFd::as_fd).into_iter().collect();
                close_all_but(&fds, &answer, &instance)?;
                do_task(tasks, binfmt, &name, fds)
            }
            Ok(Prepared::Step(step)) => {
                close_all_but(&fds, &answer, &step.descriptors())?;
                Ok(step.run(fds)?)
            }
            Err(_) => Err("panicked".to_owned().into()),
        });
        let result = catch_unwind(work).unwrap_or_else(|_| Err("panicked".to_owned().into()));
        // The answer ends here, not with the process, whose memory takes a while to be given back.
        Answer(result).send(&answer);
        drop(answer);
        sys::exit_now(0)
    }
}

/// A process's preparations while it waits.
enum Prepared<'a> {
    Task { tasks: &'a Tasks, binfmt: Option<&'a PrivateInstance> },
    Step(Standby),
}

fn close_all_but(fds: &[OwnedFd], answer: &OwnedFd, more: &[BorrowedFd<'_>]) -> Result<(), String> {
    let kept = fds.iter().chain([answer]).map(AsFd::as_fd).chain(more.iter().copied());
    sys::close_all_but(&kept.collect::<Vec<_>>())
        .map_err(|error| format!("cannot close descriptors: {error}"))
}

fn do_task(
    tasks: &Tasks,
    binfmt: Option<&PrivateInstance>,
    name: &[u8],
    mut fds: Vec<OwnedFd>,
) -> Result<Vec<u8>, TaskFailure> {
    if fds.is_empty() {
        return Err("the request is missing".to_owned().into());
    }
    let request = wire::read_payload(fds.remove(0))
        .map_err(|error| format!("cannot read the request: {error}"))?;
    let name = String::from_utf8_lossy(name);
    match &*name {
        protocol::JOIN => return join::task(&request),
        protocol::TWINS => return twins::task(&request, binfmt),
        _ => {}
    }
    let task = tasks
        .find(&name)
        .ok_or_else(|| format!("there is no task {name}", name = quoted(&name)))?;
    task(&request, fds)
}
