//! The words that the messages of all crates share: what somebody wrote, put in quotes.
//!
//! Nothing here does I/O.

mod quoted;

pub use quoted::{Quoted, quoted};
