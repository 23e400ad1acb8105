//! The calls that ask for the ids of a process, and change them.

use rustix::io::Errno;

use super::identity::{Change, Identities, Identity, Ids};
use super::memory;
use super::signals::{self, Targets};
use super::thread::Thread;
use super::{peer, rights, tracing};
use crate::seccomp::notice::Call;
use crate::supervisor::reply::Reply;

/// The most groups that a process can have.
const MOST_GROUPS: u32 = 65536;

/// The id that 16 bits tell for one that does not fit.
const OVERFLOW: u16 = 65534;

/// Whose ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    User,
    Group,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// The real or the effective id.
    Get {
        effective: bool,
    },
    /// Three places for ids.
    GetAll([u64; 3]),
    Set(Change),
    /// The id for reaching files.
    SetFiles(u32),
    GetGroups {
        size: u32,
        list: u64,
    },
    SetGroups {
        size: u32,
        list: u64,
    },
    /// `PR_SET_KEEPCAPS`.
    Keep(bool),
    /// `capget`.
    Capabilities {
        header: u64,
        data: u64,
    },
    /// `SO_PEERCRED` of a socket: the places of the facts and of their size.
    Peer {
        socket: i32,
        facts: u64,
        size: u64,
    },
    Signal {
        targets: Targets,
        number: u32,
    },
    /// An attachment to the process of a thread.
    Trace {
        thread: u32,
    },
    /// Another option of a socket.
    Nothing,
    /// `RLIMIT_LOCKS`, asked for or set: the place of the old values, two numbers of that size.
    Limit {
        old: u64,
        size: usize,
    },
}

/// A call about ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IdCall {
    kind: Kind,
    work: Work,
    /// Whether ids have 16 bits.
    is_short: bool,
}

impl IdCall {
    /// Reads the arguments; `None` for any other call.
    ///
    /// **Source** — the manual pages of the calls.
    pub(super) fn read(call: &Call) -> Option<Self> {
        // Calls of 32-bit programs whose names do not say otherwise have short ids.
        let plain = call.name.strip_suffix("32").filter(|name| *name != "is");
        let is_short = call.is_compat && plain.is_none();
        let name = plain.unwrap_or(call.name);
        let kind = if name.contains("uid") { Kind::User } else { Kind::Group };
        let long = |index: usize| match call.is_compat {
            true => u64::from(call.args[index] as u32),
            false => call.args[index],
        };
        let low = |index: usize| call.args[index] as u32;
        let id = |index: usize| match (low(index), is_short) {
            (u32::MAX, false) => None,
            (id, false) => Some(id),
            (id, true) if id & 0xffff == 0xffff => None,
            (id, true) => Some(id & 0xffff),
        };
        let word = if call.is_compat { 4 } else { 8 };
        let work = match name {
            "getuid" | "getgid" => Work::Get { effective: false },
            "geteuid" | "getegid" => Work::Get { effective: true },
            "getresuid" | "getresgid" => Work::GetAll([long(0), long(1), long(2)]),
            "setuid" | "setgid" => Work::Set(Change::One(id(0))),
            "setreuid" | "setregid" => Work::Set(Change::Two(id(0), id(1))),
            "setresuid" | "setresgid" => Work::Set(Change::Three(id(0), id(1), id(2))),
            "setfsuid" | "setfsgid" => Work::SetFiles(id(0).unwrap_or(u32::MAX)),
            "getgroups" => Work::GetGroups { size: low(0), list: long(1) },
            "setgroups" => Work::SetGroups { size: low(0), list: long(1) },
            "capget" => Work::Capabilities { header: long(0), data: long(1) },
            "getsockopt" if low(1) == libc::SOL_SOCKET.cast_unsigned() => {
                Work::Peer { socket: low(0).cast_signed(), facts: long(3), size: long(4) }
            }
            "getsockopt" => Work::Nothing,
            "kill" | "rt_sigqueueinfo" => {
                Work::Signal { targets: Targets::Named(low(0).cast_signed()), number: low(1) }
            }
            "tkill" => {
                let targets = Targets::Thread { process: None, thread: low(0) };
                Work::Signal { targets, number: low(1) }
            }
            "tgkill" | "rt_tgsigqueueinfo" => {
                let targets = Targets::Thread { process: Some(low(0)), thread: low(1) };
                Work::Signal { targets, number: low(2) }
            }
            "ptrace" => Work::Trace { thread: low(1) },
            "pidfd_send_signal" => {
                Work::Signal { targets: Targets::Descriptor(low(0).cast_signed()), number: low(1) }
            }
            "prctl" => Work::Keep(low(1) != 0),
            "getrlimit" | "ugetrlimit" => Work::Limit { old: long(1), size: word },
            "setrlimit" => Work::Limit { old: 0, size: word },
            "prlimit64" => Work::Limit { old: long(3), size: 8 },
            _ => return None,
        };
        Some(Self { kind, work, is_short })
    }

