//! The arguments of calls about owners.

use crate::seccomp::notice::Call;

/// A file that a call names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    /// The descriptor that a relative path starts from; `None` for the working directory.
    pub(super) folder: Option<i32>,
    /// The place of the path in the caller's memory; `None` for the descriptor itself.
    pub(super) path: Option<u64>,
    /// Whether a link at the end is followed.
    pub(super) follow: bool,
    /// Whether an empty path means the descriptor itself.
    pub(super) may_be_empty: bool,
}

/// The form in which a call tells facts about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `struct stat` of the machine's own programs.
    Stat {
        buffer: u64,
    },
    /// `struct stat64` of 32-bit programs.
    Stat64 {
        buffer: u64,
    },
    Statx {
        buffer: u64,
        flags: u32,
        mask: u32,
    },
}

/// The making of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Creation {
    Open {
        flags: u32,
        mode: u32,
    },
    Folder {
        mode: u32,
    },
    Node {
        mode: u32,
        device: u32,
    },
    Link {
        target: u64,
    },
    /// `openat2`, whose arguments are in memory.
    Open2 {
        how: u64,
        size: u64,
    },
}

/// The times that a file gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    Now,
    Given,
    /// Those at a place in memory, each of two numbers of `word` bytes. The second ones may mean now,
    /// or none.
    Read {
        at: u64,
        word: usize,
    },
}

/// A further or another name for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Motion {
    Rename { to: Name, flags: u32 },
    Link { to: Name, flags: u32 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Show(Shape),
    /// An id of `None` stays.
    Change {
        uid: Option<u32>,
        gid: Option<u32>,
    },
    Create(Creation),
    Move(Motion),
    /// A change of the attribute whose name is at this place.
    Attribute {
        name: u64,
    },
    ListAttributes {
        buffer: u64,
        size: u64,
    },
    ChangeRoot,
    /// A look whether the caller has these rights, with its real ids or its effective ones.
    Access {
        mode: u32,
        effective: bool,
    },
    /// `chmod`.
    Mode {
        mode: u32,
    },
    /// A change of times.
    Times(Times),
    Truncate,
    /// `bind`, of a socket that may get a name: the place and the size of the address.
    Bind {
        address: u64,
        size: u32,
    },
    /// `connect`, to a socket that may have a name.
    Connect {
        address: u64,
        size: u32,
    },
    /// `unlink` and `rmdir`.
    Remove,
    /// `chdir`.
    Enter,
    Execute,
    /// Flags that the kernel refuses.
    Nothing,
}

/// A call about owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnerCall {
    pub(super) name: Name,
    pub(super) work: Work,
}

/// The arguments as the kernel takes them.
struct Args<'a>(&'a Call);

impl Args<'_> {
    fn long(&self, index: usize) -> u64 {
        let value = self.0.args[index];
        if self.0.is_compat { value & u64::from(u32::MAX) } else { value }
    }

    fn low(&self, index: usize) -> u32 {
        self.0.args[index] as u32
    }

    fn folder(&self, index: usize) -> Option<i32> {
        let folder = self.low(index).cast_signed();
        (folder != libc::AT_FDCWD).then_some(folder)
    }

    fn path(&self, index: usize, follow: bool) -> Name {
        Name { folder: None, path: Some(self.long(index)), follow, may_be_empty: false }
    }

    fn at(&self, index: usize, flags: u32, follow: bool) -> Name {
        let may_be_empty = flags & libc::AT_EMPTY_PATH.cast_unsigned() != 0;
        let path = Some(self.long(index + 1));
        Name { folder: self.folder(index), path, follow, may_be_empty }
    }

    fn descriptor(&self, index: usize) -> Name {
        let folder = Some(self.low(index).cast_signed());
        Name { folder, path: None, follow: true, may_be_empty: true }
    }

    /// Returns the file of a call that sets times: without a path it is the descriptor.
    fn times(&self, flags: u32) -> Name {
        match self.long(1) {
            0 => self.descriptor(0),
            _ => self.at(0, flags, flags & NOFOLLOW == 0),
        }
    }

    fn ids(&self, index: usize, short: bool) -> Work {
        let id = |index| match (self.low(index), short) {
            (u32::MAX, false) => None,
            (id, false) => Some(id),
            (id, true) if id & 0xffff == 0xffff => None,
            (id, true) => Some(id & 0xffff),
        };
        Work::Change { uid: id(index), gid: id(index + 1) }
    }
}

