//! Remote sources: files of web servers and commits of git repositories, each fetched once into a
//! folder of the store.
//!
//! A file in the store is requested again with its validators, and downloaded only if it has
//! changed; a file with a checksum is not requested again. A reference of a repository is resolved
//! once to a commit, whose files are kept.
//!
//! The program `git` runs so that neither a repository nor the user's configuration makes it
//! execute anything (`command`). Sources: `git-config(1)`, `git-fetch(1)`, RFC 9110.
//!
//! | module | owns |
//! | --- | --- |
//! | `fetcher` | [`Fetcher`]: each source once, for all callers, and its version ([`Pin`]) |
//! | `http` | files of web servers |
//! | `git`, `command`, `checkout` | commits: resolving, fetching, and the modes and times of their files |
//! | `silence` | remotes that say nothing |
//! | `login` | the secrets for remotes |
//! | `options` | [`FetchOptions`], [`FetchWarning`] |
//! | `error` | [`FetchError`] |

mod checkout;
mod command;
mod error;
mod fetcher;
mod git;
mod http;
mod login;
mod options;
mod silence;

pub use error::FetchError;
pub use fetcher::{Fetcher, Pin};
pub use options::{FetchOptions, FetchWarning, Gate, WarningSink};
