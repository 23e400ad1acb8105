//! Owners of files where there is one id: the calls that ask for them, change them, or make files.
//!
//! The kernel knows one owner. So an attribute of a file names another one, and a table those of
//! files that can have no attribute ([`book`]). A filter sees no paths, so all calls of these kinds
//! come here; the kernel gets those that a look at the file finds to need no answer. Such a call is
//! not safe from a caller that changes its path meanwhile. All processes of a step are one user to
//! the kernel, so the caller gains nothing that it could not do anyway.
//!
//! Paths are looked up in the caller's root. Nearly all callers have the root of the step, so this
//! process stays there between calls, with its own `/proc` as its working directory: from there the
//! folders and descriptors of a caller are in reach, by names that need no descriptor here.

mod attributes;
mod beyond;
mod book;
mod caches;
mod call;
mod change;
mod create;
mod deny;
mod exec;
pub(super) mod ground;
mod identity;
mod ids;
mod judge;
mod mount_point;
mod moves;
mod others;
mod peer;
mod processes;
mod rights;
mod show;
mod signals;
mod sockets;
mod spot;
mod status;
mod sys;
mod tracing;
mod walk;

use std::collections::HashSet;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use xbuild_model::owner::IdCounts;
use xbuild_model::records::Records;

use self::book::Book;
use self::call::{Creation, Motion, OwnerCall, Work};
use self::deny::{Gate, Passed};
use self::ground::Ground;
use self::identity::{Identities, Identity};
use self::ids::IdCall;
use self::judge::judge;
use self::mount_point::is_kernels;
use self::sockets::Sockets;
use self::spot::Named;
use super::reply::Reply;
use super::thread::Thread;
use super::{caller, memory, thread};
use crate::seccomp::notice::Notice;

/// The owners of a step's files, from the first call to the last.
pub(super) struct Owners {
    /// This process's own `/proc`.
    proc: OwnedFd,
    /// The place of this process outside of the step: its root and working directory.
    home: (OwnedFd, OwnedFd),
    /// The root of the step.
    root: OwnedFd,
    /// Whether this process is in the step's root now.
    is_inside: bool,
    /// Whether callers may have other roots.
    roots_vary: bool,
    /// When programs give their owner's identity.
    gives: exec::Gives,
    /// The ids that the kernel knows, where there is a range: all other owners are recorded.
    counts: Option<IdCounts>,
    book: Book,
    identities: Identities,
    passed: Passed,
    sockets: Sockets,
}

impl Owners {
    /// Opens the root of a thread.
    pub(super) fn root_of(proc: BorrowedFd<'_>, thread: u32) -> Result<OwnedFd, Errno> {
        let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let thread = caller::open_thread(proc, thread)?;
        rustix::fs::openat(thread, "root", folder, Mode::empty())
    }

    /// Prepares for calls, in a step whose first thread has this number and root, and with `foreign`
    /// mounts of files that are the user's own.
    pub(super) fn new(
        proc: BorrowedFd<'_>,
        (thread, root): (u32, OwnedFd),
        ground: Ground,
        foreign: HashSet<u64>,
    ) -> Result<Self, Errno> {
        let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &str| rustix::fs::open(path, folder, Mode::empty());
        let home = (open("/")?, open(".")?);
        let proc = proc.try_clone_to_owned().map_err(|_| Errno::MFILE)?;
        let mut owners = Self {
            proc,
            home,
            root,
            is_inside: false,
            roots_vary: ground.roots_vary,
            gives: exec::Gives::Always,
            counts: ground.below.counts,
            book: Book::new(ground.upper, foreign, ground.caches),
            identities: Identities::new(),
            passed: Passed::default(),
            sockets: Sockets::default(),
        };
        owners.enter()?;
        owners.gives = exec::Gives::of(thread);
        owners.book.open(ground.below, ground.mounted)?;
        Ok(owners)
    }