    /// Answers the call.
    pub(super) fn answer(
        &self,
        identities: &mut Identities,
        thread: &Thread<'_>,
    ) -> Result<Reply, Errno> {
        let identity = match self.work {
            Work::Get { .. } | Work::GetAll(_) => identities.of_ids(thread)?,
            _ => identities.of(thread)?,
        };
        let identity = identity.clone();
        let ids = match self.kind {
            Kind::User => identity.uid,
            Kind::Group => identity.gid,
        };
        match self.work {
            Work::Get { effective } => {
                let id = if effective { ids.effective } else { ids.real };
                Ok(Reply::Returns(self.shown(id)))
            }
            Work::GetAll(places) => {
                for (place, id) in places.into_iter().zip([ids.real, ids.effective, ids.saved]) {
                    memory::write(thread, place, &self.bytes(id))?;
                }
                Ok(Reply::Returns(0))
            }
            Work::Set(change) => {
                let new = change.apply(ids, identity.is_privileged())?;
                self.put(identities, thread, identity, new)?;
                Ok(Reply::Returns(0))
            }
            Work::SetFiles(id) => {
                let former = ids.files;
                let known = [ids.real, ids.effective, ids.saved, ids.files].contains(&id);
                if id != u32::MAX && (known || identity.is_privileged()) {
                    self.put(identities, thread, identity, Ids { files: id, ..ids })?;
                }
                Ok(Reply::Returns(self.shown(former)))
            }
            Work::GetGroups { size, list } => self.groups(thread, &identity.groups, size, list),
            Work::SetGroups { size, list } => {
                if !identity.is_privileged() {
                    return Err(Errno::PERM);
                }
                let groups = self.read_groups(thread, size, list)?;
                identities.set(thread, Identity { groups, ..identity })?;
                Ok(Reply::Returns(0))
            }
            Work::Keep(keeps) => {
                identities.set(thread, Identity { keeps, ..identity })?;
                Ok(Reply::Returns(0))
            }
            _ => self.answer_other(identities, thread, &identity),
        }
    }

    /// Answers a call that neither asks for the caller's ids nor changes them.
    fn answer_other(
        &self,
        identities: &Identities,
        thread: &Thread<'_>,
        identity: &Identity,
    ) -> Result<Reply, Errno> {
        match self.work {
            Work::Capabilities { header, data } => {
                rights::capabilities(thread, identity, (header, data))
            }
            Work::Peer { socket, facts, size } => {
                peer::answer(identities, thread, socket, facts, size)
            }
            Work::Trace { thread: target } => tracing::answer(identities, thread, identity, target),
            Work::Signal { .. } if identity.uid.effective == 0 => Ok(Reply::Continue),
            Work::Signal { targets, number } => {
                signals::answer(identities, thread, targets, number)
            }
            Work::Limit { old, size } => {
                if old != 0 {
                    memory::write(thread, old, &vec![0xff; 2 * size])?;
                }
                Ok(Reply::Returns(0))
            }
            _ => Ok(Reply::Continue),
        }
    }

    fn put(
        &self,
        identities: &mut Identities,
        thread: &Thread<'_>,
        identity: Identity,
        ids: Ids,
    ) -> Result<(), Errno> {
        let identity = match self.kind {
            Kind::User => {
                let kept = identity.keeps && identity.is_privileged();
                Identity { uid: ids, kept, ..identity }
            }
            Kind::Group => Identity { gid: ids, ..identity },
        };
        identities.set(thread, identity)
    }

    fn groups(
        &self,
        thread: &Thread<'_>,
        groups: &[u32],
        size: u32,
        list: u64,
    ) -> Result<Reply, Errno> {
        let count = u32::try_from(groups.len()).map_err(|_| Errno::INVAL)?;
        if size > 0 {
            if size < count {
                return Err(Errno::INVAL);
            }
            let bytes: Vec<u8> = groups.iter().flat_map(|group| self.bytes(*group)).collect();
            if !bytes.is_empty() {
                memory::write(thread, list, &bytes)?;
            }
        }
        Ok(Reply::Returns(count))
    }

    fn read_groups(&self, thread: &Thread<'_>, size: u32, list: u64) -> Result<Vec<u32>, Errno> {
        if size > MOST_GROUPS {
            return Err(Errno::INVAL);
        }
        let width = if self.is_short { 2 } else { 4 };
        let mut bytes = vec![0; size as usize * width];
        if !bytes.is_empty() {
            memory::read(thread, list, &mut bytes)?;
        }
        let group = |bytes: &[u8]| match bytes {
            [a, b] => u32::from(u16::from_ne_bytes([*a, *b])),
            [a, b, c, d] => u32::from_ne_bytes([*a, *b, *c, *d]),
            _ => 0,
        };
        let mut groups: Vec<u32> = bytes.chunks(width).map(group).collect();
        if groups.contains(&u32::MAX) {
            return Err(Errno::INVAL);
        }
        groups.sort_unstable();
        Ok(groups)
    }

    fn shown(&self, id: u32) -> u32 {
        match self.is_short {
            true => u16::try_from(id).unwrap_or(OVERFLOW).into(),
            false => id,
        }
    }

    fn bytes(&self, id: u32) -> Vec<u8> {
        match self.is_short {
            true => u16::try_from(id).unwrap_or(OVERFLOW).to_ne_bytes().to_vec(),
            false => id.to_ne_bytes().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_width_of_ids() {
        let read = |name, is_compat| IdCall::read(&Call { name, args: [0x1_ffff; 6], is_compat });
        let set =
            |kind, id, is_short| Some(IdCall { kind, work: Work::Set(Change::One(id)), is_short });
        assert_eq!(read("setuid", false), set(Kind::User, Some(0x1_ffff), false));
        assert_eq!(read("setuid32", true), set(Kind::User, Some(0x1_ffff), false));
        assert_eq!(read("setgid", true), set(Kind::Group, None, true));
        assert_eq!(read("getresuid", false).unwrap().kind, Kind::User);
        assert_eq!(read("getegid", false).unwrap().work, Work::Get { effective: true });
        assert_eq!(read("getpid", false), None);
    }
}
