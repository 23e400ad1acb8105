//! The words that the messages of all crates share: hints, and text in quotes.
//!
//! Nothing here does I/O.

mod hint;
pub mod hints;
mod quoted;

pub use hint::Hint;
pub use quoted::{Quoted, quoted};