const NOFOLLOW: u32 = libc::AT_SYMLINK_NOFOLLOW.cast_unsigned();
const EMPTY: u32 = libc::AT_EMPTY_PATH.cast_unsigned();

/// Returns which argument has the flags of a call, and the flags that it takes; `None` if it is not told
/// here.
///
/// **Source** — `chown(2)`, `link(2)`, `stat(2)`, `statx(2)`; `vfs_fstatat` in `fs/stat.c`.
fn known_flags(name: &str) -> Option<(usize, u32)> {
    match name {
        "fchownat" => Some((4, NOFOLLOW | EMPTY)),
        "linkat" => Some((4, libc::AT_SYMLINK_FOLLOW.cast_unsigned() | EMPTY)),
        "newfstatat" | "fstatat64" => {
            let more = libc::AT_NO_AUTOMOUNT | libc::AT_STATX_SYNC_TYPE;
            Some((3, NOFOLLOW | EMPTY | more.cast_unsigned()))
        }
        _ => None,
    }
}

impl OwnerCall {
    /// Reads the arguments; `None` for any other call.
    ///
    /// **Source** — the manual pages of the calls.
    pub(super) fn read(call: &Call) -> Option<Self> {
        let args = Args(call);
        let one = |name, work| Some(Self { name, work });
        if known_flags(call.name).is_some_and(|(at, known)| args.low(at) & !known != 0) {
            return one(args.at(0, 0, false), Work::Nothing);
        }
        let simple = || Self::read_owner(call).or_else(|| Self::read_right(call));
        simple().or_else(|| Self::read_creation(call)).or_else(|| match call.name {
            "chroot" => one(args.path(0, true), Work::ChangeRoot),
            "link" => Self::moved(args.path(0, false), args.path(1, false), None),
            "linkat" => Self::moved(args.at(0, args.low(4), false), args.at(2, 0, false), {
                Some(Ok(args.low(4)))
            }),
            "rename" => Self::moved(args.path(0, false), args.path(1, false), Some(Err(0))),
            "renameat" => Self::moved(args.at(0, 0, false), args.at(2, 0, false), Some(Err(0))),
            "renameat2" => {
                let (from, to) = (args.at(0, 0, false), args.at(2, 0, false));
                Self::moved(from, to, Some(Err(args.low(4))))
            }
            "setxattr" | "removexattr" => {
                one(args.path(0, true), Work::Attribute { name: args.long(1) })
            }
            "lsetxattr" | "lremovexattr" => {
                one(args.path(0, false), Work::Attribute { name: args.long(1) })
            }
            "fsetxattr" | "fremovexattr" => {
                one(args.descriptor(0), Work::Attribute { name: args.long(1) })
            }
            "listxattr" | "llistxattr" | "flistxattr" => {
                let work = Work::ListAttributes { buffer: args.long(1), size: args.long(2) };
                let name = match call.name {
                    "listxattr" => args.path(0, true),
                    "llistxattr" => args.path(0, false),
                    _ => args.descriptor(0),
                };
                one(name, work)
            }
            _ => None,
        })
    }

    /// `flags` are those of a link, or as an error those of a rename.
    fn moved(name: Name, to: Name, flags: Option<Result<u32, u32>>) -> Option<Self> {
        let motion = match flags {
            None => Motion::Link { to, flags: 0 },
            Some(Ok(flags)) => Motion::Link { to, flags },
            Some(Err(flags)) => Motion::Rename { to, flags },
        };
        let follow = matches!(motion, Motion::Link { flags, .. }
            if flags & libc::AT_SYMLINK_FOLLOW.cast_unsigned() != 0);
        Some(Self { name: Name { follow, ..name }, work: Work::Move(motion) })
    }

