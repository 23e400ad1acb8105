//! The subcommands. Each has a file with its arguments and a function that carries it out.

pub(crate) mod build;
mod build_args;
mod build_request;
pub(crate) mod check;
pub(crate) mod copy;
pub(crate) mod doctor;
pub(crate) mod du;
pub(crate) mod emulators;
pub(crate) mod images;
pub(crate) mod imagetools;
pub(crate) mod index;
mod index_edit;
mod index_inspect;
mod input;
pub(crate) mod inspect;
pub(crate) mod load;
pub(crate) mod login;
pub(crate) mod manifest;
pub(crate) mod platforms;
pub(crate) mod prune;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod rmi;
pub(crate) mod run;
pub(crate) mod save;
pub(crate) mod tag;
pub(crate) mod verify;