    /// Answers a call; `None` if it is none about owners. An error leaves this process unfit to go on.
    pub(super) fn answer(
        &mut self,
        notice: &Notice,
        listener: &OwnedFd,
    ) -> Result<Option<Reply>, Errno> {
        let thread = Thread { number: notice.thread, notice, listener };
        self.enter()?;
        if self.counts.is_none()
            && let Some(call) = notice.call.as_ref().and_then(IdCall::read)
        {
            let done = call.answer(&mut self.identities, &thread);
            return Ok(Some(done.unwrap_or_else(Reply::Fails)));
        }
        let Some(call) = notice.call.as_ref().and_then(OwnerCall::read) else { return Ok(None) };
        if self.counts.is_some() && matches!(call.work, Work::Create(_)) {
            return Ok(None);
        }
        self.book.read_on()?;
        self.sockets.settle(&mut self.book, notice.thread);
        if !self.roots_vary {
            return Ok(Some(self.perform(&thread, &call)));
        }
        match self.other_root(&thread) {
            Ok(None) => Ok(Some(self.perform(&thread, &call))),
            Ok(Some(root)) => {
                self.place(&root)?;
                // A path leads elsewhere there.
                self.passed.forget();
                let reply = self.perform(&thread, &call);
                self.passed.forget();
                self.is_inside = false;
                self.enter()?;
                Ok(Some(reply))
            }
            Err(errno) => Ok(Some(Reply::Fails(errno))),
        }
    }

    /// Returns whether a caller may make devices.
    pub(super) fn may_make_devices(&mut self, notice: &Notice, listener: &OwnedFd) -> bool {
        if self.counts.is_some() {
            return true;
        }
        let thread = Thread { number: notice.thread, notice, listener };
        self.identities.of(&thread).is_ok_and(Identity::is_privileged)
    }

    /// Gives a device that was made to the group of its folder, if that gives its group away.
    pub(super) fn adopt(&mut self, notice: &Notice, listener: &OwnedFd) -> Result<(), Errno> {
        if self.counts.is_some() {
            return Ok(());
        }
        let Some(name) = notice.call.as_ref().and_then(call::device) else { return Ok(()) };
        self.enter()?;
        let thread = Thread { number: notice.thread, notice, listener };
        // The device is there: a failure can only be that it is gone again.
        let _ = create::adopt(&mut self.book, &thread, &name);
        Ok(())
    }

    /// Goes back to this process's own place, where other answers are found.
    pub(super) fn leave(&mut self) -> Result<(), Errno> {
        if std::mem::take(&mut self.is_inside) {
            rustix::process::fchdir(&self.home.0)?;
            rustix::process::chroot(".")?;
            rustix::process::fchdir(&self.home.1)?;
        }
        Ok(())
    }

    /// Adds the owners of files without attributes to the records.
    pub(super) fn report(&self, records: &mut Records) {
        self.book.report(records);
    }

    fn enter(&mut self) -> Result<(), Errno> {
        if !self.is_inside {
            self.place(&self.root)?;
            self.is_inside = true;
        }
        Ok(())
    }

    /// Makes a folder the root of this process, and keeps its own `/proc` in reach.
    fn place(&self, root: &OwnedFd) -> Result<(), Errno> {
        rustix::process::fchdir(root)?;
        rustix::process::chroot(".")?;
        rustix::process::fchdir(&self.proc)
    }