    /// Reads calls that ask for owners or change them.
    fn read_owner(call: &Call) -> Option<Self> {
        let args = Args(call);
        let one = |name, work| Some(Self { name, work });
        let stat = |name, index| {
            let buffer = args.long(index);
            let shape = match call.is_compat {
                false => Shape::Stat { buffer },
                true => Shape::Stat64 { buffer },
            };
            one(name, Work::Show(shape))
        };
        match call.name {
            "chown" | "lchown" => {
                let name = args.path(0, call.name == "chown");
                one(name, args.ids(1, call.is_compat))
            }
            "fchown" => one(args.descriptor(0), args.ids(1, call.is_compat)),
            "chown32" | "lchown32" => one(args.path(0, call.name == "chown32"), args.ids(1, false)),
            "fchown32" => one(args.descriptor(0), args.ids(1, false)),
            "fchownat" => {
                let flags = args.low(4);
                one(args.at(0, flags, flags & NOFOLLOW == 0), args.ids(2, false))
            }
            "stat" | "stat64" => stat(args.path(0, true), 1),
            "lstat" | "lstat64" => stat(args.path(0, false), 1),
            "fstat" | "fstat64" => stat(args.descriptor(0), 1),
            "newfstatat" | "fstatat64" => {
                let flags = args.low(3);
                stat(args.at(0, flags, flags & NOFOLLOW == 0), 2)
            }
            "statx" => {
                let flags = args.low(2);
                let (buffer, mask) = (args.long(4), args.low(3));
                let name = args.at(0, flags, flags & NOFOLLOW == 0);
                one(name, Work::Show(Shape::Statx { buffer, flags, mask }))
            }
            _ => None,
        }
    }

    /// Reads calls that need a right and nothing else.
    fn read_right(call: &Call) -> Option<Self> {
        let args = Args(call);
        let (name, work) = match call.name {
            "access" => (args.path(0, true), Work::Access { mode: args.low(1), effective: false }),
            "faccessat" => {
                (args.at(0, 0, true), Work::Access { mode: args.low(2), effective: false })
            }
            "faccessat2" => {
                let flags = args.low(3);
                let effective = flags & libc::AT_EACCESS.cast_unsigned() != 0;
                let name = args.at(0, flags, flags & NOFOLLOW == 0);
                (name, Work::Access { mode: args.low(2), effective })
            }
            "chmod" => (args.path(0, true), Work::Mode { mode: args.low(1) }),
            "fchmod" => (args.descriptor(0), Work::Mode { mode: args.low(1) }),
            "fchmodat" => (args.at(0, 0, true), Work::Mode { mode: args.low(2) }),
            "fchmodat2" => {
                let flags = args.low(3);
                let name = args.at(0, flags, flags & NOFOLLOW == 0);
                (name, Work::Mode { mode: args.low(2) })
            }
            "utime" | "utimes" => (args.path(0, true), Work::Times(given(args.long(1)))),
            "futimesat" => (args.times(0), Work::Times(given(args.long(2)))),
            "utimensat" | "utimensat_time64" => {
                let word = if call.is_compat && call.name == "utimensat" { 4 } else { 8 };
                let times = match args.long(2) {
                    0 => Times::Now,
                    at => Times::Read { at, word },
                };
                (args.times(args.low(3)), Work::Times(times))
            }
            "truncate" | "truncate64" => (args.path(0, true), Work::Truncate),
            "bind" => {
                let (address, size) = (args.long(1), args.low(2));
                (args.descriptor(0), Work::Bind { address, size })
            }
            "connect" => {
                let (address, size) = (args.long(1), args.low(2));
                (args.descriptor(0), Work::Connect { address, size })
            }
            "unlink" | "rmdir" => (args.path(0, false), Work::Remove),
            "unlinkat" => (args.at(0, 0, false), Work::Remove),
            "chdir" => (args.path(0, true), Work::Enter),
            "execve" => (args.path(0, true), Work::Execute),
            "execveat" => {
                let flags = args.low(4);
                (args.at(0, flags, flags & NOFOLLOW == 0), Work::Execute)
            }
            _ => return None,
        };
        Some(Self { name, work })
    }

