//! Files of web servers, which ADD and build contexts name by URL, and documents for them.

pub(crate) mod download;
pub(crate) mod post;
pub(crate) mod validators;
