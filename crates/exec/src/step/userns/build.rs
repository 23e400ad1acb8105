//! Building the place of a step: from the folders of a request to a root file system that this
//! process has entered.

use std::os::fd::{AsFd, OwnedFd};

use xbuild_model::passwd::User;

use super::kit::Kit;
use super::root::Root;
use super::{bind, namespaces, run_mounts};
use crate::error::RunError;
use crate::idmap::Ids;
use crate::protocol::{Event, StepRequest};
use crate::step::command::Command;
use crate::step::stubs::Recorder;
use crate::step::{files, user, walk};

/// Mounts everything and makes it the root of this process; `joined` is a mount of the layers that
/// the request lacks. Returns the command to execute there, and its user.
pub(crate) fn build(
    request: &StepRequest,
    ids: Ids,
    joined: Option<OwnedFd>,
    kit: Kit,
    events: &OwnedFd,
) -> Result<(Command, User), RunError> {
    if request.is_isolated() {
        namespaces::enter_network()?;
    }
    let run = &request.run;
    let staging = kit.staging().try_clone().map_err(RunError::setup("duplicate a descriptor"))?;
    let root = Root::mount(&request.root, joined, staging)?;
    // Later mounts may cover the image's own files.
    let who = user::look_up(root.fd.as_fd(), &run.user)?;
    user::check(&run.user, &who, ids)?;
    let command = Command::new(run, &who.home)?;
    let mut tell = |note: String| Event::Note(note).send(events);
    kit.furnish(&root, request, &mut tell)?;
    let mut stubs = Recorder::new(&request.root);
    bind::bind_all(&root, &files::generate(run)?, &mut stubs)?;
    run_mounts::mount_all(&root, request, ids, &mut stubs, &mut tell)?;
    let stubs = stubs
        .finish(root.changes.as_fd())
        .map_err(RunError::setup("look at the mount points that were made"))?;
    if !stubs.made.is_empty() {
        Event::Stubs(stubs).send(events);
    }
    walk::make_working_directory(root.fd.as_fd(), &run.cwd)?;
    root.enter()?;
    namespaces::set_host_name(&run.hostname)?;
    Ok((command, who))
}
