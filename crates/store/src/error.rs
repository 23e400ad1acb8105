//! Failures of the store.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use xbuild_model::{Digest, FailureKind, StepFailure};
use xbuild_wording::{Hint, hints, quoted};

/// A failure of the store. Nothing that was published before is touched by it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file operation failed.
    #[error("cannot {action} {} in the store", path.display())]
    Io {
        /// The operation, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The folder of the store can be neither opened nor made.
    #[error("cannot open or make the store {}", path.display())]
    Place {
        /// The store.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The path of the folder is no text, which processes that work in it get as text.
    #[error("the path of the store {} is not UTF-8", path.as_os_str().as_encoded_bytes().escape_ascii())]
    Name {
        /// The store.
        path: PathBuf,
    },
    /// The folder was written by another version of xbuild.
    #[error(
        "the store {} has format {found}, this program uses format {expected}",
        path.display(), found = quoted(.found), expected = quoted(.expected)
    )]
    Version {
        /// The store.
        path: PathBuf,
        /// The text of its `version` file.
        found: String,
        /// The format of this program.
        expected: &'static str,
    },
    /// The folder holds things that xbuild did not put there.
    #[error(
        "the folder {} is not empty and no store: {name} is in it",
        path.display(), name = quoted(.name)
    )]
    NotAStore {
        /// The folder.
        path: PathBuf,
        /// One of its entries.
        name: String,
    },
    /// Another user owns the store, or a folder of it, and could put any result into it.
    #[error("{} belongs to user {owner}, but user {user} builds with this store", path.display())]
    Owner {
        /// The store or a folder in it.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The effective user of this process.
        user: u32,
    },
    /// Other users may write to the store, and could put any result into it.
    #[error("other users may write to {}, and so into the store", path.display())]
    Writable {
        /// The store or a folder in it.
        path: PathBuf,
    },
    /// The file system takes names that differ in case only for one.
    #[error(
        "the store {} is in a folder where names that differ in case only are one file",
        path.display()
    )]
    NoCase {
        /// The store.
        path: PathBuf,
    },
    /// A link, or something else, stands where the store has a folder.
    #[error("{} in the store is no folder", path.display())]
    NotAFolder {
        /// The path that is in the way.
        path: PathBuf,
    },
    /// The bytes written differ from those announced.
    #[error(
        "expected {expected} with {expected_size} bytes, got {actual} with {actual_size} bytes"
    )]
    Mismatch {
        /// The digest announced.
        expected: Digest,
        /// The size announced, in bytes.
        expected_size: u64,
        /// The digest of the bytes written.
        actual: Digest,
        /// The size of the bytes written.
        actual_size: u64,
    },
    /// A blob does not have the bytes that were put there. It was removed.
    #[error(
        "{} in the store is damaged: its bytes do not have the digest in its name",
        path.display()
    )]
    Damaged {
        /// The blob.
        path: PathBuf,
    },
    /// The record of an installed emulator cannot be read.
    #[error(
        "the record of the emulator for {architecture} programs in the store is damaged: {}",
        path.display()
    )]
    DamagedEmulator {
        /// The architecture, as images name it.
        architecture: String,
        /// The record.
        path: PathBuf,
    },
    /// A process of an older xbuild, or one without room on the disk, has the store open and does not say
    /// what it uses, so nothing may be removed.
    #[error("the store {} is in use by a process that does not say what it uses", path.display())]
    Busy {
        /// The store.
        path: PathBuf,
    },
    /// Another process is removing something.
    #[error("another process is making room in the store {}", path.display())]
    Pruning {
        /// The store.
        path: PathBuf,
    },
}

impl StoreError {
    /// Returns whose business the failure is: the user's if the folder must not be used as a store,
    /// the machine's if it lacks a sound emulator or its file system cannot hold a store, else the disk's.
    pub fn kind(&self) -> FailureKind {
        if self.unfit().is_some() {
            return FailureKind::Environment;
        }
        match self {
            Self::Place { .. }
            | Self::Name { .. }
            | Self::Version { .. }
            | Self::NotAStore { .. }
            | Self::Owner { .. }
            | Self::Writable { .. }
            | Self::NotAFolder { .. }
            | Self::NoCase { .. }
            | Self::Busy { .. }
            | Self::Pruning { .. } => FailureKind::User,
            Self::DamagedEmulator { .. } => FailureKind::Environment,
            _ => FailureKind::Internal,
        }
    }

    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Io { .. } | Self::Place { .. } if self.unfit().is_some() => self.unfit(),
            Self::Name { .. } => Some(hints::name_root()),
            Self::Place { .. } => Some(hints::writable_store()),
            Self::Version { .. } => Some(hints::store_of_this_version()),
            Self::NotAStore { .. } => Some(hints::empty_folder()),
            Self::Owner { .. } => Some(hints::own_store()),
            Self::Writable { .. } => Some(hints::closed_folder()),
            Self::NotAFolder { .. } => Some(hints::folder_in_the_way()),
            Self::NoCase { .. } => Some(hints::case_of_names()),
            Self::DamagedEmulator { .. } => Some(hints::reinstall_emulator()),
            Self::Damaged { .. } => Some(hints::damaged_blob()),
            Self::Busy { .. } | Self::Pruning { .. } => Some(hints::when_it_has_ended()),
            _ => None,
        }
    }

    /// Returns what to do about a file system that cannot hold a store.
    fn unfit(&self) -> Option<Hint> {
        let (Self::Io { source, .. } | Self::Place { source, .. }) = self else { return None };
        let errno = Errno::from_io_error(source)?;
        let locks = matches!(self, Self::Io { action: "lock", .. });
        match errno {
            Errno::ROFS => Some(hints::read_only_store()),
            Errno::NOLCK => Some(hints::lockless_store()),
            Errno::NOSYS | Errno::OPNOTSUPP if locks => Some(hints::lockless_store()),
            _ => None,
        }
    }

    /// Returns a function that wraps the I/O error of an operation on `path`.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// Returns a function that makes the error of a [`io::Write`] name the file; [`Self::of_write`]
    /// takes it out again.
    pub(crate) fn within(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
        move |source| io::Error::new(source.kind(), Self::io("write", path)(source))
    }

    /// Returns the error of a writer of the store.
    pub(crate) fn of_write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| error.downcast().unwrap_or_else(Self::io("write", path))
    }
}

impl From<StoreError> for StepFailure {
    fn from(error: StoreError) -> Self {
        let (kind, hint) = (error.kind(), error.hint());
        let failure = StepFailure::new(kind, error);
        match hint {
            // What the machine is at fault for has its advice already.
            Some(hint) if failure.hint().is_none() => failure.with_hint(hint),
            _ => failure,
        }
    }
}
