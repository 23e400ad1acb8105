//! Images on disk: layouts written, read, and checked.
#![allow(clippy::unwrap_used)]

mod built;
mod documents;
mod layouts;
