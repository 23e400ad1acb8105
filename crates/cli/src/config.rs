//! The configuration file: defaults for the options of all commands, in tables with the commands' names.
//!
//! The names of keys are those of clap's definition of the command line, so an option that is added there
//! is a key here. The command line counts before the environment, and that before the file; a list
//! replaces the one of the next place.

mod defaults;
mod edit;
mod file;
mod key;
mod line;
mod marks;
mod registry;

pub(crate) use defaults::{FileDefault, checked};
pub(crate) use edit::{set, unset, value_of};
pub(crate) use file::{Given, Setting, Settings};
pub(crate) use key::{Place, name_of, place};
pub(crate) use line::{Line, Refusal, read};
pub(crate) use marks::OnLineOnly;
pub(crate) use registry::registry_value;
