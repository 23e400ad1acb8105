//! Values of options: from the text to its meaning.

pub(crate) mod annotation;
pub(crate) mod arg_files;
pub(crate) mod attestation;
pub(crate) mod bytes;
pub(crate) mod cache;
pub(crate) mod compression;
pub(crate) mod context;
pub(crate) mod csv;
pub(crate) mod dockerfiles;
pub(crate) mod names;
pub(crate) mod output;
pub(crate) mod secret;
pub(crate) mod shell;
pub(crate) mod table_format;
pub(crate) mod template;
