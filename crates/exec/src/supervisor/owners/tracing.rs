//! Attaching to processes: a process may trace those of its own user and group. Root may no more, without
//! the capability for it.
//!
//! **Source** — `ptrace(2)`, § Ptrace access mode checking.

use caps::Capability;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::identity::{Identities, Identity};
use super::others;
use super::thread::Thread;
use crate::supervisor::caller;
use crate::supervisor::reply::Reply;

/// Refuses to attach to a process of somebody else. The kernel has all other errors.
pub(super) fn answer(
    identities: &Identities,
    thread: &Thread<'_>,
    own: &Identity,
    target: u32,
) -> Result<Reply, Errno> {
    if !identities.vary() {
        return Ok(Reply::Continue);
    }
    let all = others::all(identities, thread.number)?;
    let Some(target) = others::of_thread(all, target) else { return Ok(Reply::Continue) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(thread.number.to_string(), flags, Mode::empty())?;
    let capabilities = caller::status(&folder)?.capabilities;
    thread.check()?;
    let traces_all = own.is_privileged() && capabilities.contains(&Capability::CAP_SYS_PTRACE);
    match traces_all || may(own, &target.identity) {
        true => Ok(Reply::Continue),
        false => Err(Errno::PERM),
    }
}

fn may(own: &Identity, target: &Identity) -> bool {
    [(own.uid, target.uid), (own.gid, target.gid)].into_iter().all(|(own, target)| {
        [target.real, target.effective, target.saved].into_iter().all(|id| id == own.real)
    })
}

#[cfg(test)]
mod tests {
    use super::super::identity::Ids;
    use super::*;

    #[test]
    fn all_ids_of_the_target_are_the_callers() {
        let ids = |id| Ids { real: id, effective: id, saved: id, files: id };
        let app = Identity { uid: ids(5), gid: ids(6), ..Identity::default() };
        assert!(may(&app, &app));
        assert!(!may(&app, &Identity::default()) && !may(&Identity::default(), &app));
        for change in [
            |identity: &mut Identity| identity.uid.saved = 0,
            |identity: &mut Identity| identity.gid.effective = 0,
        ] {
            let mut other = app.clone();
            change(&mut other);
            assert!(!may(&app, &other), "{other:?}");
        }
    }
}
