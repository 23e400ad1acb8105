//! Building the place of a step: from the folders of a request to a root file system that this
//! process has entered.

use std::os::fd::{AsFd, OwnedFd};

use xbuild_model::passwd::User;
use xbuild_model::run::Network;

use super::kit::Kit;
use super::root::Root;
use super::{bind, namespaces, run_mounts, twins};
use crate::error::RunError;
use crate::idmap::Ids;
use crate::protocol::{Event, StepRequest};
use crate::step::command::Command;
use crate::step::stubs::Recorder;
use crate::step::{files, user, walk};

/// Parts of a step that another process made.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// A mount of the layers that the request lacks.
    pub(crate) joined: Option<OwnedFd>,
    /// A network namespace.
    pub(crate) network: Option<OwnedFd>,
}

/// Mounts everything and makes it the root of this process. Returns the command to execute there, and
/// its user.
pub(crate) fn build(
    request: &StepRequest,
    ids: Ids,
    given: Given,
    kit: Kit,
    events: &OwnedFd,
) -> Result<(Command, User), RunError> {
    let Given { joined, network } = given;
    match (request.run.network, network) {
        (Network::Private, Some(network)) => namespaces::join_network(network)?,
        (Network::Private, None) => {
            return Err(RunError::Network { reason: "pasta is not in PATH".to_owned() });
        }
        (Network::None, _) => namespaces::enter_network()?,
        (Network::Default | Network::Host, _) => {}
    }
    let run = &request.run;
    let staging = kit.staging().try_clone().map_err(RunError::setup("duplicate a descriptor"))?;
    let root = Root::mount(&request.root, joined, staging)?;
    // Later mounts may cover the image's own files.
    let who = user::look_up(root.fd.as_fd(), &run.user)?;
    let command = Command::new(run, &who.home)?;
    let mut tell = |note: String| Event::Note(note).send(events);
    kit.furnish(&root, request, &mut tell)?;
    if !request.twins.is_empty() || request.counted {
        twins::show(&root, &request.twins, request.counted)?;
    }
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
