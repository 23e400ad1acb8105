//! The user that the command runs as.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::thread::{Gid, Uid};
use xbuild_model::ids::GuestUid;
use xbuild_model::passwd::{self, User};
use xbuild_model::run::Security;

use crate::capabilities;
use crate::error::RunError;
use crate::idmap::Ids;
use crate::step::walk::{self, Missing};

/// Looks `USER` up in the image's own files, before anything is mounted over them.
pub(super) fn look_up(root: BorrowedFd<'_>, user: &str) -> Result<User, RunError> {
    let (users, groups) = (read(root, "etc/passwd")?, read(root, "etc/group")?);
    passwd::look_up_user(user, &users, &groups)
        .map_err(|error| RunError::User { user: user.to_owned(), reason: error.to_string() })
}

/// Reads a file of the image; empty if there is none.
fn read(root: BorrowedFd<'_>, path: &str) -> Result<String, RunError> {
    let odd = |reason: &str| {
        let (path, reason) = (format!("/{path}"), reason.to_owned());
        RunError::OddImageFile { path, reason }
    };
    let failed =
        |error: io::Error| RunError::ImageFile { path: format!("/{path}"), source: error.into() };
    let place = match walk::locate(root, path.as_bytes(), Missing::Fail) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
        place => place.map_err(|errno| failed(errno.into()))?.fd,
    };
    // An image may have anything there: a device, a pipe that never ends.
    let stat = rustix::fs::fstat(&place).map_err(|errno| failed(errno.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(odd("it is not a regular file"));
    }
    let file = File::open(format!("/proc/self/fd/{}", place.as_raw_fd())).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(passwd::MAX_SIZE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > passwd::MAX_SIZE {
        return Err(odd("it is too large"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unmapped(user: &str, who: &User, reason: &str) -> RunError {
    RunError::UnmappedUser {
        user: user.to_owned(),
        uid: who.uid.raw(),
        gid: who.gid.raw(),
        reason: reason.to_owned(),
    }
}

/// Makes the calling process one of the user, with no right that the user lacks. Root of an insecure
/// step keeps all rights.
///
/// With a single id the calls come to the supervisor, which keeps the identity of each process; the
/// kernel's own rights stay. Without a supervisor there is nobody but root.
pub(super) fn become_user(
    user: &str,
    who: &User,
    ids: Ids,
    security: Security,
) -> Result<(), RunError> {
    let failed = |what: &'static str| {
        move |errno: Errno| match errno {
            Errno::INVAL | Errno::PERM if ids == Ids::Single => unmapped(
                user,
                who,
                "other users than root need system calls that are supervised where there is a single \
                 id, and here they cannot be",
            ),
            Errno::INVAL => unmapped(user, who, "the id lies outside the range of ids"),
            errno => RunError::setup(what)(errno),
        }
    };
    if security == Security::Sandbox {
        capabilities::limit_to(&capabilities::of_root())?;
    }
    let groups: Vec<Gid> = who.groups.iter().map(|gid| Gid::from_raw(gid.raw())).collect();
    match rustix::thread::set_thread_groups(&groups) {
        // The right to set them was the price of the map.
        Err(Errno::PERM) if ids == Ids::Single && who.uid == GuestUid::ROOT => {}
        set => set.map_err(failed("set groups"))?,
    }
    let (uid, gid) = (Uid::from_raw(who.uid.raw()), Gid::from_raw(who.gid.raw()));
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(failed("set the group"))?;
    // For a user other than root this takes all capabilities away.
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(failed("set the user"))?;
    let keeps_rights = who.uid == GuestUid::ROOT || ids == Ids::Single;
    if keeps_rights && security == Security::Sandbox {
        capabilities::drop_to(&capabilities::of_root())?;
    }
    Ok(())
}