    /// Returns the root of a caller that does not have the root of the step.
    fn other_root(&self, thread: &Thread<'_>) -> Result<Option<OwnedFd>, Errno> {
        let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = format!("{}/root", thread.number);
        let root = rustix::fs::openat(&self.proc, path, folder, Mode::empty())?;
        let facts = |root: BorrowedFd<'_>| {
            let mask = StatxFlags::INO | StatxFlags::MNT_ID;
            let stat = rustix::fs::statx(root, "", AtFlags::EMPTY_PATH, mask)?;
            Ok((stat.stx_ino, stat.stx_dev_major, stat.stx_dev_minor, stat.stx_mnt_id))
        };
        let is_same = facts(root.as_fd())? == facts(self.root.as_fd())?;
        Ok((!is_same).then_some(root))
    }

    fn perform(&mut self, thread: &Thread<'_>, call: &OwnerCall) -> Reply {
        if let Some(counts) = self.counts {
            let done = beyond::answer(&mut self.book, thread, call, counts);
            return done.unwrap_or_else(Reply::Fails);
        }
        let file = Named::new(thread, &call.name);
        self.permit(thread, (&file, &call.work))
            .and_then(|own| self.do_work(thread, (&file, &call.work), &own))
            .unwrap_or_else(Reply::Fails)
    }

    /// Returns the identity of the caller, if it may do the call.
    fn permit(
        &mut self,
        thread: &Thread<'_>,
        (file, work): (&Named<'_>, &Work),
    ) -> Result<Identity, Errno> {
        let own = self.identities.of_ids(thread)?.clone();
        let mut asking = own.clone();
        if let Work::Access { effective: false, .. } = work {
            asking.uid.files = asking.uid.real;
            asking.uid.effective = asking.uid.real;
            asking.gid.files = asking.gid.real;
        }
        if !asking.reaches_all() {
            let Self { book, passed, .. } = self;
            judge(&mut Gate { book, passed, identity: &asking }, thread, (file, work))?;
        }
        if matches!(
            work,
            Work::Change { .. }
                | Work::Mode { .. }
                | Work::Remove
                | Work::Move(Motion::Rename { .. })
        ) {
            self.passed.forget();
        }
        Ok(own)
    }

    fn do_work(
        &mut self,
        thread: &Thread<'_>,
        (file, work): (&Named<'_>, &Work),
        own: &Identity,
    ) -> Result<Reply, Errno> {
        match work {
            Work::Show(shape) => {
                let identities = Some(&self.identities);
                show::answer(&self.book, identities, thread, (file, *shape))
            }
            Work::Change { .. } | Work::Mode { .. } | Work::Times(_) => {
                self.modify(thread, (file, work))
            }
            Work::Create(creation @ Creation::Open { flags, .. }) if self.identities.vary() => {
                let status = file
                    .spot()
                    .ok()
                    .map(|spot| processes::open_status(&self.identities, thread, spot, *flags));
                match status.transpose()?.flatten() {
                    Some(reply) => Ok(reply),
                    None => create::answer(&mut self.book, thread, file, creation, own),
                }
            }
            Work::Create(creation) => create::answer(&mut self.book, thread, file, creation, own),
            Work::Bind { address, size } => {
                self.sockets.await_one(&self.book, thread, (*address, *size), own.makes())
            }
            Work::Move(motion) => moves::answer(&mut self.book, thread, file, motion),
            Work::Attribute { name } => attributes::guard(thread, *name),
            Work::ListAttributes { buffer, size } => {
                attributes::list(thread, file, (*buffer, *size))
            }
            Work::ChangeRoot => {
                self.roots_vary = true;
                Ok(Reply::Continue)
            }
            Work::Execute => {
                if let Ok(spot) = file.spot() {
                    // A program that cannot be looked at is the kernel's to refuse.
                    let found = exec::Program { spot, gives: self.gives };
                    let _ = exec::prepare(&self.book, &mut self.identities, thread, &found);
                }
                Ok(Reply::Continue)
            }
            Work::Access { .. }
            | Work::Nothing
            | Work::Truncate
            | Work::Connect { .. }
            | Work::Remove
            | Work::Enter => Ok(Reply::Continue),
        }
    }

    /// Changes the owner of a file, its mode or its times.
    fn modify(
        &mut self,
        thread: &Thread<'_>,
        (file, work): (&Named<'_>, &Work),
    ) -> Result<Reply, Errno> {
        let spot = file.spot();
        if spot.is_ok_and(is_kernels) {
            return Ok(Reply::Returns(0));
        }
        match *work {
            Work::Change { uid, gid } => {
                change::answer(&mut self.book, thread, (file.name, spot?), (uid, gid))
            }
            Work::Mode { mode } => {
                let identity = self.identities.of_ids(thread)?;
                change::mode(&self.book, (thread, identity), (file.name, spot?), mode)
            }
            _ => Ok(Reply::Continue),
        }
    }
}