    /// Reads calls that make files.
    fn read_creation(call: &Call) -> Option<Self> {
        let args = Args(call);
        let (name, creation) = match call.name {
            "open" => {
                (args.path(0, true), Creation::Open { flags: args.low(1), mode: args.low(2) })
            }
            "creat" => {
                let flags = (libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC).cast_unsigned();
                (args.path(0, true), Creation::Open { flags, mode: args.low(1) })
            }
            "openat" => {
                (args.at(0, 0, true), Creation::Open { flags: args.low(2), mode: args.low(3) })
            }
            "openat2" => {
                let creation = Creation::Open2 { how: args.long(2), size: args.long(3) };
                (args.at(0, 0, true), creation)
            }
            "mkdir" => (args.path(0, false), Creation::Folder { mode: args.low(1) }),
            "mkdirat" => (args.at(0, 0, false), Creation::Folder { mode: args.low(2) }),
            "mknod" => (args.path(0, false), node(args.low(1), args.low(2))?),
            "mknodat" => (args.at(0, 0, false), node(args.low(2), args.low(3))?),
            "symlink" => (args.path(1, false), Creation::Link { target: args.long(0) }),
            "symlinkat" => (args.at(1, 0, false), Creation::Link { target: args.long(0) }),
            _ => return None,
        };
        Some(Self { name, work: Work::Create(creation) })
    }
}

/// Returns the times at a place of an older call.
fn given(place: u64) -> Times {
    if place == 0 { Times::Now } else { Times::Given }
}

/// Returns the name of a device that `mknod` makes; `None` for any other call.
pub(super) fn device(call: &Call) -> Option<Name> {
    let args = Args(call);
    match call.name {
        "mknod" => Some(args.path(0, false)),
        "mknodat" => Some(args.at(0, 0, false)),
        _ => None,
    }
}

/// Returns the making of a file by `mknod`; `None` for a device, which is answered elsewhere.
fn node(mode: u32, device: u32) -> Option<Creation> {
    match (mode & libc::S_IFMT, device) {
        (libc::S_IFBLK, _) | (libc::S_IFCHR, 1..) => None,
        _ => Some(Creation::Node { mode, device }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &'static str, is_compat: bool) -> OwnerCall {
        let high = 0xdead_0000_0000_0000;
        // Without flags.
        let args = [1, 2, 3, 0, 0, 6].map(|value| value | high);
        OwnerCall::read(&Call { name, args, is_compat }).unwrap()
    }

    #[test]
    fn ids_of_16_bits_are_those_of_old_calls_alone() {
        let args = [7, 0xffff, 0x1_0005, 0, 0, 0];
        let ids = |name, is_compat| {
            OwnerCall::read(&Call { name, args, is_compat }).map(|call| call.work)
        };
        let change = |uid, gid| Some(Work::Change { uid, gid });
        assert_eq!(ids("chown", true), change(None, Some(5)));
        assert_eq!(ids("chown", false), change(Some(0xffff), Some(0x1_0005)));
        assert_eq!(ids("fchown32", true), change(Some(0xffff), Some(0x1_0005)));
        let keep = [7, u64::MAX, 0xffff_ffff, 0, 0, 0];
        let call = Call { name: "lchown", args: keep, is_compat: false };
        assert_eq!(OwnerCall::read(&call).unwrap().work, Work::Change { uid: None, gid: None });
    }

    #[test]
    fn flags_that_nobody_knows_are_the_kernels() {
        for (name, at, good) in
            [("fchownat", 4, 0x1100), ("newfstatat", 3, 0x7900), ("linkat", 4, 0x1400)]
        {
            for flags in [good, good | 0x10_0000] {
                let mut args = [0; 6];
                args[at] = flags;
                let call = OwnerCall::read(&Call { name, args, is_compat: false }).unwrap();
                assert_eq!(call.work == Work::Nothing, flags != good, "{name} {flags:x}");
            }
        }
    }

    #[test]
    fn names_are_read() {
        let high = 0xdead_0000_0000_0000;
        let name = read("fchownat", false).name;
        assert_eq!((name.folder, name.path), (Some(1), Some(2 | high)));
        assert!(name.follow && !name.may_be_empty);
        assert_eq!(read("fstatat64", true).name.path, Some(2));
        assert_eq!(read("fstat", false).name.path, None);
        let link = read("linkat", false);
        assert!(matches!(link.work, Work::Move(Motion::Link { to, .. }) if to.folder == Some(3)));
        let link = read("symlinkat", true);
        assert_eq!((link.name.folder, link.name.path), (Some(2), Some(3)));
        let here = libc::AT_FDCWD as u32;
        let args = [u64::from(here), 2, 3, 4, 0x1000, 6];
        let call = OwnerCall::read(&Call { name: "fchownat", args, is_compat: false }).unwrap();
        assert_eq!((call.name.folder, call.name.may_be_empty), (None, true));
        assert_eq!(OwnerCall::read(&Call { name: "read", args, is_compat: false }), None);
    }
}
