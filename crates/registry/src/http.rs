//! Downloading files of web servers, which ADD and build contexts name by URL.

pub(crate) mod download;
pub(crate) mod validators;
