//! Remote sources: files of web servers and commits of git repositories, fetched into folders of
//! the store, each once.
//!
//! A file that is in the store is asked for with its validators and comes again only if it has
//! changed; with a checksum it is not asked for at all. A reference of a repository is resolved
//! once to a commit, and the commit's files are kept.
//!
//! Git is the program of that name, run so that neither a repository nor the user's configuration
//! makes it execute anything (`command`). Sources: `git-config(1)`, `git-fetch(1)`, RFC 9110.
//!
//! | module | what |
//! | --- | --- |
//! | `fetcher` | [`Fetcher`]: each source once, whoever asks |
//! | `http` | files of web servers |
//! | `git`, `command`, `checkout` | commits: which one, how to get it, how its files shall look |
//! | `login` | who is told which secret |
//! | `error` | [`FetchError`] |

mod checkout;
mod command;
mod error;
mod fetcher;
mod git;
mod http;
mod login;

pub use error::FetchError;
pub use fetcher::{FetchOptions, FetchWarning, Fetcher, WarningSink};
