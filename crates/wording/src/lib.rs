//! The words that the messages of all crates share: hints, text in quotes, and text without passwords.
//!
//! Nothing here does I/O.

mod hint;
pub mod hints;
mod quoted;
mod redacted;
mod url;

pub use hint::Hint;
pub use quoted::{Quoted, quoted};
pub use redacted::redacted;
pub use url::without_login;
