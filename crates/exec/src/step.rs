//! The processes of one RUN step.

pub(crate) mod command;
pub(crate) mod files;
pub(crate) mod init;
pub(crate) mod limits;
pub(crate) mod standby;
pub(crate) mod user;
pub(crate) mod userns;
pub(crate) mod walk;
