//! Values of options: from the text that was typed to what it means.

pub(crate) mod annotation;
pub(crate) mod context;
mod csv;
pub(crate) mod names;
pub(crate) mod output;
pub(crate) mod secret;
