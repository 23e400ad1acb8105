//! The ways in which system calls are made, and the calls that a stopped thread is made to make.

/// The way a system call was made, which decides about numbers, registers and sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abi {
    /// That of the machine's own programs.
    Native,
    /// That of its 32-bit sibling.
    Compat,
}

impl Abi {
    /// Returns the bytes of a pointer.
    pub(super) const fn pointer(self) -> usize {
        match self {
            Self::Native => 8,
            Self::Compat => 4,
        }
    }
}

/// Names a call of each way.
macro_rules! calls {
    ($($call:ident = $native:ident, $compat:ident;)+) => {
        /// A system call that a stopped thread is made to make.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Call {
            $(
                #[doc = concat!("`", stringify!($native), "`.")]
                $call,
            )+
        }

        impl Call {
            /// Returns its number.
            pub(super) const fn number(self, abi: Abi) -> u32 {
                #[cfg(target_arch = "aarch64")]
                use syscalls::{aarch64 as native, arm as compat};
                #[cfg(not(target_arch = "aarch64"))]
                use syscalls::{x86 as compat, x86_64 as native};
                match (abi, self) {
                    $(
                        (Abi::Native, Self::$call) => native::Sysno::$native as u32,
                        (Abi::Compat, Self::$call) => compat::Sysno::$compat as u32,
                    )+
                }
            }
        }
    };
}

calls! {
    Bind = bind, bind;
    Close = close, close;
    Execveat = execveat, execveat;
    Faccessat = faccessat, faccessat;
    Faccessat2 = faccessat2, faccessat2;
    Fcntl = fcntl, fcntl64;
    Fgetxattr = fgetxattr, fgetxattr;
    Getsockname = getsockname, getsockname;
    Getegid = getegid, getegid32;
    Geteuid = geteuid, geteuid32;
    MemfdCreate = memfd_create, memfd_create;
    Mmap = mmap, mmap2;
    Openat = openat, openat;
    Prctl = prctl, prctl;
    Pread = pread64, pread64;
    Recvmsg = recvmsg, recvmsg;
    Socket = socket, socket;
    Socketpair = socketpair, socketpair;
    Statx = statx, statx;
    Write = write, write;
}
